import { describe, expect, it } from 'vitest'
import type { Cells, Swap } from '../../../src/stores/store.ts'
import { makeDatabase, onDatabase, openStore, readAll, recordSet, refusalOf, swapAll } from './fixture.ts'

const rowsOf = (path: string) =>
  onDatabase(path, (database) =>
    database
      .prepare('SELECT * FROM t ORDER BY 1')
      .all()
      .map((row) => ({ ...row })),
  )

const swapOf = (expected: Cells, change: Cells): Swap => ({ id: [1n], expected, change })

const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`

describe('tables of a SQLite store', () => {
  it('names the nearest table and column when one is missing', async () => {
    const store = await openStore(makeDatabase('CREATE TABLE users (id INTEGER PRIMARY KEY, email_ct BLOB)'))
    const table = await refusalOf(store.inspect({ table: 'user', id: ['id'], columns: [] }))
    expect(table).toMatchObject({ code: 'STORE_SHAPE', exit: 2, details: { nearest: 'users' } })
    const column = await refusalOf(store.inspect({ table: 'users', id: ['id'], columns: ['Email_ct'] }))
    expect(column).toMatchObject({ code: 'STORE_SHAPE', details: { nearest: 'email_ct' } })
    expect(column.message).toContain('"users" has no column "Email_ct"')
    const id = await refusalOf(store.inspect({ table: 'users', id: ['zzzzzz'], columns: [] }))
    expect(id.details).toEqual({})
  })

  it.each(['main.t', 'v', 'f', 'sqlite_schema', 'f_data', 't; DROP TABLE t', '', 'temp.t'])(
    'refuses %j, which is not an ordinary table',
    async (table) => {
      const path =
        makeDatabase(`CREATE TABLE t (id INTEGER PRIMARY KEY, value); CREATE VIEW v AS SELECT * FROM t;
        CREATE VIRTUAL TABLE f USING fts5(id, value)`)
      const store = await openStore(path)
      const set = { table, id: [table === 'sqlite_schema' ? 'name' : 'id'], columns: [] }
      expect(await refusalOf(store.inspect(set))).toMatchObject({ code: 'STORE_SHAPE' })
      expect(await refusalOf(store.fetch(set, [[1n]]))).toMatchObject({ code: 'STORE_SHAPE' })
      expect(rowsOf(path)).toEqual([])
    },
  )

  it('takes any name for what it is, quotes and statements included', async () => {
    const table = 't"; DROP TABLE t; --'
    const column = 'va"lue\' ?1 :x [y] `z`'
    const path =
      makeDatabase(`CREATE TABLE ${quote(table)} (${quote('order')} INTEGER PRIMARY KEY, ${quote(column)}, "__proto__");
      INSERT INTO ${quote(table)} VALUES (1, 'old', 'p')`)
    const store = await openStore(path)
    const set = { table, id: ['order'], columns: [column, '__proto__'] }
    expect((await store.inspect(set)).records).toBe(1n)
    const [record] = await readAll(store, set)
    expect(Object.entries(record?.cells ?? {})).toEqual([
      [column, 'old'],
      ['__proto__', 'p'],
    ])
    expect(await store.swap(set, [swapOf(record?.cells ?? {}, { [column]: 'new' })], () => {})).toEqual([
      'changed',
    ])
    expect((await store.fetch(set, [[1n]]))[0]?.cells[column]).toBe('new')
  })

  it('leaves generated columns out of backups, compares them, and refuses to change them', async () => {
    const path = makeDatabase(`CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT,
      length AS (length(value)) VIRTUAL, upper AS (upper(value)) STORED); INSERT INTO t (value) VALUES ('old')`)
    const store = await openStore(path)
    const set = recordSet(['value', 'length', 'upper'])
    expect((await store.inspect(set)).warnings.map(({ code }) => code)).toEqual([
      'GENERATED_COLUMN',
      'GENERATED_COLUMN',
    ])
    const records = await store.fetch(set, [[1n]])
    expect(records).toEqual([{ id: [1n], cells: { id: 1n, value: 'old' } }])
    expect(await store.swap(set, [swapOf({ upper: 'old' }, { value: 'x' })], () => {})).toEqual(['lost'])
    expect(await refusalOf(store.swap(set, [swapOf({}, { upper: 'NEW' })], () => {}))).toMatchObject({
      code: 'STORE_SHAPE',
    })
    onDatabase(path, (database) => database.exec('DELETE FROM t'))
    expect(await store.insertMissing(set, records)).toEqual(['inserted'])
    expect(rowsOf(path)).toEqual([{ id: 1n, value: 'old', length: 3n, upper: 'OLD' }])
  })

  it('refuses a swap that changes the id', async () => {
    const store = await openStore(
      makeDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, value); INSERT INTO t VALUES (1, 'x')"),
    )
    const swap = swapOf({ value: 'x' }, { id: 2n })
    expect(await refusalOf(store.swap(recordSet(['id', 'value']), [swap], () => {}))).toMatchObject({
      code: 'STORE_SHAPE',
    })
  })

  it('stops with a clear error when the schema needs what this connection does not have', async () => {
    const path = makeDatabase(`CREATE TABLE t (id INTEGER PRIMARY KEY, value); INSERT INTO t VALUES (1, 'x');
      CREATE TRIGGER r AFTER UPDATE ON t BEGIN SELECT no_such_function(new.value); END`)
    const store = await openStore(path)
    expect(await refusalOf(swapAll(store, recordSet(), 'new'))).toMatchObject({
      code: 'STORE_SHAPE',
      exit: 2,
    })
    expect(rowsOf(path)).toEqual([{ id: 1n, value: 'x' }])
  })
})

describe('what a table does to a write', () => {
  const table =
    "CREATE TABLE t (id INTEGER PRIMARY KEY, value); INSERT INTO t VALUES (1, 'old1'), (2, 'old2');"

  it('is a warning in the facts when there is a trigger', async () => {
    const store = await openStore(
      makeDatabase(`${table} CREATE TRIGGER "se\nal" AFTER UPDATE ON T BEGIN SELECT 1; END`),
    )
    const { warnings } = await store.inspect(recordSet())
    expect(warnings.map(({ code }) => code)).toEqual(['TRIGGER'])
    expect(warnings[0]?.message).toContain('"se\\nal"')
  })

  it.each([
    [
      'changes the value back',
      'CREATE TRIGGER r AFTER UPDATE OF value ON t WHEN new.id = 2 BEGIN UPDATE t SET value = old.value WHERE id = new.id; END',
    ],
    [
      'changes its type',
      'CREATE TRIGGER r AFTER UPDATE OF value ON t WHEN new.id = 2 BEGIN UPDATE t SET value = CAST(new.value AS BLOB) WHERE id = new.id; END',
    ],
    [
      'deletes the record',
      'CREATE TRIGGER r AFTER UPDATE ON t WHEN new.id = 2 BEGIN DELETE FROM t WHERE id = new.id; END',
    ],
    [
      'ignores the write',
      'CREATE TRIGGER r BEFORE UPDATE ON t WHEN new.id = 2 BEGIN SELECT RAISE(IGNORE); END',
    ],
  ])('is found, and nothing is kept, when a trigger %s', async (_, trigger) => {
    const path = makeDatabase(`${table} ${trigger}`)
    const refusal = await refusalOf(swapAll(await openStore(path), recordSet(), 'new'))
    expect(refusal).toMatchObject({ code: 'READ_BACK_FAILED', exit: 5 })
    expect(rowsOf(path)).toEqual([
      { id: 1n, value: 'old1' },
      { id: 2n, value: 'old2' },
    ])
  })

  it("is found when the column's affinity makes another type of what is written", async () => {
    const path = makeDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, value NUMERIC); INSERT INTO t VALUES (1, 'old')",
    )
    const store = await openStore(path)
    expect(await refusalOf(swapAll(store, recordSet(), '00123'))).toMatchObject({ code: 'READ_BACK_FAILED' })
    expect(rowsOf(path)).toEqual([{ id: 1n, value: 'old' }])
  })

  it.each([
    ['a CHECK', "CREATE TABLE t (id INTEGER PRIMARY KEY, value CHECK (value <> 'sealed secret'))"],
    ['a UNIQUE', 'CREATE TABLE t (id INTEGER PRIMARY KEY, value UNIQUE)'],
    [
      'a UNIQUE that would delete the other record',
      'CREATE TABLE t (id INTEGER PRIMARY KEY, value UNIQUE ON CONFLICT REPLACE)',
    ],
    [
      'a UNIQUE that would pass the write over',
      'CREATE TABLE t (id INTEGER PRIMARY KEY, value UNIQUE ON CONFLICT IGNORE)',
    ],
    ['a STRICT type', 'CREATE TABLE t (id INTEGER PRIMARY KEY, value BLOB) STRICT'],
    [
      'a trigger',
      "CREATE TABLE t (id INTEGER PRIMARY KEY, value); CREATE TRIGGER r BEFORE UPDATE ON t BEGIN SELECT RAISE(ABORT, 'sealed secret'); END",
    ],
  ])(
    'is an error without a value in it, and the batch is rolled back, when %s refuses',
    async (_, create) => {
      const path = makeDatabase(`${create}; INSERT INTO t VALUES (1, x'01'), (2, x'02'), (3, x'03')`)
      const before = rowsOf(path)
      const refusal = await refusalOf(swapAll(await openStore(path), recordSet(), 'sealed secret'))
      expect(refusal).toMatchObject({ code: 'STORE_SHAPE', exit: 2 })
      expect(JSON.stringify([refusal.message, refusal.hint, refusal.details, refusal.stack])).not.toContain(
        'sealed',
      )
      expect(refusal.cause).toBeUndefined()
      expect(rowsOf(path)).toEqual(before)
    },
  )

  it('keeps the ON CONFLICT rules inside its triggers', async () => {
    const path =
      makeDatabase(`${table} CREATE TABLE seen (id INTEGER PRIMARY KEY); INSERT INTO seen VALUES (1);
      CREATE TRIGGER r AFTER UPDATE ON t BEGIN INSERT OR REPLACE INTO seen VALUES (new.id); END`)
    expect(await swapAll(await openStore(path), recordSet(), 'new')).toEqual(['changed', 'changed'])
  })

  it('does not set foreign keys off: nothing cascades and a restore may bring back a child first', async () => {
    const path = makeDatabase(`CREATE TABLE parent (id INTEGER PRIMARY KEY);
      CREATE TABLE t (id INTEGER PRIMARY KEY, value REFERENCES parent (id))`)
    const records = [{ id: [1n], cells: { id: 1n, value: 7n } }]
    expect(await (await openStore(path)).insertMissing(recordSet(), records)).toEqual(['inserted'])
  })

  it('brings back nothing of a batch when one record cannot be inserted', async () => {
    const path = makeDatabase('CREATE TABLE t (id INTEGER PRIMARY KEY, value NOT NULL)')
    const store = await openStore(path)
    const records = [
      { id: [1n], cells: { id: 1n, value: 'a' } },
      { id: [2n], cells: { id: 2n, value: null } },
    ]
    expect(await refusalOf(store.insertMissing(recordSet(), records))).toMatchObject({ code: 'STORE_SHAPE' })
    const dropped = [{ id: [1n], cells: { id: 1n, value: 'a', gone: 'x' } }]
    expect(await refusalOf(store.insertMissing(recordSet(), dropped))).toMatchObject({ code: 'STORE_SHAPE' })
    expect(rowsOf(path)).toEqual([])
  })
})
