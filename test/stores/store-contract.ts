import { afterEach, describe, expect, it } from 'vitest'
import { isKvxError } from '../../src/core/errors.ts'
import type { Cell, Cells, RecordId, RecordSet, Store, StoredRecord, Swap } from '../../src/stores/store.ts'

/** A promise that a driver's kind of place cannot be asked for is no test of that driver. */
const itWhere = (
  applies: boolean,
): ((title: string, ...rest: [() => unknown] | [object, () => unknown]) => void) =>
  applies ? (it as (title: string, ...rest: unknown[]) => void) : () => undefined

/** What the suite asks a driver's set-up to make; `text` is the only kind that every store has. */
export type ColumnKind = 'text' | 'bytes' | 'integer'

export type TableSpec = {
  readonly columns: Readonly<Record<string, ColumnKind>>
  readonly id: readonly string[]
  readonly rows: readonly Cells[]
  /** How long the store waits for a writer that holds it; the driver's own default where it is left out. */
  readonly busyMs?: number
}

/** The application that the store belongs to. It reads and writes by its own means, never through the driver. */
export type Application = {
  rows(): Promise<readonly Cells[]>
  insert(row: Cells): Promise<void>
  update(id: RecordId, change: Cells): Promise<void>
  remove(id: RecordId): Promise<void>
  /**
   * Starts a second process that sets `column` of random rows to ever new texts without a colon, and resolves
   * after its first write. `stop` gives the last acknowledged text of each row by the text of its id.
   */
  startWriter(column: string): Promise<{ stop(): Promise<ReadonlyMap<string, string>> }>
  /** Locks the store against writers in a second process; resolves when it is held, and frees it when called. */
  holdWriteLock(): Promise<() => Promise<void>>
}

export type StoreUnderTest = {
  readonly store: Store
  /** The record set over these columns, in the names that the store needs. */
  readonly set: (columns: readonly string[]) => RecordSet
  readonly application: Application
  dispose(): Promise<void>
}

/** What a kind of store can't have by its nature; the tests about it are left out. All true unless told. */
export type StoreFeatures = {
  /** More columns than id and one value, among them bytes, integers and null. */
  readonly manyColumns: boolean
  /** Ids of several columns, and ids that the store does not keep unique itself. */
  readonly freeIds: boolean
  /** Writers lock each other out, so that a lock can be held against a swap. */
  readonly locks: boolean
  /** A value may have any length. */
  readonly freeLengths: boolean
  /** Other programs may write during a run. */
  readonly others: boolean
}

const everything: StoreFeatures = {
  manyColumns: true,
  freeIds: true,
  locks: true,
  freeLengths: true,
  others: true,
}

/** Holds a driver to the contract of `src/stores/store.ts`. */
export function describeStoreContract(
  name: string,
  setup: (table: TableSpec) => Promise<StoreUnderTest>,
  features: Partial<StoreFeatures> = {},
): void {
  const has = { ...everything, ...features }
  const opened: StoreUnderTest[] = []
  const open = async (table: TableSpec): Promise<StoreUnderTest> => {
    const made = await setup(table)
    opened.push(made)
    return made
  }
  afterEach(async () => {
    for (const made of opened.splice(0)) await made.dispose()
  })
  describe(`${name} keeps the store contract`, () => {
    describeReading(open, has)
    describeSwap(open, has)
    describeInsert(open)
    describeTogether(open)
    describeCatalogue(open, has)
    describeOthers(open, has)
  })
}

type Open = (table: TableSpec) => Promise<StoreUnderTest>

const pairs = (count: number): TableSpec => ({
  columns: { id: 'text', value: 'text' },
  id: ['id'],
  rows: Array.from({ length: count }, (_, index) => ({ id: `r${index}`, value: `old-${index}` })),
})

const wide: TableSpec = {
  columns: { id: 'text', value: 'bytes', wrapped: 'text', note: 'text', number: 'integer' },
  id: ['id'],
  rows: [
    { id: 'a', value: Buffer.from('va'), wrapped: 'wa', note: null, number: 1n },
    { id: 'b', value: null, wrapped: 'wb', note: 'nb', number: 2n ** 60n + 1n },
    { id: 'c', value: Buffer.alloc(0), wrapped: '', note: 'nc', number: null },
  ],
}

/** All pages; a scan that goes round in circles ends with an error instead of never. */
async function readPages(
  store: Store,
  set: RecordSet,
  pageSize: number,
): Promise<(readonly StoredRecord[])[]> {
  const pages: (readonly StoredRecord[])[] = []
  for await (const page of store.scan(set, pageSize)) {
    pages.push(page)
    if (pages.length > 1000) throw new Error('the scan does not end')
  }
  return pages
}

async function readAll(store: Store, set: RecordSet, pageSize = 1000): Promise<StoredRecord[]> {
  return (await readPages(store, set, pageSize)).flat()
}

async function findRecord(store: Store, set: RecordSet, id: string): Promise<StoredRecord> {
  const record = (await readAll(store, set)).find((candidate) => candidate.id[0] === id)
  if (record === undefined) throw new Error(`no record ${id}`)
  return record
}

const accept = (): void => {}

const swapTo = (record: StoredRecord, change: Cells): Swap => ({
  id: record.id,
  expected: record.cells,
  change,
})

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'no error'
  } catch (error) {
    return isKvxError(error) ? error.code : `not of the catalogue: ${String(error)}`
  }
}

const byText = (one: unknown, other: unknown): number => String(one).localeCompare(String(other))

function describeReading(open: Open, has: StoreFeatures): void {
  it('counts the records', async () => {
    const { store, set } = await open(pairs(7))
    expect((await store.inspect(set(['value']))).records).toBe(7n)
  })

  it('counts and scans an empty store', async () => {
    const { store, set } = await open(pairs(0))
    expect((await store.inspect(set(['value']))).records).toBe(0n)
    expect(await readAll(store, set(['value']))).toEqual([])
  })

  itWhere(has.manyColumns)('refuses a table and a column that are not there', async () => {
    const { store, set } = await open(pairs(1))
    expect(await codeOf(store.inspect(set(['valeu'])))).toBe('STORE_SHAPE')
    expect(await codeOf(store.inspect({ ...set(['value']), table: 'nothing_here' }))).toBe('STORE_SHAPE')
  })

  itWhere(has.freeIds)('refuses an id that is null or names two records', async () => {
    const rows = [
      { id: 'a', value: 'x' },
      { id: 'a', value: 'y' },
      { id: null, value: 'z' },
    ]
    const columns = { id: 'text', value: 'text' } as const
    const twice = await open({ columns, id: [], rows: rows.slice(0, 2) })
    expect(await codeOf(twice.store.inspect({ ...twice.set(['value']), id: ['id'] }))).toBe('STORE_SHAPE')
    const withNull = await open({ columns, id: [], rows: rows.slice(1) })
    expect(await codeOf(withNull.store.inspect({ ...withNull.set(['value']), id: ['id'] }))).toBe(
      'STORE_SHAPE',
    )
  })

  it.each([1, 2, 3, 7, 24, 25, 26, 1000])('gives each record once in pages of %i', async (pageSize) => {
    const { store, set } = await open(pairs(25))
    const pages = await readPages(store, set(['value']), pageSize)
    expect(pages.every((page) => page.length > 0 && page.length <= pageSize)).toBe(true)
    const found = pages.flat().map((record) => [record.id[0], record.cells['value']])
    expect(found.sort(byText)).toEqual(
      pairs(25)
        .rows.map((row) => [row['id'], row['value']])
        .sort(byText),
    )
  })

  it('keeps its order from one scan to the next, whatever was written between them', async () => {
    const { store, set, application } = await open(pairs(40))
    const before = (await readAll(store, set(['value']), 7)).map((record) => record.id)
    for (const id of ['r3', 'r17', 'r30'])
      await application.update([id], { value: 'a much longer value '.repeat(50) })
    expect((await readAll(store, set(['value']), 11)).map((record) => record.id)).toEqual(before)
  })

  it('finds in the next scan what the application inserted since the last', async () => {
    const { store, set, application } = await open(pairs(5))
    expect(await readAll(store, set(['value']), 2)).toHaveLength(5)
    await application.insert({ id: 'a first', value: 'x' })
    await application.insert({ id: 'z last', value: 'y' })
    expect(
      (await readAll(store, set(['value']), 2)).map((record) => record.cells['value']).sort(byText),
    ).toEqual(['old-0', 'old-1', 'old-2', 'old-3', 'old-4', 'x', 'y'])
  })

  it('lets the application write and delete between two pages without losing a record', async () => {
    const { store, set, application } = await open(pairs(30))
    const seen: Cell[] = []
    let removed: Cell = null
    for await (const page of store.scan(set(['value']), 4)) {
      seen.push(...page.map((record) => record.id[0] ?? null))
      if (seen.length > 100) throw new Error('the scan does not end')
      if (removed !== null || page.length === 0) continue
      removed = page.at(-1)?.id[0] ?? null
      await application.remove([removed])
      await application.update([page[0]?.id[0] ?? null], { value: 'touched' })
    }
    expect(seen.sort(byText)).toEqual(
      pairs(30)
        .rows.map((row) => row['id'])
        .sort(byText),
    )
    expect((await readAll(store, set(['value']))).length).toBe(29)
  })

  itWhere(has.freeIds)('gives each record of an id of two columns once', async () => {
    const rows = ['a', 'b', 'c', 'd'].flatMap((tenant) =>
      [1n, 2n, 3n, -1n, 2n ** 62n].map((number) => ({ tenant, number, value: `${tenant}${number}` })),
    )
    const columns = { tenant: 'text', number: 'integer', value: 'text' } as const
    const { store, set } = await open({ columns, id: ['tenant', 'number'], rows })
    for (const pageSize of [1, 3, 4, 5, 6, 20]) {
      const found = (await readAll(store, set(['value']), pageSize)).map((record) => record.cells['value'])
      expect(found.sort(byText)).toEqual(rows.map((row) => row.value).sort(byText))
    }
  })

  it('fetches whole records and leaves out those that are missing', async () => {
    const { store, set } = await open(has.manyColumns ? wide : pairs(3))
    const rows = has.manyColumns ? wide.rows : pairs(3).rows
    const ids = rows.map((row) => [row['id'] ?? null])
    const narrow = set([has.manyColumns ? 'wrapped' : 'value'])
    const fetched = await store.fetch(narrow, [ids[2] ?? [], ['nobody'], ids[0] ?? []])
    expect(fetched.map((record) => record.id)).toEqual([ids[2], ids[0]])
    expect(fetched.map((record) => withBuffers(record.cells))).toEqual([rows[2], rows[0]])
  })
}

const withBuffers = (cells: Cells): Cells =>
  Object.fromEntries(
    Object.entries(cells).map(([column, cell]) => [
      column,
      cell instanceof Uint8Array ? Buffer.from(cell) : cell,
    ]),
  )

function describeSwap(open: Open, has: StoreFeatures): void {
  it('changes a record that holds what is expected, and nothing else', async () => {
    const { store, set, application } = await open(pairs(5))
    const record = await findRecord(store, set(['value']), 'r2')
    expect(await store.swap(set(['value']), [swapTo(record, { value: 'new' })], accept)).toEqual(['changed'])
    const rows = (await application.rows()).map((row) => [row['id'], row['value']])
    expect(rows.sort(byText)).toEqual([
      ['r0', 'old-0'],
      ['r1', 'old-1'],
      ['r2', 'new'],
      ['r3', 'old-3'],
      ['r4', 'old-4'],
    ])
  })

  it('refuses to replace a record that changed meanwhile', async () => {
    const { store, set, application } = await open(pairs(2))
    const record = await findRecord(store, set(['value']), 'r1')
    await application.update(['r1'], { value: 'written by the application' })
    expect(await store.swap(set(['value']), [swapTo(record, { value: 'new' })], accept)).toEqual(['lost'])
    expect((await findRecord(store, set(['value']), 'r1')).cells['value']).toBe('written by the application')
  })

  it('tells a record that is gone and does not bring it back', async () => {
    const { store, set, application } = await open(pairs(2))
    const record = await findRecord(store, set(['value']), 'r1')
    await application.remove(['r1'])
    expect(await store.swap(set(['value']), [swapTo(record, { value: 'new' })], accept)).toEqual(['gone'])
    expect(await application.rows()).toHaveLength(1)
  })

  it('answers in the order of the swaps and reads back the changed ones in that order', async () => {
    const { store, set, application } = await open(pairs(6))
    const records = (await readAll(store, set(['value']))).sort((one, other) => byText(other.id, one.id))
    await application.update(['r4'], { value: 'meanwhile' })
    await application.remove(['r1'])
    let seen: readonly StoredRecord[] = []
    const swaps = records.map((record) => swapTo(record, { value: `new ${String(record.id[0])}` }))
    const outcomes = await store.swap(set(['value']), swaps, (read) => {
      seen = read
    })
    expect(outcomes).toEqual(['changed', 'lost', 'changed', 'changed', 'gone', 'changed'])
    expect(seen.map(({ id, cells }) => [id[0], cells['value']])).toEqual(
      ['r5', 'r3', 'r2', 'r0'].map((id) => [id, `new ${id}`]),
    )
  })

  it('writes nothing of a batch when the read-back throws, and passes its error on', async () => {
    const { store, set, application } = await open(pairs(4))
    const before = await application.rows()
    const swaps = (await readAll(store, set(['value']))).map((record) => swapTo(record, { value: 'new' }))
    const refusal = new Error('does not open')
    const refuse = (): void => {
      throw refusal
    }
    await expect(store.swap(set(['value']), swaps, refuse)).rejects.toBe(refusal)
    expect(await application.rows()).toEqual(before)
    expect(await store.swap(set(['value']), swaps, accept)).toEqual(swaps.map(() => 'changed'))
  })

  it('loses a swap that was made already, so that a batch can be sent twice', async () => {
    const { store, set } = await open(pairs(3))
    const swaps = (await readAll(store, set(['value']))).map((record) => swapTo(record, { value: 'new' }))
    await store.swap(set(['value']), swaps, accept)
    expect(await store.swap(set(['value']), swaps, accept)).toEqual(['lost', 'lost', 'lost'])
  })

  it('takes an empty batch', async () => {
    const { store, set } = await open(pairs(1))
    expect(await store.swap(set(['value']), [], accept)).toEqual([])
  })

  const texts = ['', 'é 日本 🔑', 'quote \' and " and \\ and ;--', 'line\r\nline\n']
  it.each(has.freeLengths ? [...texts, 'x'.repeat(1_000_000)] : texts)(
    'writes and finds again the text %.20j',
    async (text) => {
      const { store, set, application } = await open(pairs(1))
      const value = set(['value'])
      await store.swap(value, [swapTo(await findRecord(store, value, 'r0'), { value: text })], accept)
      expect((await application.rows())[0]?.['value']).toBe(text)
      expect(
        await store.swap(value, [swapTo(await findRecord(store, value, 'r0'), { value: 'next' })], accept),
      ).toEqual(['changed'])
    },
  )

  itWhere(has.manyColumns)('compares every column that was used, also one that does not change', async () => {
    const { store, set, application } = await open(wide)
    const used = set(['value', 'wrapped', 'note', 'number'])
    for (const change of [{ wrapped: 'other' }, { note: '' }, { number: 2n }, { value: null }]) {
      const record = await findRecord(store, used, 'a')
      await application.update(['a'], change)
      expect(await store.swap(used, [swapTo(record, { value: Buffer.from('new') })], accept)).toEqual([
        'lost',
      ])
      await application.update(['a'], record.cells)
    }
  })

  itWhere(has.manyColumns)('tells null, empty and text from bytes', async () => {
    const { store, set } = await open(wide)
    const used = set(['value', 'wrapped', 'note', 'number'])
    const expectations = [
      { id: 'a', cells: { note: '' }, outcome: 'lost' },
      { id: 'a', cells: { value: 'va' }, outcome: 'lost' },
      { id: 'a', cells: { wrapped: Buffer.from('wa') }, outcome: 'lost' },
      { id: 'b', cells: { value: Buffer.alloc(0) }, outcome: 'lost' },
      { id: 'c', cells: { value: null }, outcome: 'lost' },
      { id: 'b', cells: { number: 2n ** 60n }, outcome: 'lost' },
      { id: 'a', cells: { note: null }, outcome: 'changed' },
      { id: 'b', cells: { value: null, number: 2n ** 60n + 1n }, outcome: 'changed' },
      { id: 'c', cells: { value: Buffer.alloc(0), number: null }, outcome: 'changed' },
    ]
    for (const { id, cells, outcome } of expectations) {
      const swap: Swap = { id: [id], expected: cells, change: { wrapped: 'new' } }
      expect([id, cells, await store.swap(used, [swap], accept)]).toEqual([id, cells, [outcome]])
    }
  })

  itWhere(has.manyColumns)(
    'gives the read-back every column of the record set and keeps the others',
    async () => {
      const { store, set, application } = await open(wide)
      const used = set(['value', 'wrapped'])
      let seen: readonly StoredRecord[] = []
      const record = await findRecord(store, used, 'a')
      await store.swap(used, [swapTo(record, { value: Buffer.from([0, 255]) })], (read) => {
        seen = read
      })
      expect(seen.map(({ cells }) => withBuffers(cells))).toEqual([
        { value: Buffer.from([0, 255]), wrapped: 'wa' },
      ])
      const row = (await application.rows()).find((candidate) => candidate['id'] === 'a')
      expect(withBuffers(row ?? {})).toEqual({ ...wide.rows[0], value: Buffer.from([0, 255]) })
    },
  )
}

function describeInsert(open: Open): void {
  it('inserts the records that are missing and leaves those that are present alone', async () => {
    const { store, set, application } = await open(pairs(3))
    const value = set(['value'])
    const records = await store.fetch(value, [['r0'], ['r1'], ['r2']])
    await application.remove(['r0'])
    await application.remove(['r2'])
    await application.update(['r1'], { value: 'newer' })
    expect(await store.insertMissing(value, records)).toEqual(['inserted', 'present', 'inserted'])
    expect((await application.rows()).map((row) => row['value']).sort(byText)).toEqual([
      'newer',
      'old-0',
      'old-2',
    ])
    expect(await store.insertMissing(value, records)).toEqual(['present', 'present', 'present'])
  })
}

/** These run where the driver has a transaction over several record sets. */
function describeTogether(open: Open): void {
  it('swaps over several record sets all together, and shows each batch what it wrote', async () => {
    const { store, set, application } = await open(pairs(5))
    if (store.swapTogether === undefined) return
    const value = set(['value'])
    const records = await Promise.all(['r0', 'r1', 'r2'].map(async (id) => findRecord(store, value, id)))
    const swaps = records.map((record) => swapTo(record, { value: `new ${String(record.id[0])}` }))
    const seen: unknown[] = []
    const batches = [
      { set: value, swaps: swaps.slice(0, 2) },
      { set: value, swaps: swaps.slice(2) },
    ]
    const outcomes = await store.swapTogether(batches, (read, batch) => {
      seen.push([batch, read.map(({ id, cells }) => [id[0], cells['value']])])
    })
    expect(outcomes).toEqual([['changed', 'changed'], ['changed']])
    expect(seen).toEqual([
      [
        0,
        [
          ['r0', 'new r0'],
          ['r1', 'new r1'],
        ],
      ],
      [1, [['r2', 'new r2']]],
    ])
    const rows = (await application.rows()).map((row) => row['value']).sort(byText)
    expect(rows).toEqual(['new r0', 'new r1', 'new r2', 'old-3', 'old-4'])
  })

  it('writes nothing of several record sets when one swap is lost or gone, and names it', async () => {
    const { store, set, application } = await open(pairs(5))
    if (store.swapTogether === undefined) return
    const value = set(['value'])
    const swaps = (await readAll(store, value))
      .sort((one, other) => byText(one.id, other.id))
      .map((record) => swapTo(record, { value: 'new' }))
    const batches = [
      { set: value, swaps: swaps.slice(0, 3) },
      { set: value, swaps: swaps.slice(3) },
    ]
    await application.update(['r1'], { value: 'meanwhile' })
    await application.remove(['r4'])
    const before = await application.rows()
    const refuse = (): void => {
      throw new Error('nothing was written, so there is nothing to read back')
    }
    const outcomes = await store.swapTogether(batches, refuse)
    expect([outcomes[0]?.[1], outcomes[1]?.[1]]).toEqual(['lost', 'gone'])
    expect(await application.rows()).toEqual(before)
  })

  it('writes nothing of several record sets when a later read-back throws', async () => {
    const { store, set, application } = await open(pairs(4))
    if (store.swapTogether === undefined) return
    const value = set(['value'])
    const before = await application.rows()
    const swaps = (await readAll(store, value)).map((record) => swapTo(record, { value: 'new' }))
    const batches = swaps.map((swap) => ({ set: value, swaps: [swap] }))
    const refusal = new Error('does not open')
    const refuse = (_: readonly StoredRecord[], batch: number): void => {
      if (batch === 3) throw refusal
    }
    await expect(store.swapTogether(batches, refuse)).rejects.toBe(refusal)
    expect(await application.rows()).toEqual(before)
    expect(await store.swapTogether([], accept)).toEqual([])
  })
}

function describeCatalogue(open: Open, has: StoreFeatures): void {
  it('lists what there is, with an id by which it can be scanned', async () => {
    const { store, set } = await open(has.manyColumns ? wide : pairs(3))
    const tables = await store.catalogue()
    const { table } = set(['value'])
    const found = tables.find((one) => one.table === table)
    if (found?.id === undefined) throw new Error('the table has an id')
    if (found.records !== undefined) expect(found.records).toBeGreaterThanOrEqual(0n)
    const columns = found.columns.map(({ name }) => name)
    expect(columns.length).toBeGreaterThan(0)
    if (has.manyColumns) expect(columns.sort(byText)).toEqual(['note', 'number', 'value', 'wrapped'])
    if (!has.manyColumns) return
    const records = await readAll(store, { table, id: found.id, columns })
    expect(records).toHaveLength(3)
  })
}

function describeOthers(open: Open, has: StoreFeatures): void {
  itWhere(has.others)('loses no write of another process while records are swapped', async () => {
    const { store, set, application } = await open(pairs(12))
    const value = set(['value'])
    const tally = { changed: 0, lost: 0, gone: 0 }
    const writer = await application.startWriter('value')
    const deadline = Date.now() + 20_000
    while ((tally.lost < 10 || tally.changed < 50) && Date.now() < deadline) {
      const records = await readAll(store, value)
      await new Promise((resolve) => setTimeout(resolve, 3))
      const swaps = records.map((record) => swapTo(record, { value: `kvx:${String(record.cells['value'])}` }))
      for (const outcome of await store.swap(value, swaps, accept)) tally[outcome] += 1
    }
    const written = await writer.stop()
    expect(tally.lost).toBeGreaterThanOrEqual(10)
    expect(tally.changed).toBeGreaterThanOrEqual(50)
    for (const row of await application.rows()) {
      const last = written.get(String(row['id'])) ?? `old-${String(row['id']).slice(1)}`
      expect(String(row['value']).replace(/^(kvx:)*/, '')).toBe(last)
    }
  })

  itWhere(has.locks)(
    'says that the store is locked while another process holds it, and works afterwards',
    async () => {
      const { store, set, application } = await open({ ...pairs(1), busyMs: 200 })
      const value = set(['value'])
      const swaps = (await readAll(store, value)).map((record) => swapTo(record, { value: 'new' }))
      const release = await application.holdWriteLock()
      expect(await codeOf(store.swap(value, swaps, accept))).toBe('LOCKED')
      await release()
      expect(await store.swap(value, swaps, accept)).toEqual(['changed'])
    },
  )

  it('settles and closes, also twice', async () => {
    const { store, set } = await open(pairs(1))
    await store.swap(
      set(['value']),
      [{ id: ['r0'], expected: { value: 'old-0' }, change: { value: 'new' } }],
      accept,
    )
    await store.settle()
    await store.close()
    await store.close()
  })
}
