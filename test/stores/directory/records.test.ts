import {
  chmodSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { DirectoryStoreOptions } from '../../../src/stores/directory/directory-store.ts'
import type { Store, StoredRecord, Swap } from '../../../src/stores/store.ts'
import { directoryWith, openLocked, readAll, refusalOf, setOf } from './fixture.ts'

const numbered = setOf(['content'], '*.db', ['path', 'index'])
const accept = (): void => {}
const record = (text: string): Buffer => Buffer.from(text.padEnd(8, '.'))
const file = (...texts: readonly string[]): Buffer => Buffer.concat(texts.map(record))

type Sizes = NonNullable<DirectoryStoreOptions['sizes']>

async function open(directory: string, sizes: Partial<Sizes> = {}, match = '*.db'): Promise<Store> {
  return await openLocked(directory, {
    match,
    format: 'records',
    sizes: { recordSize: 8, headerSize: 0, ...sizes },
  })
}

const swapTo = ({ id, cells }: StoredRecord, text: string): Swap => ({
  id,
  expected: cells,
  change: { content: record(text) },
})

const textsOf = (records: readonly StoredRecord[]): readonly unknown[] =>
  records.map(({ id, cells }) => [...id, Buffer.from(cells['content'] as Uint8Array).toString()])

describe('a file of fixed-size records', () => {
  it('gives each record its number, file after file, in pages', async () => {
    const directory = directoryWith({ 'b.db': file('b0'), 'a.db': file('a0', 'a1', 'a2'), 'empty.db': '' })
    const store = await open(directory)
    expect((await store.inspect(numbered)).records).toBe(4n)
    expect(textsOf(await readAll(store, numbered, 2))).toEqual([
      ['a.db', 0n, 'a0......'],
      ['a.db', 1n, 'a1......'],
      ['a.db', 2n, 'a2......'],
      ['b.db', 0n, 'b0......'],
    ])
  })

  it('leaves the header and every other record to the byte, with mode and owner', async () => {
    const path = join(
      directoryWith({ 'a.db': Buffer.concat([Buffer.from('HEAD!'), file('0', '1', '2')]) }),
      'a.db',
    )
    chmodSync(path, 0o640)
    const store = await open(join(path, '..'), { headerSize: 5 })
    const records = await readAll(store, numbered)
    const [, middle] = records
    if (middle === undefined) throw new Error('there are three')
    expect(await store.swap(numbered, [swapTo(middle, 'new')], accept)).toEqual(['changed'])
    expect(readFileSync(path, 'latin1')).toBe('HEAD!0.......new.....2.......')
    expect(statSync(path).mode & 0o777).toBe(0o640)
  })

  it('needs the number alone where the pattern names one file', async () => {
    const store = await open(directoryWith({ 'a.db': file('x', 'y') }), {}, 'a.db')
    const set = setOf(['content'], 'a.db', ['index'])
    const [, second] = await readAll(store, set)
    expect(second?.id).toEqual([1n])
    expect((await store.fetch(set, [[1n], [2n], [-1n]])).map(({ id }) => id)).toEqual([[1n]])
  })

  it.each([
    [['path'], ['content'], 'path and index'],
    [['index'], ['content'], 'path and index'],
    [['path', 'index'], ['page'], 'no column page'],
  ])('refuses the id %j and the columns %j', async (id, columns, wanted) => {
    const store = await open(directoryWith({ 'a.db': file('x') }))
    const refusal = await refusalOf(store.inspect(setOf(columns, '*.db', id)))
    expect([refusal.code, refusal.message.includes(wanted)]).toEqual(['STORE_SHAPE', true])
  })

  it.each([
    [0, 9, 'a.db: has 9 bytes, which is not whole records of 8 bytes'],
    [3, 8, 'a.db: has 8 bytes, which is not a header of 3 bytes and whole records of 8 bytes'],
    [9, 8, 'a.db: has 8 bytes, which is not a header of 9 bytes and whole records of 8 bytes'],
  ])(
    'refuses by name and size a file that they do not fill (header %i, %i bytes)',
    async (headerSize, size, wanted) => {
      const store = await open(directoryWith({ 'a.db': 'x'.repeat(size) }), { headerSize })
      for (const work of [store.inspect(numbered), readAll(store, numbered)]) {
        const refusal = await refusalOf(work)
        expect([refusal.code, refusal.message]).toEqual(['STORE_SHAPE', expect.stringContaining(wanted)])
      }
    },
  )

  it('refuses a record of another size, and writes nothing of the batch', async () => {
    const directory = directoryWith({ 'a.db': file('x'), 'b.db': file('y') })
    const store = await open(directory)
    const [one, other] = await readAll(store, numbered)
    if (one === undefined || other === undefined) throw new Error('there are two')
    const long: Swap = { ...swapTo(other, ''), change: { content: Buffer.alloc(9) } }
    expect((await refusalOf(store.swap(numbered, [swapTo(one, 'new'), long], accept))).code).toBe(
      'STORE_SHAPE',
    )
    expect(readFileSync(join(directory, 'a.db'), 'latin1')).toBe('x.......')
  })

  it('gives every file its old bytes when the proof of one fails', async () => {
    const directory = directoryWith({ 'a.db': file('0', '1', '2'), 'b.db': file('3') })
    const store = await open(directory)
    const swaps = (await readAll(store, numbered))
      .filter((_, at) => at !== 1)
      .map((one) => swapTo(one, 'new'))
    const refuse = (): void => {
      throw new Error('does not open')
    }
    await expect(store.swap(numbered, swaps, refuse)).rejects.toThrow('does not open')
    expect(readFileSync(join(directory, 'a.db'))).toEqual(file('0', '1', '2'))
    expect(readFileSync(join(directory, 'b.db'))).toEqual(file('3'))
  })

  it('loses what another program wrote into the file since, and finds what was cut off', async () => {
    const directory = directoryWith({ 'a.db': file('0', '1', '2') })
    const store = await open(directory)
    const swaps = (await readAll(store, numbered)).map((one) => swapTo(one, 'new'))
    writeSync(openSync(join(directory, 'a.db'), 'r+'), record('theirs'), 0, 8, 0)
    truncateSync(join(directory, 'a.db'), 16)
    expect(await store.swap(numbered, swaps, accept)).toEqual(['lost', 'changed', 'gone'])
    expect(readFileSync(join(directory, 'a.db'), 'latin1')).toBe('theirs..new.....')
  })

  it('refuses links and files with several names', async () => {
    const directory = directoryWith({ 'a.db': file('0') })
    mkdirSync(join(directory, 'more'))
    linkSync(join(directory, 'a.db'), join(directory, 'more', 'b.db'))
    const store = await open(directory)
    expect((await refusalOf(store.inspect(numbered))).message).toContain('has 2 names')
  })

  it('brings back what was cut off at the end, in order, and nothing in between', async () => {
    const directory = directoryWith({ 'a.db': file('0', '1', '2') })
    const store = await open(directory)
    const ids = [0n, 1n, 2n].map((index) => ['a.db', index])
    const whole = await store.fetch(numbered, ids)
    truncateSync(join(directory, 'a.db'), 8)
    expect((await refusalOf(store.insertMissing(numbered, whole.slice(2)))).message).toContain(
      'record 2 cannot come back',
    )
    expect(await store.insertMissing(numbered, whole)).toEqual(['present', 'inserted', 'inserted'])
    expect(readFileSync(join(directory, 'a.db'))).toEqual(file('0', '1', '2'))
  })

  it('does not invent a header that is gone', async () => {
    const directory = directoryWith({ 'a.db': Buffer.concat([Buffer.from('H'), file('0')]), 'b.db': 'H' })
    const store = await open(directory, { headerSize: 1 })
    const whole = await store.fetch(numbered, [['a.db', 0n]])
    truncateSync(join(directory, 'a.db'), 0)
    expect((await refusalOf(store.insertMissing(numbered, whole))).code).toBe('STORE_SHAPE')
  })
})

describe('a file that is larger than memory may be', () => {
  it('is read and replaced in pieces', async () => {
    const recordSize = 8220
    const count = 30_000 // 235 MiB, nearly four times what a file that is read whole may have
    const directory = directoryWith({ 'big.db': '' })
    const path = join(directory, 'big.db')
    truncateSync(path, recordSize * count)
    const store = await open(directory, { recordSize })
    expect((await store.inspect(numbered)).records).toBe(BigInt(count))
    const wanted = [0n, 12_345n, BigInt(count - 1)]
    const before = process.memoryUsage().arrayBuffers
    const records = await store.fetch(
      numbered,
      wanted.map((index) => ['big.db', index]),
    )
    const swaps = records.map(({ id, cells }) => ({
      id,
      expected: { content: cells['content'] ?? null },
      change: { content: Buffer.alloc(recordSize, Number(id[1]) & 0xff || 1) },
    }))
    expect(await store.swap(numbered, swaps, accept)).toEqual(['changed', 'changed', 'changed'])
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1_048_576)
    expect(statSync(path).size).toBe(recordSize * count)
    let [seen, changed] = [0, 0]
    for await (const page of store.scan(numbered, 500)) {
      for (const { id, cells } of page) {
        seen++
        const isChanged = (cells['content'] as Uint8Array)[0] !== 0
        if (isChanged) changed++
        expect(isChanged).toBe(wanted.includes(id[1] as bigint))
      }
    }
    expect([seen, changed]).toEqual([count, 3])
  })

  it('stays at 64 MiB where it is exchanged, because the displaced file is compared whole', async () => {
    const directory = directoryWith({ 'big.db': '' })
    truncateSync(join(directory, 'big.db'), 65 * 1_048_576)
    const store = await openLocked(directory, {
      match: '*.db',
      format: 'records',
      sizes: { recordSize: 1_048_576, headerSize: 0 },
      online: 'exchange',
    })
    expect((await refusalOf(store.inspect(numbered))).message).toContain('at most 67108864 fit')
  })
})
