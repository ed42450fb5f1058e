import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { unescapeXml } from '../../support/s3-application.ts'
import { type ServerUnderTest, startBucket } from './fixture.ts'

const wrong = createHash('md5').update('another').digest('hex')
const bare = (etag = ''): string => etag.replaceAll('"', '')
const quoted = (etag = ''): string => `"${bare(etag)}"`

/**
 * What the driver relies on, asked of a server by plain requests. The stand-in for a server is worth as much as it
 * answers this list in the way of the real one.
 */
export function describeServerBehaviours(server: ServerUnderTest): void {
  describe(`${server.name}, as the driver relies on it,`, () => {
    describeConditions(server)
    describeObjects(server)
    describeListings(server)
  })
}

function describeConditions(server: ServerUnderTest): void {
  const isCeph = server.dialect === 'ceph-16'
  const spelled = isCeph ? bare : quoted

  it('creates with If-None-Match only where nothing is', async () => {
    const { application } = await startBucket(server)
    const put = async (body: string): Promise<number> =>
      (await application.send('PUT', 'a', { headers: { 'if-none-match': '*' }, body })).status
    expect([await put('one'), await put('two')]).toEqual([200, 412])
    expect(await application.texts()).toEqual({ a: 'one' })
  })

  it('replaces with If-Match only what has that ETag', async () => {
    const { application } = await startBucket(server, { a: 'one' })
    const put = async (etag: string, key = 'a'): Promise<number> =>
      (await application.send('PUT', key, { headers: { 'if-match': etag }, body: 'two' })).status
    expect([await put(quoted(wrong)), await put(bare(wrong))]).toEqual([412, 412])
    expect(await put(spelled(wrong), 'none')).toBe(isCeph ? 412 : 404)
    expect(await application.texts()).toEqual({ a: 'one' })
    const { headers } = await application.send('HEAD', 'a')
    if (isCeph) expect(await put(quoted(headers['etag']))).toBe(412)
    expect(await put(spelled(headers['etag']))).toBe(200)
    expect(await application.texts()).toEqual({ a: 'two' })
  })

  it('has the same ETag in every answer, which the bytes alone make', async () => {
    const { application } = await startBucket(server)
    const put = await application.send('PUT', 'a', { body: 'one' })
    const [get, head] = [await application.send('GET', 'a'), await application.send('HEAD', 'a')]
    await application.put('b', 'one', { 'x-amz-meta-n': 'other' })
    const other = await application.send('HEAD', 'b')
    const etags = [put, get, head, other].map(({ headers }) => headers['etag'])
    expect(new Set(etags)).toEqual(new Set([quoted(createHash('md5').update('one').digest('hex'))]))
  })

  it(`keeps conditions ${isCeph ? 'in no' : 'also in a'} bucket with versions`, async () => {
    const { application } = await startBucket(server, { a: 'one' })
    await application.keepVersions()
    const { headers } = await application.send('HEAD', 'a')
    const put = async (headers: Readonly<Record<string, string>>): Promise<number> =>
      (await application.send('PUT', 'a', { headers, body: 'two' })).status
    const matches = await put({ 'if-match': spelled(headers['etag']) })
    expect([matches, await put({ 'if-none-match': '*' })]).toEqual(isCeph ? [412, 200] : [200, 412])
  })
}

function describeObjects(server: ServerUnderTest): void {
  it('takes a body only with the digest that was signed', async () => {
    const { application } = await startBucket(server)
    const headers = { 'x-amz-content-sha256': createHash('sha256').update('other').digest('hex') }
    expect((await application.send('PUT', 'a', { headers, body: 'text' })).status).toBe(400)
    expect(await application.texts()).toEqual({})
  })

  it('keeps type, metadata and tags that came with a write, and none of an earlier one', async () => {
    const { application } = await startBucket(server)
    const headers = {
      'content-type': 'text/x-sealed',
      'content-encoding': 'gzip',
      'content-language': 'de',
      'content-disposition': 'attachment',
      'cache-control': 'no-store',
      expires: 'Wed, 21 Oct 2026 07:28:00 GMT',
      'x-amz-meta-owner': 'alice',
    }
    await application.put('a', 'text', headers, 'team=red&plan=a%20b')
    const { bytes, ...kept } = (await application.get('a')) ?? {}
    expect([bytes?.toString(), kept]).toEqual(['text', { headers, tags: { team: 'red', plan: 'a b' } }])
    await application.put('a', 'text', { 'content-type': 'text/y' })
    const now = await application.get('a')
    expect([now?.headers, now?.tags]).toEqual([{ 'content-type': 'text/y' }, {}])
  })

  it('answers 404 for what is not there, and 204 to its deletion', async () => {
    const { application } = await startBucket(server)
    const statuses = [
      (await application.send('GET', 'none')).status,
      (await application.send('HEAD', 'none')).status,
      (await application.send('GET', 'none', { query: '?tagging=' })).status,
      (await application.send('DELETE', 'none')).status,
    ]
    expect(statuses).toEqual([404, 404, 404, 204])
  })
}

function describeListings(server: ServerUnderTest): void {
  const names = [
    'a',
    'a b',
    'a&<>"\'',
    'a+b',
    'a/',
    'a//b',
    'a/ü.bin',
    'a%20',
    'b(1)!*',
    'z',
    'é',
    '日',
    '🔑',
  ]

  it('lists every key once, page by page, in the order of its bytes', async () => {
    const { application } = await startBucket(server, Object.fromEntries(names.map((name) => [name, name])))
    const seen: string[] = []
    let [pages, token] = [0, '']
    do {
      const query = `?${token}encoding-type=url&list-type=2&max-keys=1000&prefix=`
      const text = (await application.send('GET', '', { query })).bytes.toString()
      const keys = [...text.matchAll(/<Contents><Key>(.*?)<\/Key>/g)].map(([, key = '']) => key)
      seen.push(...keys.map((key) => decodeURIComponent(unescapeXml(key).replaceAll('+', '%20'))))
      const next = /<NextContinuationToken>([^<]*)</.exec(text)?.[1]
      token = next === undefined ? '' : `continuation-token=${encodeURIComponent(unescapeXml(next))}&`
      expect(text.includes('<IsTruncated>true<')).toBe(next !== undefined)
      pages++
    } while (token !== '')
    const sorted = names.toSorted((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)))
    expect([seen, pages]).toEqual([sorted, 2])
    expect(await application.keys()).toEqual(sorted)
  })

  it('names older versions and marks of deletion', async () => {
    const { application } = await startBucket(server)
    const status = async (): Promise<string> =>
      (await application.send('GET', '', { query: '?versioning=' })).bytes.toString()
    expect(await status()).not.toContain('<Status>')
    await application.keepVersions()
    expect(await status()).toContain('<Status>Enabled</Status>')
    await application.put('a', '1')
    await application.put('a', '2')
    await application.remove('a')
    const text = (await application.send('GET', '', { query: '?versions=' })).bytes.toString()
    expect(text).toMatch(/<ListVersionsResult[^]*<\/ListVersionsResult>$/)
    const old = [...text.matchAll(/<Version>[^]*?<IsLatest>false/g)]
    expect([old.length, [...text.matchAll(/<DeleteMarker>/g)].length]).toEqual([2, 1])
  })
}
