import { onTestFinished } from 'vitest'
import { openS3Store, type S3StoreOptions } from '../../../src/stores/s3/s3-store.ts'
import type { Store } from '../../../src/stores/store.ts'
import { type S3Habits, S3Server } from '../../support/s3-server.ts'

export async function startServer(habits: Partial<S3Habits> = {}): Promise<S3Server> {
  const server = await new S3Server(habits).start()
  onTestFinished(async () => server.stop())
  return server
}

export async function openBucket(server: S3Server, options: Partial<S3StoreOptions> = {}): Promise<Store> {
  return await openS3Store({
    name: 'objects',
    endpoint: server.endpoint,
    bucket: 'app',
    prefix: '',
    match: '**',
    format: 'file',
    region: 'us-east-1',
    accessKeyId: 'id',
    secretAccessKey: 'secret',
    ...options,
  })
}
