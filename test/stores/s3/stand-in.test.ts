/** The driver on stand-ins for S3 in this process; `ceph.test.ts` has the same on a real server. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import type { Store } from '../../../src/stores/store.ts'
import { describeS3Contract } from './contract.ts'
import { content, describeS3Driver, readAll, refusalOf, swapAll } from './driver-promises.ts'
import { openBucket, standIn, startBucket } from './fixture.ts'
import { describeServerBehaviours } from './server-behaviours.ts'

for (const server of [standIn('aws'), standIn('ceph-16')]) {
  describeServerBehaviours(server)
  describeS3Driver(server)
}
describeS3Contract(standIn('aws'), ['file', 'json'])
describeS3Contract(standIn('ceph-16'), ['file'])

it.each([
  ['if-match', 'If-Match'],
  ['if-none-match', 'If-None-Match'],
] as const)('nothing is written to a server that ignores %s', async (header, name) => {
  const { application, open } = await startBucket(standIn('aws', { ignored: [header] }), { a: 'old' })
  const refusal = await refusalOf(swapAll(await open()))
  expect([refusal.code, refusal.message]).toEqual(['STORE_SHAPE', expect.stringContaining(name)])
  expect(await application.texts()).toEqual({ a: 'old' })
})

it('an object of more than 64 MiB is refused', async () => {
  const { application, open } = await startBucket(standIn('aws'))
  await application.put('a', Buffer.alloc(64 * 1_048_576 + 1))
  const refusal = await refusalOf(readAll(await open()))
  expect([refusal.code, refusal.details]).toEqual(['STORE_SHAPE', { size: 64 * 1_048_576 + 1 }])
})

async function openAnything(status: number, body: string): Promise<Store> {
  const server = createServer((_, response) => response.writeHead(status).end(body))
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return await openBucket({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bucket: 'app',
  })
}

it('a page of a proxy is no empty bucket', async () => {
  const store = await openAnything(200, '<html><body>Log in to the network</body></html>')
  const refusal = await refusalOf(store.inspect(content))
  expect([refusal.code, refusal.message]).toEqual([
    'STORE_UNAVAILABLE',
    expect.stringContaining('answered without a ListBucketResult'),
  ])
})

it('a server that does not answer is named', async () => {
  const refusal = await refusalOf(
    readAll(await openBucket({ endpoint: 'http://127.0.0.1:1', bucket: 'app' })),
  )
  expect([refusal.code, refusal.message]).toEqual([
    'STORE_UNAVAILABLE',
    expect.stringContaining('does not answer'),
  ])
})
