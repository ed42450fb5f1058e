import { onTestFinished } from 'vitest'
import { openS3Store, type S3StoreOptions } from '../../../src/stores/s3/s3-store.ts'
import type { Store } from '../../../src/stores/store.ts'
import { credentials, S3Application, type S3Site } from '../../support/s3-application.ts'
import { S3Proxy } from '../../support/s3-proxy.ts'
import { type S3Dialect, type S3Habits, S3Server } from '../../support/s3-server.ts'

/** A server that the same tests run on: the stand-in of this process, or a real one. */
export type ServerUnderTest = {
  readonly name: string
  readonly dialect: S3Dialect
  /** An empty bucket of its own for each test. */
  readonly createBucket: () => Promise<{ readonly site: S3Site; readonly dispose: () => Promise<void> }>
}

/** Keys a page of a listing: few, so that every listing has pages. */
export const keysPerPage = 7

export function standIn(dialect: S3Dialect, habits: Partial<S3Habits> = {}): ServerUnderTest {
  const createBucket = async () => {
    const server = await new S3Server({ dialect, pageSize: keysPerPage, ...habits }).start()
    return { site: server.site, dispose: async () => server.stop() }
  }
  return { name: `the stand-in for ${dialect}`, dialect, createBucket }
}

export type BucketUnderTest = {
  readonly application: S3Application
  /** What the store goes through. */
  readonly proxy: S3Proxy
  readonly open: (options?: Partial<S3StoreOptions>) => Promise<Store>
}

/** A bucket that its application filled, and the way to it; both end with the test. */
export async function startBucket(
  server: ServerUnderTest,
  texts: Readonly<Record<string, string>> = {},
): Promise<BucketUnderTest> {
  const { site, dispose } = await server.createBucket()
  const application = new S3Application(site)
  const proxy = await new S3Proxy(site.endpoint).start()
  onTestFinished(async () => {
    await proxy.stop()
    await dispose()
  })
  for (const [key, text] of Object.entries(texts)) await application.put(key, text)
  const through = { endpoint: proxy.endpoint, bucket: site.bucket }
  return { application, proxy, open: async (options) => openBucket(through, options) }
}

export async function openBucket(site: S3Site, options: Partial<S3StoreOptions> = {}): Promise<Store> {
  const defaults = { name: 'objects', prefix: '', match: '**', format: 'file', region: 'us-east-1' } as const
  return await openS3Store({ ...defaults, ...credentials, ...site, ...options })
}
