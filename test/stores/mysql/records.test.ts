import { expect, it } from 'vitest'
import {
  makeDatabase,
  openStore,
  readAll,
  recordSet,
  refusalOf,
  startOther,
  swapAll,
  useMariadb,
} from './fixture.ts'

const mariadb = useMariadb()
const accept = (): void => {}

const idTypes = [
  ['bigint', ['-9223372036854775808', '-1', '0', '9223372036854775807']],
  ['bigint unsigned', ['0', '9007199254740993', '18446744073709551615']],
  ['varchar(20) COLLATE utf8mb4_general_ci', ['', 'a', 'B', 'ß', 'z', "it's", 'a\\b', 'NULL']],
  ['varchar(20) CHARACTER SET latin1', ['a', 'é', 'z']],
  ['char(5) COLLATE utf8mb4_bin', ['a', 'A', 'abc', '🔑']],
  ['varbinary(4)', ['', '\0', '\0a', 'a']],
  ['decimal(25,3)', ['-1.500', '0.000', '1234567890123456789012.001', '1234567890123456789012.002']],
  ['datetime(6)', ['2026-01-01 00:00:00.000001', '2026-01-01 00:00:00.000002']],
  ['date', ['0001-01-01', '2026-01-01']],
  ['uuid', ['00000000-0000-0000-0000-000000000001', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']],
] as const

it.each(idTypes)('scans, fetches and swaps by an id of type %s', async (type, ids) => {
  const { server } = mariadb
  const url = await makeDatabase(server, `CREATE TABLE t (id ${type} PRIMARY KEY, value text)`)
  for (const [index, id] of ids.entries())
    await server.sql(url, 'INSERT INTO t VALUES (?, ?)', [id, `of ${index}`])
  const store = await openStore(url)
  const set = recordSet()
  expect((await store.inspect(set)).records).toBe(BigInt(ids.length))
  for (const pageSize of [1, 2, 100]) {
    const found = await readAll(store, set, pageSize)
    const texts = found.map(({ cells }) => String(cells['value']))
    expect(texts.sort()).toEqual(ids.map((_, index) => `of ${index}`))
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

it('keeps the order of an id of two columns', async () => {
  const { server } = mariadb
  const url = await makeDatabase(
    server,
    `CREATE TABLE t (tenant varchar(9) COLLATE utf8mb4_general_ci, id int, value text, PRIMARY KEY (tenant, id));
     INSERT INTO t SELECT elt(1 + seq MOD 3, 'a', 'B', 'c'), seq, seq FROM seq_1_to_90`,
  )
  const store = await openStore(url)
  for (const pageSize of [1, 7, 30, 90, 91]) {
    const found = await readAll(store, recordSet(['value'], ['tenant', 'id']), pageSize)
    expect(new Set(found.map(({ cells }) => cells['value'])).size).toBe(90)
  }
})

it('brings a record of any types back exactly, with its generated number', async () => {
  const { server } = mariadb
  const url = await makeDatabase(
    server,
    `CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, value blob, v varchar(9), c char(6) CHARACTER SET latin1, j json, n decimal(20,4),
      f float, r double, b bit(10), flag tinyint(1), d date, ts timestamp(3) NULL, dt datetime, tm time(2), y year, e enum('low', 'high'),
      s set('a', 'b', 'c'), u uuid, ip inet6, g point, big bigint unsigned, nothing text, twice int AS (flag * 2) STORED);
     INSERT INTO t (id, value, v, c, j, n, f, r, b, flag, d, ts, dt, tm, y, e, s, u, ip, g, big) VALUES
      (0 + 5, x'00ff01', 'é 🔑', 'é', '{ "b":1,  "a": 1.00 }', 1.5, 0.1, 0.1, b'1000000001', 1, '2026-02-28', '2026-01-01 01:02:03.5',
       '2026-01-01 01:02:03', '-25:00:00.5', 2026, 'high', 'a,c', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '::1', POINT(1.5, 2), 18446744073709551615)`,
  )
  const digest =
    'SELECT id, hex(value) h, v, hex(c) c, j, n, hex(f) f, f + 0e0 ff, r, hex(b) b, flag, d, ts, dt, tm, y, e, s, u, ip, hex(g) g, big, nothing, twice FROM t'
  const before = await server.sql(url, digest)
  const store = await openStore(url)
  const set = recordSet(['value', 'j'])
  const records = await store.fetch(set, [[5n]])
  expect(records[0]?.cells).toMatchObject({
    id: 5n,
    b: 513n,
    j: '{ "b":1,  "a": 1.00 }',
    big: 2n ** 64n - 1n,
    nothing: null,
  })
  expect(records[0]?.cells).not.toHaveProperty('twice')
  await server.sql(url, 'DELETE FROM t')
  expect(await store.insertMissing(set, records)).toEqual(['inserted'])
  expect(await server.sql(url, digest)).toEqual(before)
  expect(await store.insertMissing(set, records)).toEqual(['present'])
  const every = recordSet(Object.keys(records[0]?.cells ?? {}).filter((name) => name !== 'id'))
  const [record] = await readAll(store, every)
  const change = { value: Buffer.from('new value') }
  expect(await store.swap(every, [{ id: [5n], expected: record?.cells ?? {}, change }], accept)).toEqual([
    'changed',
  ])
})

it('compares text byte by byte, whatever collation and padding call equal', async () => {
  const { server } = mariadb
  const url = await makeDatabase(
    server,
    `CREATE TABLE t (id varchar(9) COLLATE utf8mb4_general_ci PRIMARY KEY, value varchar(9) COLLATE utf8mb4_general_ci, n decimal(5,2));
     INSERT INTO t VALUES ('Key', 'Value', 1)`,
  )
  const store = await openStore(url)
  const set = recordSet(['value', 'n'])
  const swap = async (id: string, expected: object) =>
    await store.swap(set, [{ id: [id], expected: { ...expected }, change: { value: 'new' } }], accept)
  for (const id of ['KEY', 'Key ', 'kéy']) expect(await swap(id, {})).toEqual(['gone'])
  for (const value of ['VALUE', 'Value ', 'Válue']) expect(await swap('Key', { value })).toEqual(['lost'])
  expect(await swap('Key', { n: '1' })).toEqual(['lost'])
  expect(await swap('Key', { value: 'Value', n: '1.00' })).toEqual(['changed'])
})

it('finds tables and columns of odd names, in other databases too', async () => {
  const { server } = mariadb
  const other = await server.createDatabase()
  const name = new URL(other).pathname.slice(1)
  await server.sql(
    other,
    "CREATE TABLE t (id int PRIMARY KEY, value text);\n INSERT INTO t VALUES (1, 'other')",
  )
  const url = await makeDatabase(
    server,
    "CREATE TABLE `a.b ``c``` (`the ``id``; --` int PRIMARY KEY, `Wert é` text);\n INSERT INTO `a.b ``c``` VALUES (1, 'x')",
  )
  const store = await openStore(url)
  const valueIn = async (table: string, column: string, id: string) =>
    (await readAll(store, recordSet([column], [id], table)))[0]?.cells[column]
  expect(await valueIn('`a.b ``c```', 'Wert é', 'the `id`; --')).toBe('x')
  expect(await valueIn(`${name}.t`, 'value', 'id')).toBe('other')
  const [table] = (await store.catalogue?.()) ?? []
  expect(table).toMatchObject({
    table: '`a.b ``c```',
    id: ['the `id`; --'],
    columns: [{ name: 'Wert é', type: 'text' }],
  })
})

it('refuses what does not fit instead of cutting it', async () => {
  const { server } = mariadb
  const url = await makeDatabase(
    server,
    "CREATE TABLE t (id int PRIMARY KEY, value varchar(3), plain varchar(9) CHARACTER SET latin1, number tinyint);\n INSERT INTO t VALUES (1, 'x', 'x', 1)",
  )
  await server.sql(url, "SET GLOBAL sql_mode = ''")
  const store = await openStore(url)
  const set = recordSet(['value', 'plain', 'number'])
  const swap = async (expected: object, change: object) =>
    await store.swap(set, [{ id: [1n], expected: { ...expected }, change: { ...change } }], accept)
  for (const change of [
    { value: 'secret' },
    { plain: '日本' },
    { number: 1000n },
    { value: Buffer.from('x') },
    { value: 'a\ud83d' },
  ]) {
    const refusal = await refusalOf(swap({}, change))
    expect([refusal.code, refusal.message.includes('secret')]).toEqual(['STORE_SHAPE', false])
  }
  for (const expected of [
    { value: Buffer.from('x') },
    { number: '1' },
    { number: 2n ** 70n },
    { value: 'half \ud83d' },
  ]) {
    expect(await swap(expected, { value: 'y' })).toEqual(['lost'])
  }
  expect((await readAll(store, set))[0]?.cells).toEqual({ value: 'x', plain: 'x', number: 1n })
  await server.sql(url, 'SET GLOBAL sql_mode = DEFAULT')
})

it('keeps a scan of 100,000 records flat in memory', async () => {
  const url = await makeDatabase(
    mariadb.server,
    "CREATE TABLE t (id char(32) PRIMARY KEY, value text);\n INSERT INTO t SELECT md5(seq), repeat('x', 300) FROM seq_1_to_100000",
  )
  const program = startOther('scan', url)
  const { records, peak } = (await program.next()) as { records: number; peak: number }
  await program.end()
  expect(records).toBe(100_000)
  expect(peak).toBeLessThan(220_000)
})
