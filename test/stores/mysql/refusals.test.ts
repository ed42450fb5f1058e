import { expect, it } from 'vitest'
import { openMysqlStore } from '../../../src/stores/mysql/mysql-store.ts'
import { lockMysql } from '../../../src/stores/mysql/lock.ts'
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
const table =
  "CREATE TABLE t (id int PRIMARY KEY, value text);\n INSERT INTO t SELECT seq, 'old' FROM seq_1_to_50;\n"
const values = async (url: string) =>
  (await mariadb.server.sql(url, 'SELECT value, count(*) AS n FROM t GROUP BY value ORDER BY value')).map(
    ({ value, n }) => [value, n],
  )
const pause = async (ms: number) => await new Promise((resolve) => setTimeout(resolve, ms))

it.each([
  ['a view', 'CREATE VIEW t AS SELECT 1 AS id, 2 AS value', 'a view'],
  [
    'an engine without transactions',
    'CREATE TABLE t (id int PRIMARY KEY, value text) ENGINE = MyISAM',
    'has no transactions',
  ],
  [
    'a table that keeps its history',
    'CREATE TABLE t (id int PRIMARY KEY, value text) WITH SYSTEM VERSIONING',
    'keeps every old value',
  ],
  ['an id without an order', 'CREATE TABLE t (id double PRIMARY KEY, value text)', 'can be no id'],
  [
    'an id that is null',
    'CREATE TABLE t (id int, value text);\n INSERT INTO t VALUES (NULL, 1)',
    'is null in 1 record',
  ],
  [
    'an id twice',
    'CREATE TABLE t (id int, value text);\n INSERT INTO t VALUES (1, 1), (1, 2)',
    'not unique in 2 records',
  ],
  ['a column that is missing', 'CREATE TABLE t (id int PRIMARY KEY, valeu text)', 'no column "value"'],
])('refuses %s', async (_, sql, message) => {
  const refusal = await refusalOf(
    (await openStore(await makeDatabase(mariadb.server, sql))).inspect(recordSet()),
  )
  expect([refusal.code, refusal.message]).toEqual(['STORE_SHAPE', expect.stringContaining(message)])
})

it('refuses a user who can only read before a run, and lets them look', async () => {
  const { server } = mariadb
  const url = await makeDatabase(server, table)
  const database = new URL(url).pathname.slice(1)
  await server.sql(url, `CREATE USER reader@localhost;\n GRANT SELECT ON ${database}.* TO reader@localhost`)
  const reader = url.replace('root@', 'reader@')
  const refusal = await refusalOf((await openStore(reader, { forWriting: true })).inspect(recordSet()))
  expect([refusal.code, refusal.message.includes('not write')]).toEqual(['STORE_SHAPE', true])
  const store = await openStore(reader)
  expect((await store.inspect(recordSet())).warnings.map(({ code }) => code)).toEqual(['READ_ONLY'])
  expect((await refusalOf(swapAll(store, recordSet(), 'new'))).hint).toContain('GRANT')
  await server.sql(url, `GRANT UPDATE (value) ON ${database}.t TO reader@localhost`)
  const writer = await openStore(reader, { forWriting: true })
  await writer.inspect(recordSet())
  await server.sql(url, 'SET GLOBAL read_only = 1')
  const still = await refusalOf(writer.inspect(recordSet()))
  await server.sql(url, 'SET GLOBAL read_only = 0')
  expect(still.code).toBe('STORE_UNAVAILABLE')
  expect(await swapAll(writer, recordSet(), 'new')).toEqual(Array(50).fill('changed'))
})

it('warns of what else writes, of what is not indexed and of commits that a power cut undoes', async () => {
  const { server } = mariadb
  const url = await makeDatabase(
    server,
    `CREATE TABLE t (id int, value text, at timestamp DEFAULT now() ON UPDATE now(), twice int AS (id * 2) STORED);
     CREATE TRIGGER other_hand BEFORE UPDATE ON t FOR EACH ROW SET NEW.id = NEW.id;
     SET GLOBAL innodb_flush_log_at_trx_commit = 2`,
  )
  const { warnings } = await (await openStore(url)).inspect(recordSet(['value', 'twice']))
  await server.sql(url, 'SET GLOBAL innodb_flush_log_at_trx_commit = 1')
  expect(warnings.map(({ code }) => code)).toEqual([
    'TRIGGER',
    'GENERATED_COLUMN',
    'UPDATED_COLUMN',
    'ID_NOT_INDEXED',
    'COMMIT_NOT_SYNCED',
  ])
})

it.each([
  ['changes the value', "SET NEW.value = 'sealed again'", 'READ_BACK_FAILED'],
  ['keeps the value', 'SET NEW.value = OLD.value', 'READ_BACK_FAILED'],
  [
    'raises an error with the value in it',
    'SIGNAL SQLSTATE "45000" SET MESSAGE_TEXT = "new value"',
    'STORE_SHAPE',
  ],
])('keeps nothing of a batch when a trigger %s', async (_, body, code) => {
  const url = await makeDatabase(
    mariadb.server,
    `${table} CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW ${body}`,
  )
  const refusal = await refusalOf(swapAll(await openStore(url), recordSet(), 'new value'))
  expect(refusal.code).toBe(code)
  expect(JSON.stringify([refusal.message, refusal.hint, refusal.details])).not.toContain('new value')
  expect(await values(url)).toEqual([['old', 50]])
})

it.each([
  [
    'a server that is not there',
    () => 'mysql://u:geheim@127.0.0.1:1/app',
    'STORE_UNAVAILABLE',
    'does not accept connections',
  ],
  [
    'a socket that is not there',
    () => 'mysql://u:geheim@localhost/app?socketPath=/nowhere',
    'STORE_UNAVAILABLE',
    'has no socket',
  ],
  [
    'a database that is not there',
    (url: string) => url.replace(/\/app\d+\?/, '/nothing?'),
    'STORE_SHAPE',
    'no database',
  ],
  [
    'a wrong password',
    (url: string) => url.replace('root@', 'locked:geheim@'),
    'STORE_UNAVAILABLE',
    'the user or the password',
  ],
  [
    'TLS that the server does not offer',
    (url: string) => `${url}&sslmode=require`,
    'STORE_UNAVAILABLE',
    'TLS',
  ],
])('says in one line what is wrong with %s, without the password', async (_, change, code, message) => {
  const url = await makeDatabase(
    mariadb.server,
    "CREATE OR REPLACE USER locked@localhost IDENTIFIED BY 'right'",
  )
  const refusal = await refusalOf(openMysqlStore({ name: 'app', url: change(url) }))
  expect([refusal.code, refusal.message]).toEqual([code, expect.stringContaining(message)])
  expect(JSON.stringify([refusal.message, refusal.hint, refusal.details])).not.toContain('geheim')
})

it('locks a database against a second run, until the first one ends however it ends', async () => {
  const url = await makeDatabase(mariadb.server, table)
  const first = startOther('run', url)
  await first.next()
  const refusal = await refusalOf(lockMysql('app', url))
  expect([refusal.code, refusal.exit, refusal.message]).toEqual([
    'LOCKED',
    8,
    expect.stringMatching(/server thread \d+ from localhost/),
  ])
  ;(await lockMysql('app', await makeDatabase(mariadb.server, table))).release()
  first.child.kill('SIGKILL')
  await first.end()
  await pause(300)
  const held = await lockMysql('app', url)
  ;(await lockMysql('other', url)).release()
  held.requireHeld()
  const [row] = await mariadb.server.sql(
    url,
    'SELECT IS_USED_LOCK(concat("kvx.", left(sha2(database(), 256), 40))) AS id',
  )
  await mariadb.server.sql(url, `KILL ${Number(row?.['id'])}`)
  await pause(200)
  const store = await openStore(url, { requireLock: () => held.requireHeld() })
  expect((await refusalOf(swapAll(store, recordSet(), 'new'))).message).toContain('keeps other runs away')
  expect(await values(url)).toEqual([['old', 50]])
  held.release()
})

it('gets over a deadlock with the application', async () => {
  const url = await makeDatabase(mariadb.server, table)
  const store = await openStore(url, { busyMs: 20_000 })
  const { createConnection } = await import('mysql2/promise')
  const application = await createConnection({ uri: url })
  // Whoever wrote more is not the one that is ended.
  await application.query('CREATE TABLE heavy SELECT seq FROM seq_1_to_2000')
  const swaps = (await readAll(store, recordSet())).map(({ id, cells }) => ({
    id,
    expected: cells,
    change: { value: 'new' },
  }))
  await application.query('START TRANSACTION')
  await application.query('UPDATE heavy SET seq = seq + 1')
  await application.query("UPDATE t SET value = 'theirs' WHERE id = 50")
  const swapping = store.swap(recordSet(), swaps, accept)
  await pause(300)
  await application.query("UPDATE t SET value = 'theirs' WHERE id = 1")
  await application.query('COMMIT')
  application.destroy()
  expect((await swapping).filter((outcome) => outcome === 'lost')).toHaveLength(2)
  expect(await values(url)).toEqual([
    ['new', 48],
    ['theirs', 2],
  ])
})

it('loses nothing when the server is killed in the middle of swaps and started again', async () => {
  const { server } = mariadb
  const url = await makeDatabase(server, table)
  const store = await openStore(url)
  const last = new Map<number, number>()
  let acknowledged = 0
  const working = refusalOf(
    (async () => {
      for (let round = 0; ; round++) {
        for await (const page of store.scan(recordSet(), 5)) {
          const change = { value: `round ${round}` }
          await store.swap(
            recordSet(),
            page.map(({ id, cells }) => ({ id, expected: cells, change })),
            accept,
          )
          for (const { id } of page) last.set(Number(id[0]), round)
          acknowledged += page.length
        }
      }
    })(),
  )
  while (acknowledged < 75) await pause(20)
  await server.kill()
  expect((await working).code).toBe('STORE_UNAVAILABLE')
  await server.start()
  expect(last.size).toBe(50)
  for (const { id, value } of await server.sql(url, 'SELECT id, value FROM t')) {
    expect(Number(String(value).replace('round ', ''))).toBeGreaterThanOrEqual(last.get(Number(id)) ?? 0)
  }
})

it('answers LOCKED when statements take longer than they may, and writes nothing', async () => {
  const url = await makeDatabase(
    mariadb.server,
    `${table} CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW SET @x = SLEEP(1)`,
  )
  const refusal = await refusalOf(swapAll(await openStore(url, { statementMs: 200 }), recordSet(), 'new'))
  expect([refusal.code, refusal.exit]).toEqual(['LOCKED', 8])
  expect(await values(url)).toEqual([['old', 50]])
})
