/** The driver on Debian's Ceph gateway: the whole list that the stand-ins keep in `stand-in.test.ts`. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type CephGateway, cephMissing, startCeph } from '../../support/ceph.ts'
import { describeS3Contract } from './contract.ts'
import { content, describeS3Driver, readAll, refusalOf, swapAll } from './driver-promises.ts'
import { keysPerPage, type ServerUnderTest, startBucket } from './fixture.ts'
import { describeServerBehaviours } from './server-behaviours.ts'

const missing = cephMissing()
let gateway: CephGateway | undefined

const ceph: ServerUnderTest = {
  name: 'Ceph 16',
  dialect: 'ceph-16',
  createBucket: async () => {
    if (gateway === undefined) throw new Error('the gateway was started before')
    return { site: await gateway.createBucket(), dispose: async () => {} }
  },
}

if (missing === undefined) {
  beforeAll(async () => {
    gateway = await startCeph(keysPerPage)
  })
  afterAll(async () => gateway?.stop())
  describeServerBehaviours(ceph)
  describeS3Driver(ceph)
  describeS3Contract(ceph, ['file', 'json'])
  describeGateway()
} else {
  it('the driver on Ceph 16', (context) => context.skip(missing))
}

function describeGateway(): void {
  it('metadata beyond ASCII is kept to the byte', async () => {
    const { application, open } = await startBucket(ceph)
    await application.put('a', 'old', { 'x-amz-meta-owner': 'Zoë' })
    const owner = Buffer.from('Zoë').toString('latin1') // headers are read as bytes
    expect((await application.get('a'))?.headers['x-amz-meta-owner']).toBe(owner)
    expect(await swapAll(await open())).toEqual(['changed'])
    expect((await application.get('a'))?.headers['x-amz-meta-owner']).toBe(owner)
  })

  it('an object that was uploaded in parts is replaced', async () => {
    const { application, open } = await startBucket(ceph)
    const begun = (await application.send('POST', 'a', { query: '?uploads=' })).bytes.toString()
    const upload = encodeURIComponent(/<UploadId>([^<]*)/.exec(begun)?.[1] ?? '')
    const part = await application.send('PUT', 'a', {
      query: `?partNumber=1&uploadId=${upload}`,
      body: 'old',
    })
    const body = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${part.headers['etag'] ?? ''}</ETag></Part></CompleteMultipartUpload>`
    await application.send('POST', 'a', { query: `?uploadId=${upload}`, body })
    expect((await application.send('HEAD', 'a')).headers['etag']).toMatch(/-1"$/)
    expect(await swapAll(await open())).toEqual(['changed'])
    expect(await application.texts()).toEqual({ a: 'new' })
  })

  it.each([{ secretAccessKey: 'wrong' }, { accessKeyId: 'nobody' }])(
    'a key that is not right is refused: %j',
    async (options) => {
      const { open } = await startBucket(ceph, { a: 'old' })
      const refusal = await refusalOf(readAll(await open(options)))
      expect([refusal.code, refusal.message]).toEqual([
        'STORE_UNAVAILABLE',
        expect.stringMatching(/answered 403 (SignatureDoesNotMatch|InvalidAccessKeyId)$/),
      ])
      expect(refusal.hint).toContain('access key')
      expect(JSON.stringify(refusal)).not.toContain('wrong')
    },
  )

  it('an object whose versions are suspended is left to the application, and nothing else is', async () => {
    const { application, open } = await startBucket(ceph)
    await application.keepVersions()
    await application.put('a', 'of a version')
    await application.keepVersions('Suspended')
    await application.put('b', 'of none')
    expect(await swapAll(await open())).toEqual(['lost', 'changed'])
    expect(await application.texts()).toEqual({ a: 'of a version', b: 'new' })
    expect((await (await open()).inspect(content)).records).toBe(2n)
  })
}
