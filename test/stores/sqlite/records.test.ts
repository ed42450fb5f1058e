import { describe, expect, it } from 'vitest'
import type { Cell, RecordSet } from '../../../src/stores/store.ts'
import { makeDatabase, onDatabase, openStore, readAll, recordSet, refusalOf, swapAll } from './fixture.ts'

async function expectEachOnce(path: string, set: RecordSet): Promise<void> {
  const store = await openStore(path)
  const facts = await store.inspect(set)
  const all = await readAll(store, set, 1_000_000)
  expect(BigInt(all.length)).toBe(facts.records)
  for (const pageSize of [1, 2, 3, 5, all.length - 1, all.length]) {
    expect(await readAll(store, set, pageSize)).toEqual(all)
  }
  expect(
    await store.fetch(
      set,
      all.map((record) => record.id),
    ),
  ).toHaveLength(all.length)
  expect(new Set(await swapAll(store, set, 'swapped'))).toEqual(new Set(['changed']))
  await store.close()
  const [count] = onDatabase(path, (database) =>
    database.prepare("SELECT count(*) AS n FROM t WHERE value = 'swapped'").all(),
  )
  expect(count?.['n']).toBe(facts.records)
}

const mixed: readonly Cell[] = [
  -9_223_372_036_854_775_808n,
  -5n,
  0n,
  7n,
  9_007_199_254_740_993n,
  9_007_199_254_740_992n,
  9_223_372_036_854_775_807n,
  -1.5,
  0.1,
  0.1 + Number.EPSILON / 8,
  1e300,
  -Infinity,
  Infinity,
  '',
  'a',
  'A',
  'b',
  'ä',
  'a\0b',
  'a\0c',
  '12',
  '1e5',
  '🔑',
  '\uffff',
  Buffer.alloc(0),
  Buffer.from('a'),
  Buffer.from([0]),
  Buffer.from([255, 254]),
  Buffer.from('12'),
]

function makeMixed(create: string): string {
  const path = makeDatabase(create)
  onDatabase(path, (database) => {
    const insert = database.prepare('INSERT INTO t (id, value) VALUES (?, ?)')
    for (const id of mixed) insert.run(id, 'old')
  })
  return path
}

describe('ids of a SQLite store', () => {
  it.each([
    'CREATE TABLE t (id PRIMARY KEY, value)',
    'CREATE TABLE t (id BLOB PRIMARY KEY, value) WITHOUT ROWID',
    'CREATE TABLE t (id, value)',
    'CREATE TABLE t (id ANY NOT NULL UNIQUE, value TEXT) STRICT',
    'CREATE TABLE t (id COLLATE NOCASE, value); CREATE UNIQUE INDEX i ON t (id COLLATE BINARY)',
    'CREATE TABLE t (id COLLATE NOCASE, value)',
    'CREATE TABLE t (id, value); CREATE INDEX i ON t (id COLLATE RTRIM DESC)',
  ])('of every type and size keep a stable order and lose no record: %s', async (create) => {
    await expectEachOnce(makeMixed(create), recordSet())
  })

  it('of a NOCASE column are taken by their bytes', async () => {
    const path = makeDatabase(`CREATE TABLE t (id TEXT COLLATE NOCASE, value);
      INSERT INTO t VALUES ('a', 'lower'), ('A', 'upper'), ('b', 'other')`)
    const store = await openStore(path)
    const swap = { id: ['A'], expected: { value: 'upper' }, change: { value: 'new' } }
    expect(await store.swap(recordSet(), [swap], () => {})).toEqual(['changed'])
    expect((await store.fetch(recordSet(), [['a']]))[0]?.cells['value']).toBe('lower')
    expect(await store.fetch(recordSet(), [['B']])).toEqual([])
    await expectEachOnce(path, recordSet())
  })

  it('of several columns, of mixed types, are found whatever index proves them', async () => {
    for (const key of [
      'PRIMARY KEY (b, a)',
      'PRIMARY KEY (b COLLATE NOCASE, a)',
      'UNIQUE (a, b)',
      'CHECK (TRUE)',
    ]) {
      const path = makeDatabase(`CREATE TABLE t (a, b, value, ${key})`)
      onDatabase(path, (database) => {
        const insert = database.prepare('INSERT INTO t VALUES (?, ?, ?)')
        for (const a of [1n, 2.5, 'x', Buffer.from('x')])
          for (const b of [0n, 'p', 'q ', Buffer.alloc(0)]) insert.run(a, b, 'old')
      })
      await expectEachOnce(path, recordSet(['value'], ['a', 'b']))
    }
  })

  it('are looked up through the index that proves them, also with a collation of its own', async () => {
    const path =
      makeDatabase(`CREATE TABLE t (a TEXT, b INTEGER, value, PRIMARY KEY (a COLLATE NOCASE, b)) WITHOUT ROWID;
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
      INSERT INTO t SELECT 'tenant', i, 'old' FROM n`)
    const store = await openStore(path)
    const set = recordSet(['value'], ['a', 'b'])
    const time = async (pageSize: number): Promise<number> => {
      const start = process.cpuUsage().user
      expect(await readAll(store, set, pageSize)).toHaveLength(60_000)
      return process.cpuUsage().user - start
    }
    await time(60_000)
    // 600 pages that each read the tenant from its start would cost some 300 whole reads.
    expect(await time(100)).toBeLessThan(30 * (await time(60_000)))
  })

  it.each([
    ['null', 'INSERT INTO t VALUES (NULL, 1), (NULL, 2), (1, 3)', 'null in 2 records'],
    ['not unique', "INSERT INTO t VALUES ('a', 1), ('a', 2), ('a', 3), ('b', 1)", 'not unique in 3 records'],
    ['equal as numbers', 'INSERT INTO t VALUES (1, 1), (1.0, 2)', 'not unique in 2 records'],
    [
      'text of broken UTF-8',
      "INSERT INTO t VALUES (CAST(x'61ff' AS TEXT), 1), ('ok', 2)",
      'not valid Unicode in 1 record',
    ],
  ])('are refused with their number when they are %s', async (_, insert, message) => {
    const store = await openStore(makeDatabase(`CREATE TABLE t (id, value); ${insert}`))
    const refusal = await refusalOf(store.inspect(recordSet()))
    expect(refusal).toMatchObject({ code: 'STORE_SHAPE', exit: 2 })
    expect(refusal.message).toContain(message)
  })

  it('of broken UTF-8 do not stop a scan or let it go round in circles', async () => {
    const store = await openStore(
      makeDatabase(
        "CREATE TABLE t (id PRIMARY KEY, value); INSERT INTO t VALUES (CAST(x'61ff' AS TEXT), 1), (CAST(x'61fe' AS TEXT), 2), ('b', 3)",
      ),
    )
    expect((await readAll(store, recordSet(), 1)).map((record) => record.cells['value'])).toEqual([
      2n,
      1n,
      3n,
    ])
  })

  it('that are null, added after the inspection, end a scan instead of being passed over', async () => {
    const path = makeDatabase('CREATE TABLE t (id TEXT PRIMARY KEY, value); INSERT INTO t VALUES (NULL, 1)')
    expect(await refusalOf(readAll(await openStore(path), recordSet()))).toMatchObject({
      code: 'STORE_SHAPE',
    })
  })

  it('are a warning when no index covers them', async () => {
    const store = await openStore(makeDatabase('CREATE TABLE t (id, value); INSERT INTO t VALUES (1, 2)'))
    expect((await store.inspect(recordSet())).warnings.map(({ code }) => code)).toEqual(['ID_NOT_INDEXED'])
  })

  it('are not proven by an index that leaves records out or is over an expression', async () => {
    for (const index of ['(id) WHERE id > 1', '(abs(id))']) {
      const store = await openStore(
        makeDatabase(
          `CREATE TABLE t (id, value); CREATE UNIQUE INDEX i ON t ${index}; INSERT INTO t VALUES (0, 1), (2, 2)`,
        ),
      )
      expect((await store.inspect(recordSet())).warnings.map(({ code }) => code)).toEqual(['ID_NOT_INDEXED'])
    }
  })
})

describe('values of a SQLite store', () => {
  const values: readonly Cell[] = [
    null,
    '',
    'text',
    'a\0b\0',
    '🔑',
    '\ufeffbom',
    Buffer.alloc(0),
    Buffer.from([0]),
    Buffer.alloc(1_000_000, 7),
    0n,
    -1n,
    2n ** 63n - 1n,
    0.1,
    -1e-300,
    'x'.repeat(1_000_000),
  ]

  it.each(['UTF-8', 'UTF-16le', 'UTF-16be'])(
    'come back as they were written, in type and byte: %s',
    async (encoding) => {
      const path = makeDatabase(
        `PRAGMA encoding = '${encoding}'; CREATE TABLE t (id INTEGER PRIMARY KEY, value); INSERT INTO t VALUES (1, 'old')`,
      )
      const store = await openStore(path)
      let held: Cell = 'old'
      for (const value of values) {
        const swap = { id: [1n], expected: { value: held }, change: { value } }
        expect(await store.swap(recordSet(), [swap], () => {})).toEqual(['changed'])
        const [record] = await store.fetch(recordSet(), [[1n]])
        held = record?.cells['value'] ?? null
        expect(held instanceof Uint8Array ? Buffer.from(held) : held).toEqual(value)
      }
    },
  )

  it('of one type never pass for another, whatever the affinity and collation of the column', async () => {
    const twins: readonly Cell[] = [
      '1',
      'a',
      'A',
      'a ',
      Buffer.from('1'),
      Buffer.from('a'),
      1n,
      1.5,
      '1.5',
      null,
      '',
    ]
    for (const column of [
      'value',
      'value BLOB',
      'value COLLATE NOCASE',
      'value COLLATE RTRIM',
      'value TEXT COLLATE NOCASE',
      'value NUMERIC',
    ]) {
      const path = makeDatabase(`CREATE TABLE t (id INTEGER PRIMARY KEY, ${column})`)
      const store = await openStore(path)
      for (const stored of twins) {
        onDatabase(path, (database) => database.prepare('INSERT OR REPLACE INTO t VALUES (1, ?)').run(stored))
        const [record] = await readAll(store, recordSet())
        const held = record?.cells['value'] ?? null
        const others = twins.filter((twin) => !same(twin, held))
        for (const expected of others) {
          const swap = { id: [1n], expected: { value: expected }, change: { value: null } }
          expect([column, held, expected, await store.swap(recordSet(), [swap], () => {})]).toEqual([
            column,
            held,
            expected,
            ['lost'],
          ])
        }
      }
    }
  })

  it('of broken UTF-8 are listed, lost on a swap, refused for a backup, and never changed', async () => {
    const path = makeDatabase(`CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT, other TEXT);
      INSERT INTO t VALUES (1, CAST(x'c3286fff' AS TEXT), 'fine'), (2, 'fine', 'fine')`)
    const store = await openStore(path)
    const records = await readAll(store, recordSet())
    expect(records).toHaveLength(2)
    const swaps = records.map(({ id, cells }) => ({ id, expected: cells, change: { value: 'new' } }))
    expect(await store.swap(recordSet(), swaps, () => {})).toEqual(['lost', 'changed'])
    const refusal = await refusalOf(store.fetch(recordSet(['other']), [[1n]]))
    expect(refusal).toMatchObject({ code: 'STORE_SHAPE', details: { columns: ['value'] } })
    expect(await store.fetch(recordSet(['other']), [[2n]])).toHaveLength(1)
    const [row] = onDatabase(path, (database) =>
      database.prepare('SELECT hex(value) AS bytes FROM t WHERE id = 1').all(),
    )
    expect(row?.['bytes']).toBe('C3286FFF')
  })

  it('that SQLite cannot hold are refused and change nothing', async () => {
    const path = makeDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, value); INSERT INTO t VALUES (1, 'old')",
    )
    const store = await openStore(path)
    const change = async (value: Cell) =>
      await refusalOf(
        store.swap(recordSet(), [{ id: [1n], expected: { value: 'old' }, change: { value } }], () => {}),
      )
    expect(await change(2n ** 63n)).toMatchObject({ code: 'STORE_SHAPE' })
    expect(await change('\ud800')).toMatchObject({ code: 'READ_BACK_FAILED' })
    expect(await change(Number.NaN)).toMatchObject({ code: 'READ_BACK_FAILED' })
    const impossible = [2n ** 64n, Number.NaN, 'ol\ud800'].map((value) => ({
      id: [1n],
      expected: { value },
      change: { value: 'new' },
    }))
    expect(await store.swap(recordSet(), impossible, () => {})).toEqual(['lost', 'lost', 'lost'])
    expect(await store.fetch(recordSet(), [[2n ** 64n], ['\ud800'], [null]])).toEqual([])
    expect((await readAll(store, recordSet()))[0]?.cells).toEqual({ value: 'old' })
  })
})

it('columns that are called like words of a statement are compared each by itself, one look after the other', async () => {
  const names = ['text', 'blob', 'select', 'update', 'null', 'integer']
  const list = names.map((name) => `"${name}"`).join(', ')
  const path = makeDatabase(
    `CREATE TABLE t (id INTEGER PRIMARY KEY, ${list}); INSERT INTO t VALUES (1, 'a', x'01', NULL, 2, 'b', 1.5)`,
  )
  const store = await openStore(path)
  const classes: readonly Cell[] = [null, 'text', Buffer.from('text'), 7n, 0.5]
  // One store for all of them: what it remembers of the one statement must never answer for another.
  for (const columns of [names, names.toReversed(), names.slice(2), names.slice(0, 1), ['select'], names]) {
    const set = recordSet(columns)
    for (const [turn, cell] of [...classes, ...classes.toReversed()].entries()) {
      const [before] = await readAll(store, set)
      if (before === undefined) throw new Error('there is a record')
      const column = columns[turn % columns.length] ?? ''
      const swap = { id: [1n], expected: before.cells, change: { [column]: cell } }
      const others = classes.filter((other) => !same(other, before.cells[column] ?? null))
      const wrong = others.map((other) => ({ ...swap, expected: { ...before.cells, [column]: other } }))
      const after = { ...before.cells, [column]: cell }
      expect(await store.swap(set, wrong, () => {})).toEqual(wrong.map(() => 'lost'))
      expect(await store.swap(set, [{ ...swap, id: [2n] }, swap], () => {})).toEqual(['gone', 'changed'])
      expect((await readAll(store, set))[0]?.cells).toEqual(after)
      expect((await store.fetch(set, [[1n]]))[0]?.cells).toMatchObject(after)
    }
  }
})

function same(one: Cell, other: Cell): boolean {
  return one instanceof Uint8Array && other instanceof Uint8Array
    ? Buffer.compare(one, other) === 0
    : one === other
}
