import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { isKvxError, type KvxError } from '../../../src/core/errors.ts'
import type { RecordSet, Store, StoredRecord, Swap } from '../../../src/stores/store.ts'
import { type BucketUnderTest, type ServerUnderTest, startBucket } from './fixture.ts'

export const content: RecordSet = { table: '**', id: ['path'], columns: ['content'] }
const accept = (): void => {}

export async function readAll(store: Store, set = content): Promise<StoredRecord[]> {
  return (await Array.fromAsync(store.scan(set, 100))).flat()
}

const swapTo = ({ id, cells }: StoredRecord, text: string): Swap => ({
  id,
  expected: cells,
  change: { content: Buffer.from(text) },
})

export async function refusalOf(work: Promise<unknown>): Promise<KvxError> {
  try {
    await work
  } catch (error) {
    if (isKvxError(error)) return error
    throw error
  }
  throw new Error('nothing was refused')
}

/** What the driver promises beyond the contract of stores, on any server. */
export function describeS3Driver(server: ServerUnderTest): void {
  describe(`the driver on ${server.name}`, () => {
    describeKept(server)
    describeMoments(server)
    describeVersions(server)
    describeFormats(server)
  })
}

export const swapAll = async (store: Store, text = 'new', set = content) =>
  store.swap(
    set,
    (await readAll(store, set)).map((one) => swapTo(one, text)),
    accept,
  )

/** Reads the one record, lets the test prepare a moment, and swaps it. */
async function swapIn(moment: (bucket: BucketUnderTest) => void, server: ServerUnderTest) {
  const bucket = await startBucket(server, { a: 'old' })
  const store = await bucket.open()
  const records = await readAll(store)
  moment(bucket)
  const swaps = records.map((one) => swapTo(one, 'new'))
  return { bucket, outcomes: await store.swap(content, swaps, accept) }
}

function describeKept(server: ServerUnderTest): void {
  it('keeps type, metadata and tags of the object', async () => {
    const { application, open } = await startBucket(server)
    const headers = {
      'content-type': 'text/x-sealed',
      'x-amz-meta-owner': 'alice  &  bob',
      'cache-control': 'no-store',
    }
    await application.put('a/b c+d/ü.bin', 'old', headers, 'team=red&plan=a%20b')
    const store = await open()
    expect((await readAll(store)).map(({ id }) => id)).toEqual([['a/b c+d/ü.bin']])
    expect(await swapAll(store)).toEqual(['changed'])
    const now = await application.get('a/b c+d/ü.bin')
    expect([now?.bytes.toString(), now?.headers]).toEqual(['new', headers])
    expect(now?.tags).toEqual({ team: 'red', plan: 'a b' })
  })

  it('takes the bytes of an object that was stored packed as they are', async () => {
    const { application, open } = await startBucket(server)
    const packed = gzipSync('{"token":"secret"}')
    await application.put('a', packed, { 'content-encoding': 'gzip' })
    const store = await open()
    const [record] = await readAll(store)
    if (record === undefined) throw new Error('there is one')
    expect(record.cells['content']).toEqual(packed)
    const next = gzipSync('{"token":"other"}')
    await store.swap(content, [{ ...swapTo(record, ''), change: { content: next } }], accept)
    const { bytes, headers } = (await application.get('a')) ?? {}
    expect([bytes, headers?.['content-encoding']]).toEqual([next, 'gzip'])
  })

  it('brings a deleted object back with its type, and leaves one that is there alone', async () => {
    const { application, open } = await startBucket(server, { b: 'two' })
    await application.put('a', 'one', { 'content-type': 'text/x' })
    const store = await open()
    const whole = await store.fetch(content, [['a'], ['b'], ['none']])
    await application.remove('a')
    await application.put('b', 'newer')
    expect(await store.insertMissing(content, whole)).toEqual(['inserted', 'present'])
    const { bytes, headers } = (await application.get('a')) ?? {}
    expect([bytes?.toString(), headers]).toEqual(['one', { 'content-type': 'text/x' }])
    expect((await application.get('b'))?.bytes.toString()).toBe('newer')
  })

  it('leaves no object of its own behind, and takes none for a record', async () => {
    const { application, open } = await startBucket(server, { 'x/.kvx-probe': 'left', 'x/a': 'old' })
    const store = await open({ prefix: 'x/' })
    expect((await readAll(store)).map(({ id }) => id)).toEqual([['a']])
    await swapAll(store)
    expect(await application.texts()).toEqual({ 'x/a': 'new' })
  })
}

function describeMoments(server: ServerUnderTest): void {
  it('loses nothing that the application writes in the very moment of a write', async () => {
    const { bucket, outcomes } = await swapIn(({ application, proxy }) => {
      proxy.beforePut = async (key) => {
        if (key === 'a') await application.put('a', 'theirs')
      }
    }, server)
    expect(outcomes).toEqual(['lost'])
    expect(await bucket.application.texts()).toEqual({ a: 'theirs' })
  })

  it('brings nothing back that the application deletes in the very moment of a write', async () => {
    const { bucket, outcomes } = await swapIn(({ application, proxy }) => {
      proxy.beforePut = async (key) => {
        if (key === 'a') await application.remove('a')
      }
    }, server)
    expect(outcomes).toEqual(['gone'])
    expect(await bucket.application.texts()).toEqual({})
  })

  it('takes a write for made whose answer was lost on its way', async () => {
    const { bucket, outcomes } = await swapIn(({ proxy }) => {
      proxy.swallowAnswerOf = 'a'
    }, server)
    expect(outcomes).toEqual(['changed'])
    expect(await bucket.application.texts()).toEqual({ a: 'new' })
  })

  it('writes again after a fault, and leaves what another program wrote meanwhile', async () => {
    const passing = await swapIn(({ proxy }) => {
      proxy.failAt = 'a'
    }, server)
    expect(passing.outcomes).toEqual(['changed'])
    const theirs = await swapIn(({ application, proxy }) => {
      proxy.beforePut = async (key) => {
        if (key !== 'a') return
        await application.put('a', 'theirs')
        proxy.failAt = 'a'
      }
    }, server)
    expect([theirs.outcomes, await theirs.bucket.application.texts()]).toEqual([['lost'], { a: 'theirs' }])
  })

  it('brings an object back after a fault, and leaves one that another program made meanwhile', async () => {
    const { application, proxy, open } = await startBucket(server, { a: 'one', b: 'two' })
    const store = await open()
    const whole = await store.fetch(content, [['a'], ['b']])
    for (const key of ['a', 'b']) await application.remove(key)
    proxy.failAt = 'a'
    proxy.beforePut = async (key) => {
      if (key !== 'b') return
      await application.put('b', 'theirs')
      proxy.failAt = 'b'
    }
    // One after the other: the proxy fails one write at a time.
    expect(await store.insertMissing(content, whole.slice(0, 1))).toEqual(['inserted'])
    expect(await store.insertMissing(content, whole.slice(1))).toEqual(['present'])
    expect(await application.texts()).toEqual({ a: 'one', b: 'theirs' })
  })

  it('reads and writes objects side by side, and keeps their order', async () => {
    const texts = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`k${100 + at}`, `old ${at}`]))
    const { application, proxy, open } = await startBucket(server, texts)
    const store = await open()
    let [writing, most] = [0, 0]
    // The first of each eight waits the longest.
    proxy.beforeGet = async (key) =>
      new Promise((done) => setTimeout(done, 60 - 7 * (Number(key.slice(1) || 0) % 8)))
    proxy.beforePut = async () => {
      most = Math.max(most, ++writing)
      await new Promise((done) => setTimeout(done, 20))
      writing--
    }
    const records = await readAll(store)
    expect(records.map(({ id }) => String(id))).toEqual(Object.keys(texts))
    let proven: readonly StoredRecord[] = []
    const swaps = records.map((one) => swapTo(one, 'new'))
    const outcomes = await store.swap(content, swaps, (written) => (proven = written))
    expect(outcomes).toEqual(Object.keys(texts).map(() => 'changed'))
    expect(proven.map(({ id }) => String(id))).toEqual(Object.keys(texts))
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(8)
    expect(new Set(Object.values(await application.texts()))).toEqual(new Set(['new']))
  })

  it('gives every object its old bytes and metadata when the proof of one fails', async () => {
    const { application, proxy, open } = await startBucket(server)
    for (const key of ['a', 'b', 'c']) await application.put(key, `old ${key}`, { 'x-amz-meta-n': key })
    const store = await open()
    const swaps = (await readAll(store)).map((one) => swapTo(one, 'new'))
    proxy.beforePut = async (key) => {
      // When `c` gets its old bytes back, the application writes `b`, which stays the application's.
      if (key === 'c' && (await application.get('c'))?.bytes.toString() === 'new')
        await application.put('b', 'theirs')
    }
    const refuse = (): void => {
      throw new Error('does not open')
    }
    await expect(store.swap(content, swaps, refuse)).rejects.toThrow('does not open')
    expect(await application.texts()).toEqual({ a: 'old a', b: 'theirs', c: 'old c' })
    const owners = await Promise.all(['a', 'b', 'c'].map(async (key) => application.get(key)))
    expect(owners.map((one) => one?.headers['x-amz-meta-n'])).toEqual(['a', undefined, 'c'])
  })
}

function describeVersions(server: ServerUnderTest): void {
  it('counts older versions and delete markers, which keep values under old keys', async () => {
    const { application, open } = await startBucket(server)
    await application.keepVersions()
    for (let count = 0; count < 10; count++) await application.put('a', String(count))
    await application.put('b', '3')
    await application.remove('b')
    await application.put('.kvx-probe', 'of an earlier run')
    await application.remove('.kvx-probe')
    const { records, warnings } = await (await open()).inspect(content)
    expect([records, warnings.map(({ code }) => code)]).toEqual([1n, ['OLD_VERSIONS']])
    expect(warnings[0]?.message).toContain('10 older versions and 1 delete markers')
  })

  it('writes to a bucket with versions only where it keeps conditions', async () => {
    const { application, open } = await startBucket(server, { a: 'old' })
    await application.keepVersions()
    const store = await open()
    if (server.dialect === 'aws') expect(await swapAll(store)).toEqual(['changed'])
    else expect(await refusalOf(swapAll(store))).toMatchObject({ code: 'STORE_SHAPE' })
    expect(await application.texts()).toEqual({ a: server.dialect === 'aws' ? 'new' : 'old' })
  })
}

function describeFormats(server: ServerUnderTest): void {
  it('changes members of a document and no other byte', async () => {
    const text = '{ "id":1,  "token" : "old\\/x", "n": 1.0 }\n'
    const { application, open } = await startBucket(server, { 'a.json': text })
    const store = await open({ format: 'json', match: '*.json' })
    const set: RecordSet = { table: '*.json', id: ['path'], columns: ['token'] }
    const [record] = await readAll(store, set)
    if (record === undefined) throw new Error('there is one')
    await store.swap(set, [{ id: record.id, expected: record.cells, change: { token: 'new' } }], accept)
    expect(await application.texts()).toEqual({ 'a.json': text.replace('old\\/x', 'new') })
    expect((await store.catalogue())[0]?.columns.map(({ name }) => name)).toEqual(['id', 'token', 'n'])
  })

  it('says that there is no such bucket, and nothing of the answer', async () => {
    const { open } = await startBucket(server)
    const refusal = await refusalOf(readAll(await open({ bucket: 'none' })))
    expect([refusal.code, refusal.message]).toEqual([
      'STORE_SHAPE',
      expect.stringContaining('404 NoSuchBucket'),
    ])
    expect(refusal.message).not.toMatch(/not for logs|RequestId/)
  })
}
