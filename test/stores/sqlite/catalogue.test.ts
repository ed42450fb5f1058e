import { expect, it } from 'vitest'
import type { CatalogueTable } from '../../../src/stores/store.ts'
import { makeDatabase, openStore, readAll, refusalOf } from './fixture.ts'

async function catalogueOf(sql: string): Promise<readonly CatalogueTable[]> {
  return await (await openStore(makeDatabase(sql))).catalogue()
}

it('lists the tables of the application with columns of any affinity, and counts them', async () => {
  expect(
    await catalogueOf(`
      CREATE TABLE b (id INTEGER PRIMARY KEY, value TEXT, n INTEGER, any_, twice AS (n * 2));
      CREATE TABLE "a b" (code TEXT NOT NULL, tenant TEXT NOT NULL, blob_ BLOB, UNIQUE (tenant, code));
      CREATE VIEW v AS SELECT * FROM b;
      CREATE VIRTUAL TABLE words USING fts5(body);
      INSERT INTO b (value) VALUES ('x'), ('y');
    `),
  ).toEqual([
    { table: 'a b', id: ['tenant', 'code'], columns: [{ name: 'blob_', type: 'BLOB' }], records: 0n },
    {
      table: 'b',
      id: ['id'],
      columns: [
        { name: 'value', type: 'TEXT' },
        { name: 'n', type: 'INTEGER' },
        { name: 'any_', type: 'ANY' },
      ],
      records: 2n,
    },
  ])
})

it.each([
  ['id TEXT PRIMARY KEY, v', [`('a', 1)`, `('b', 2)`], ['id']],
  ['id TEXT PRIMARY KEY, v', [`('a', 1)`, `(NULL, 2)`, `(NULL, 3)`], undefined],
  ['id TEXT UNIQUE, v UNIQUE', [`(NULL, 1)`, `('b', 2)`], ['v']],
  ['id TEXT, v TEXT', [`('a', 1)`], undefined],
  ['id INTEGER, v TEXT, PRIMARY KEY (v, id)', [`(1, 1)`], ['v', 'id']],
])('takes as id of t (%s) what is unique and never null', async (columns, rows, id) => {
  const [table] = await catalogueOf(`CREATE TABLE t (${columns}); INSERT INTO t VALUES ${rows.join(', ')}`)
  expect([table?.id, table?.records]).toEqual([id, BigInt(rows.length)])
})

it('lets a look name rows by their rowid, and no run', async () => {
  const store = await openStore(makeDatabase("CREATE TABLE t (v TEXT); INSERT INTO t VALUES ('x'), ('y')"))
  const set = { table: 't', id: ['rowid'], columns: ['v'] }
  expect((await readAll(store, set, 1)).map(({ id, cells }) => [id[0], cells['v']])).toEqual([
    [1n, 'x'],
    [2n, 'y'],
  ])
  const swap = { id: [1n], expected: { v: 'x' }, change: { v: 'new' } }
  for (const work of [store.inspect(set), store.fetch(set, [[1n]]), store.swap(set, [swap], () => {})]) {
    expect((await refusalOf(work)).code).toBe('STORE_SHAPE')
  }
})
