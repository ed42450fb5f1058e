import { expect, it } from 'vitest'
import {
  makeDatabase,
  openStore,
  readAll,
  recordSet,
  refusalOf,
  startOther,
  swapAll,
  usePostgres,
} from './fixture.ts'

const postgres = usePostgres()
const accept = (): void => {}

const idTypes = [
  ['bigint', ['-9223372036854775808', '-1', '0', '9223372036854775807']],
  ['smallint', ['-3', '0', '7']],
  ['uuid', ['00000000-0000-0000-0000-000000000001', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']],
  ['text', ['', 'a', 'A', 'ä', 'z', 'Ζ', '🔑', "it's", 'a\\b', '{1,2}', 'NULL']],
  ['text', [' a ', 'null', 'beef', '\\xbeef', '\\xbeet', 'say "a"', 'a,b', '\\']],
  ['text COLLATE "en-x-icu"', ['', 'a', 'A', 'ä', 'a b', 'ab', 'a-b', 'z']],
  ['varchar(20)', ['x', 'x ', 'X']],
  ['char(5)', ['a', 'abc', 'abcde']],
  ['bytea', ['\\x', '\\x00', '\\x00ff', '\\xff']],
  ['numeric', ['-1.5', '0', '1.0', '12345678901234567890.5']],
  ['timestamptz', ['2026-01-01 00:00:00.000001+00', '2026-01-01 00:00:00.000002+00']],
  ['date', ['0044-03-15 BC', '2026-01-01']],
  ['boolean', ['false', 'true']],
  ['inet', ['10.0.0.1', '10.0.0.0/8', '::1']],
  ['int[]', ['{}', '{1,2}', '{1,NULL}']],
] as const

it.each(idTypes)('scans, fetches and swaps by an id of type %s', async (type, ids) => {
  const { server } = postgres
  const url = await makeDatabase(server, `CREATE TABLE t (id ${type} PRIMARY KEY, value text)`)
  for (const id of ids) await server.sql(url, 'INSERT INTO t VALUES ($1, $2)', [id, `of ${id}`])
  const store = await openStore(url)
  const set = recordSet()
  expect((await store.inspect(set)).records).toBe(BigInt(ids.length))
  for (const pageSize of [1, 2, 100]) {
    const found = await readAll(store, set, pageSize)
    const texts = found.map(({ cells }) => String(cells['value']))
    expect(texts.sort()).toEqual(ids.map((id) => `of ${id}`).sort())
  }
  const all = await readAll(store, set)
  const fetched = await store.fetch(
    set,
    all.map(({ id }) => id),
  )
  expect(fetched.map(({ id }) => id)).toEqual(all.map(({ id }) => id))
  expect(await swapAll(store, set, 'new')).toEqual(ids.map(() => 'changed'))
  await server.sql(url, 'DELETE FROM t')
  expect(await store.insertMissing(set, fetched)).toEqual(ids.map(() => 'inserted'))
  expect(
    await store.fetch(
      set,
      all.map(({ id }) => id),
    ),
  ).toEqual(fetched)
})

const everyType = `CREATE TYPE mood AS ENUM ('low', 'high'); CREATE TYPE pair AS (a int, b text);
  CREATE DOMAIN sealed AS bytea CHECK (length(VALUE) > 2);
  CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, value sealed, v varchar(9), c char(6), j json, jb jsonb,
    n numeric(20,4), f float8, r real, b bool, d date, ts timestamp, tz timestamptz, iv interval, u uuid, ip inet,
    a text[], m mood, p pair, x xml, bits bit(3), money money, rng int4range, nothing text,
    double int GENERATED ALWAYS AS (id * 2) STORED)`

it('brings a record of any types back exactly, with its generated number', async () => {
  const { server } = postgres
  const url = await makeDatabase(
    server,
    `${everyType}; SET timezone = 'Asia/Tokyo'; INSERT INTO t (value, v, c, j, jb, n, f, r, b, d, ts, tz, iv, u, ip, a, m, p, x, bits, money, rng) VALUES
      ('\\x00ff01', 'é 🔑', 'ab', '{ "b":1,  "a": 1.00 }', '{"b": 1.00, "a": [1, null]}', 1.5, 0.1, 0.1, true, '2026-02-28', '2026-01-01 01:02:03.000004',
       '2026-01-01 01:02:03.5+09', '1 year 2 days 03:04:05.6', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.1.2.3/8', ARRAY['x', NULL, 'quote " and , and {', ''], 'high',
       ROW(1, 'a,"b"'), '<a b="c">d</a>', B'101', 1234.5, '[1,5)')`,
  )
  const print = async () => await server.sql(url, 'SELECT t::text AS row, md5(j::text) AS json FROM t')
  const before = await print()
  const store = await openStore(url)
  const set = recordSet(['value', 'j', 'jb'])
  const records = await store.fetch(set, [[1n]])
  expect(records[0]?.cells).toMatchObject({
    id: 1n,
    b: 't',
    c: 'ab    ',
    j: '{ "b":1,  "a": 1.00 }',
    nothing: null,
  })
  expect(records[0]?.cells).not.toHaveProperty('double')
  await server.sql(url, 'DELETE FROM t')
  expect(await store.insertMissing(set, records)).toEqual(['inserted'])
  expect(await print()).toEqual(before)
  expect(await store.insertMissing(set, records)).toEqual(['present'])
  const every = recordSet(Object.keys(records[0]?.cells ?? {}).filter((name) => name !== 'id'))
  const [record] = await readAll(store, every)
  const change = { value: Buffer.from('new value') }
  expect(await store.swap(every, [{ id: [1n], expected: record?.cells ?? {}, change }], accept)).toEqual([
    'changed',
  ])
})

it('compares jsonb by value and json by its bytes, and writes both', async () => {
  const { server } = postgres
  const url = await makeDatabase(
    server,
    `CREATE TABLE t (id int PRIMARY KEY, j json, jb jsonb);
     INSERT INTO t VALUES (1, '{ "ct": "a",  "ct": "b" }', '{"iv": "x", "ct":   "old"}')`,
  )
  const store = await openStore(url)
  const set = recordSet(['j', 'jb'])
  const swap = async (expected: object, change: object) =>
    await store.swap(set, [{ id: [1n], expected: { ...expected }, change: { ...change } }], accept)
  expect((await readAll(store, set))[0]?.cells).toEqual({
    j: '{ "ct": "a",  "ct": "b" }',
    jb: '{"ct": "old", "iv": "x"}',
  })
  expect(await swap({ j: '{"ct":"a","ct":"b"}' }, { jb: '1' })).toEqual(['lost'])
  expect(await swap({ jb: '{"iv":"x","ct":"other"}' }, { jb: '1' })).toEqual(['lost'])
  expect(await swap({ jb: 'no json' }, { jb: '1' })).toEqual(['lost'])
  expect(await swap({ jb: null }, { jb: '1' })).toEqual(['lost'])
  expect(
    await swap({ jb: '{"iv":"x","ct":"old"}' }, { jb: '{"iv":"y","ct":"new"}', j: '{"a" : 1}' }),
  ).toEqual(['changed'])
  expect((await readAll(store, set))[0]?.cells).toEqual({ j: '{"a" : 1}', jb: '{"ct": "new", "iv": "y"}' })
  expect((await refusalOf(swap({}, { jb: '{broken' }))).code).toBe('STORE_SHAPE')
  expect((await refusalOf(swap({}, { j: '{broken' }))).code).toBe('STORE_SHAPE')
})

it('compares text byte by byte, whatever collation and type call equal', async () => {
  const { server } = postgres
  const url = await makeDatabase(
    server,
    `CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
     CREATE TABLE t (id text COLLATE blind PRIMARY KEY, value text COLLATE blind, n numeric);
     INSERT INTO t VALUES ('Key', 'Value', 1.0), ('b', 'b', 2), ('C', 'c', 3)`,
  )
  const store = await openStore(url)
  const set = recordSet(['value', 'n'])
  expect((await readAll(store, set, 1)).map(({ id }) => id[0])).toEqual(['C', 'Key', 'b'])
  const swap = async (id: string, expected: object) =>
    await store.swap(set, [{ id: [id], expected: { ...expected }, change: { value: 'new' } }], accept)
  expect(await swap('KEY', {})).toEqual(['gone'])
  expect(await store.fetch(set, [['KEY']])).toEqual([])
  expect(await swap('Key', { value: 'VALUE' })).toEqual(['lost'])
  expect(await swap('Key', { n: '1.00' })).toEqual(['lost'])
  expect(await swap('Key', { value: 'Value', n: '1.0' })).toEqual(['changed'])
})

it('finds tables and columns of odd names, in other schemas and by the search path', async () => {
  const { server } = postgres
  const url = await makeDatabase(
    server,
    `CREATE SCHEMA "My Schema"; CREATE TABLE "My Schema"."a.b ""c""" ("the ""id""; --" int PRIMARY KEY, "Wert é" text);
     INSERT INTO "My Schema"."a.b ""c""" VALUES (1, 'x');
     CREATE TABLE "a.b" (id int PRIMARY KEY, value text); INSERT INTO "a.b" VALUES (1, 'public');
     CREATE SCHEMA a; CREATE TABLE a.b (id int PRIMARY KEY, value text); INSERT INTO a.b VALUES (1, 'in a');
     CREATE TABLE a.other (id int PRIMARY KEY, value text); INSERT INTO a.other VALUES (1, 'other')`,
  )
  const store = await openStore(url)
  const odd = recordSet(['Wert é'], ['the "id"; --'], '"My Schema"."a.b ""c"""')
  expect(await readAll(store, odd)).toEqual([{ id: [1n], cells: { 'Wert é': 'x' } }])
  const valueIn = async (table: string, of = store) =>
    (await readAll(of, recordSet(['value'], ['id'], table)))[0]?.cells['value']
  expect(await valueIn('"a.b"')).toBe('public')
  expect(await valueIn('a.b')).toBe('in a')
  expect(await valueIn('a.other')).toBe('other')
  expect((await refusalOf(store.inspect(recordSet(['value'], ['id'], 'other')))).hint).toContain('"a.other"')
  expect(await valueIn('other', await openStore(url, { schema: 'a' }))).toBe('other')
  const tables = (await store.catalogue?.()) ?? []
  expect(tables.map(({ table }) => table)).toEqual(['My Schema."a.b ""c"""', 'a.b', 'a.other', '"a.b"'])
  for (const { table, id = [], columns } of tables) {
    expect(await readAll(store, { table, id, columns: columns.map(({ name }) => name) })).toHaveLength(1)
  }
})

it('refuses what PostgreSQL cannot hold, and tells it from what is merely different', async () => {
  const { server } = postgres
  const url = await makeDatabase(
    server,
    "CREATE TABLE t (id int PRIMARY KEY, value text, short varchar(3), number int); INSERT INTO t VALUES (1, 'x', 'abc', 1)",
  )
  const store = await openStore(url)
  const set = recordSet(['value', 'short', 'number'])
  const swap = async (expected: object, change: object) =>
    await store.swap(set, [{ id: [1n], expected: { ...expected }, change: { ...change } }], accept)
  for (const odd of ['nul \0 byte', 'half \ud83d', Buffer.from('x'), 1n]) {
    expect(await swap({ value: odd }, { number: 2n })).toEqual(['lost'])
  }
  expect(await swap({ number: 2n ** 80n }, { number: 2n })).toEqual(['lost'])
  expect(await swap({ number: 2n ** 40n }, { number: 2n })).toEqual(['lost'])
  for (const change of [
    { value: 'nul \0 byte' },
    { value: 'half \ud83d' },
    { value: Buffer.from('x') },
    { short: 'abcd' },
    { number: 2n ** 40n },
  ]) {
    const refusal = await refusalOf(swap({}, change))
    expect([refusal.code, refusal.message.includes('abcd')]).toEqual(['STORE_SHAPE', false])
  }
  expect(await store.swap(set, [{ id: ['one'], expected: {}, change: { value: 'y' } }], accept)).toEqual([
    'gone',
  ])
  expect((await readAll(store, set))[0]?.cells).toEqual({ value: 'x', short: 'abc', number: 1n })
})

it('makes the swaps of one record one after the other', async () => {
  const { server } = postgres
  const url = await makeDatabase(
    server,
    "CREATE TABLE t (id int PRIMARY KEY, value text); INSERT INTO t VALUES (1, 'a')",
  )
  const store = await openStore(url)
  const step = (from: string, to: string) => ({ id: [1n], expected: { value: from }, change: { value: to } })
  expect(await store.swap(recordSet(), [step('a', 'b'), step('a', 'c')], accept)).toEqual(['changed', 'lost'])
})

it('keeps a scan of 100,000 records flat in memory and brings large values in short pages', async () => {
  const { server } = postgres
  const url = await makeDatabase(
    server,
    "CREATE TABLE t (id uuid PRIMARY KEY, value text); INSERT INTO t SELECT md5(n::text)::uuid, repeat('x', 300) FROM generate_series(1, 100000) n",
  )
  const small = startOther('scan', url)
  const { records, peak } = (await small.next()) as { records: number; peak: number }
  await small.end()
  expect(records).toBe(100_000)
  expect(peak).toBeLessThan(220_000)
  await server.sql(
    url,
    "TRUNCATE t; INSERT INTO t SELECT md5(n::text)::uuid, repeat('x', 3000000) FROM generate_series(1, 120) n",
  )
  const large = startOther('scan', url)
  expect(await large.next()).toMatchObject({ records: 120 })
  await large.end()
})
