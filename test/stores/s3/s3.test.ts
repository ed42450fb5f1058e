import { describe, expect, it } from 'vitest'
import { isKvxError, type KvxError } from '../../../src/core/errors.ts'
import type { RecordSet, Store, StoredRecord, Swap } from '../../../src/stores/store.ts'
import { openBucket, startServer } from './fixture.ts'

const content: RecordSet = { table: '**', id: ['path'], columns: ['content'] }
const byText = (one: unknown, other: unknown): number => String(one).localeCompare(String(other))
const accept = (): void => {}

async function readAll(store: Store, set = content): Promise<StoredRecord[]> {
  return (await Array.fromAsync(store.scan(set, 100))).flat()
}

const swapTo = ({ id, cells }: StoredRecord, text: string): Swap => ({
  id,
  expected: cells,
  change: { content: Buffer.from(text) },
})

async function refusalOf(work: Promise<unknown>): Promise<KvxError> {
  try {
    await work
  } catch (error) {
    if (isKvxError(error)) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('a write to a bucket', () => {
  it('keeps type, metadata and tags of the object', async () => {
    const server = await startServer()
    const headers = {
      'content-type': 'text/x-sealed',
      'x-amz-meta-owner': 'alice',
      'cache-control': 'no-store',
    }
    server.put('a/b c+d/ü.bin', 'old', headers, 'team=red&plan=a%20b')
    const store = await openBucket(server)
    const records = await readAll(store)
    expect(records.map(({ id }) => id)).toEqual([['a/b c+d/ü.bin']])
    expect(
      await store.swap(
        content,
        records.map((one) => swapTo(one, 'new')),
        accept,
      ),
    ).toEqual(['changed'])
    const now = server.objects.get('a/b c+d/ü.bin')
    expect([now?.bytes.toString(), now?.headers]).toEqual(['new', headers])
    expect(Object.fromEntries(new URLSearchParams(now?.tags))).toEqual({ team: 'red', plan: 'a b' })
  })

  it('loses nothing that the application writes in the very moment of a write', async () => {
    const server = await startServer()
    server.put('a', 'old')
    const store = await openBucket(server)
    const [record] = await readAll(store)
    if (record === undefined) throw new Error('there is one')
    server.beforePut = (key) => {
      if (key !== 'a') return
      server.beforePut = undefined
      server.put('a', 'theirs')
    }
    expect(await store.swap(content, [swapTo(record, 'new')], accept)).toEqual(['lost'])
    expect(server.objects.get('a')?.bytes.toString()).toBe('theirs')
  })

  it('takes a write for made whose answer was lost on its way', async () => {
    const server = await startServer()
    server.put('a', 'old')
    const store = await openBucket(server)
    const records = await readAll(store)
    server.swallowAnswerOf = 'a'
    expect(
      await store.swap(
        content,
        records.map((one) => swapTo(one, 'new')),
        accept,
      ),
    ).toEqual(['changed'])
    expect(server.objects.get('a')?.bytes.toString()).toBe('new')
  })

  it('gives every object its old bytes and metadata when the proof of one fails', async () => {
    const server = await startServer()
    for (const key of ['a', 'b', 'c']) server.put(key, `old ${key}`, { 'x-amz-meta-n': key })
    const store = await openBucket(server)
    const swaps = (await readAll(store)).map((one) => swapTo(one, 'new'))
    const refuse = (): void => {
      server.put('b', 'theirs')
      throw new Error('does not open')
    }
    await expect(store.swap(content, swaps, refuse)).rejects.toThrow('does not open')
    expect(
      [...server.objects].map(([key, { bytes, headers }]) => [key, bytes.toString(), headers]).sort(byText),
    ).toEqual([
      ['a', 'old a', { 'x-amz-meta-n': 'a' }],
      ['b', 'theirs', {}],
      ['c', 'old c', { 'x-amz-meta-n': 'c' }],
    ])
  })

  it.each([
    [{ ifMatch: 'ignored' }, 'If-Match'],
    [{ ifNoneMatch: 'ignored' }, 'If-None-Match'],
  ] as const)('is never made on a server that ignores conditions: %j', async (habits, header) => {
    const server = await startServer(habits)
    server.put('a', 'old')
    const store = await openBucket(server)
    const records = await readAll(store)
    const refusal = await refusalOf(
      store.swap(
        content,
        records.map((one) => swapTo(one, 'new')),
        accept,
      ),
    )
    expect([refusal.code, refusal.message]).toEqual(['STORE_SHAPE', expect.stringContaining(header)])
    expect([...server.objects].map(([key, { bytes }]) => [key, bytes.toString()])).toEqual([['a', 'old']])
  })

  it('leaves no object of its own behind, and takes none for a record', async () => {
    const server = await startServer()
    server.put('x/.kvx-probe', 'left by a killed run')
    server.put('x/a', 'old')
    const store = await openBucket(server, { prefix: 'x/' })
    const records = await readAll(store)
    expect(records.map(({ id }) => id)).toEqual([['a']])
    await store.swap(
      content,
      records.map((one) => swapTo(one, 'new')),
      accept,
    )
    expect([...server.objects.keys()]).toEqual(['x/a'])
  })
})

it('brings a deleted object back with its type, and leaves one that is there alone', async () => {
  const server = await startServer()
  server.put('a', 'one', { 'content-type': 'text/x' })
  server.put('b', 'two')
  const store = await openBucket(server)
  const whole = await store.fetch(content, [['a'], ['b'], ['none']])
  server.remove('a')
  server.put('b', 'newer')
  expect(await store.insertMissing(content, whole)).toEqual(['inserted', 'present'])
  const { bytes, headers } = server.objects.get('a') ?? {}
  expect([bytes?.toString(), headers]).toEqual(['one', { 'content-type': 'text/x' }])
  expect(server.objects.get('b')?.bytes.toString()).toBe('newer')
})

it('counts older versions and delete markers, which keep values under old keys', async () => {
  const server = await startServer({ versioning: true })
  server.put('a', '1')
  server.put('a', '2')
  server.put('b', '3')
  server.remove('b')
  const store = await openBucket(server)
  const { records, warnings } = await store.inspect(content)
  expect([records, warnings.map(({ code }) => code)]).toEqual([1n, ['OLD_VERSIONS']])
  expect(warnings[0]?.message).toContain('2 older versions and 1 delete markers')
})

it('changes members of a document and no other byte', async () => {
  const server = await startServer()
  const text = '{ "id":1,  "token" : "old\\/x", "n": 1.0 }\n'
  server.put('a.json', text)
  const store = await openBucket(server, { format: 'json', match: '*.json' })
  const set: RecordSet = { table: '*.json', id: ['path'], columns: ['token'] }
  const [record] = await readAll(store, set)
  if (record === undefined) throw new Error('there is one')
  await store.swap(set, [{ id: record.id, expected: record.cells, change: { token: 'new' } }], accept)
  expect(server.objects.get('a.json')?.bytes.toString()).toBe(text.replace('old\\/x', 'new'))
  expect((await store.catalogue())[0]?.columns.map(({ name }) => name)).toEqual(['id', 'token', 'n'])
})

it.each([
  [{ bucket: 'none' }, 'STORE_SHAPE', '404 NoSuchBucket'],
  [{ endpoint: 'http://127.0.0.1:1' }, 'STORE_UNAVAILABLE', 'does not answer'],
])('says what is wrong with %j, and nothing of the answer', async (options, code, words) => {
  const server = await startServer()
  const refusal = await refusalOf(readAll(await openBucket(server, options)))
  expect([refusal.code, refusal.message]).toEqual([code, expect.stringContaining(words)])
  expect(refusal.message).not.toContain('not for logs')
})
