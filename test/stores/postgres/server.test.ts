import { appendFileSync, writeFileSync } from 'node:fs'
import { Client } from 'pg'
import { expect, it, onTestFinished } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { openPostgresStore } from '../../../src/stores/postgres/postgres-store.ts'
import { lockPostgres } from '../../../src/stores/postgres/lock.ts'
import { asRole } from '../../support/postgres.ts'
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
const table =
  "CREATE TABLE t (id int PRIMARY KEY, value text); INSERT INTO t SELECT n, 'old' FROM generate_series(1, 50) n;"
const values = async (url: string) =>
  (
    await postgres.server.sql(url, 'SELECT value, count(*)::int AS n FROM t GROUP BY value ORDER BY value')
  ).map(({ value, n }) => [value, n])

it.each([
  [
    'a server that is not there',
    () => 'postgres://u@127.0.0.1:1/app',
    'STORE_UNAVAILABLE',
    'does not accept connections',
  ],
  [
    'an address that is no URL',
    () => 'postgres://u:geheim@db.example:no-port/app',
    'STORE_UNAVAILABLE',
    'no valid URL',
  ],
  [
    'a socket that is not there',
    () => 'postgres://u@/app?host=/nowhere/at/all',
    'STORE_UNAVAILABLE',
    'has no socket',
  ],
  [
    'a host without an address',
    () => 'postgres://u:geheim@no-such-host.invalid/app',
    'STORE_UNAVAILABLE',
    'host name',
  ],
  [
    'a database that is not there',
    () => `postgres://postgres@/nothing?host=${postgres.server.socket}`,
    'STORE_SHAPE',
    'no database',
  ],
  [
    'a role that is not there',
    () => `postgres://nobody:geheim@/postgres?host=${postgres.server.socket}`,
    'STORE_UNAVAILABLE',
    'let this user in',
  ],
  [
    'TLS that the server does not offer',
    () => `postgres://postgres@/postgres?host=${postgres.server.socket}&sslmode=require`,
    'STORE_UNAVAILABLE',
    'TLS',
  ],
])('says in one line what is wrong with %s, without the password', async (_, url, code, message) => {
  const refusal = await refusalOf(openPostgresStore({ name: 'app', url: url() }))
  expect([refusal.code, refusal.message]).toEqual([code, expect.stringContaining(message)])
  expect(refusal.hint?.length).toBeGreaterThan(10)
  expect(JSON.stringify([refusal.message, refusal.hint, refusal.details])).not.toContain('geheim')
})

it('refuses a wrong password in one line', async () => {
  const { server } = postgres
  const url = await makeDatabase(server, `CREATE ROLE p${process.pid} LOGIN PASSWORD 'right'`)
  await server.sql(
    url,
    "COPY (SELECT 'local all all scram-sha-256') TO PROGRAM 'cat > pg_hba.conf'; SELECT pg_reload_conf()",
  )
  try {
    const login = (password: string) => url.replace('//postgres@', `//p${process.pid}${password}@`)
    await new Promise((resolve) => setTimeout(resolve, 300))
    const refusal = await refusalOf(openPostgresStore({ name: 'app', url: login(':wr0ng') }))
    expect([refusal.code, refusal.message]).toEqual([
      'STORE_UNAVAILABLE',
      expect.stringContaining('the user or the password'),
    ])
    expect(JSON.stringify(refusal)).not.toContain('wr0ng')
    expect((await refusalOf(openPostgresStore({ name: 'app', url: login('') }))).message).toContain(
      'wants a password',
    )
    await (await openPostgresStore({ name: 'app', url: login(':right') })).close()
  } finally {
    await server.kill()
    writeFileSync(`${server.socket}/data/pg_hba.conf`, 'local all all trust\n')
    await server.start()
  }
})

it('locks a database against a second run and names the first one', async () => {
  const url = await makeDatabase(postgres.server, table)
  const other = await makeDatabase(postgres.server, table)
  const first = startOther('run', url)
  await first.next()
  const refusal = await refusalOf(lockPostgres('app', url))
  expect([refusal.code, refusal.exit]).toEqual(['LOCKED', 8])
  expect(refusal.message).toMatch(/kvx run on \S+, process \d+ \(server process \d+, since 2/)
  ;(await lockPostgres('app', other)).release()
  first.child.kill('SIGKILL')
  await first.end()
  const held = await untilFree(() => lockPostgres('app', url))
  held.requireHeld()
  // The same database under another name, in the same process.
  const again = await lockPostgres('other', `${url}&application_name=x`)
  again.release()
  await postgres.server.sql(url, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(() => held.requireHeld()).toThrow('keeps other runs away')
  const store = await openStore(url, { requireLock: () => held.requireHeld() })
  expect((await refusalOf(swapAll(store, recordSet(), 'new'))).code).toBe('STORE_UNAVAILABLE')
  expect(await values(url)).toEqual([['old', 50]])
  held.release()
})

async function untilFree<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 0; tries < 50; tries++) {
    try {
      return await work()
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  return await work()
}

it('shows itself as kvx, and commits to the disk where the role would not', async () => {
  const { server } = postgres
  const url = await makeDatabase(
    server,
    `${table} CREATE ROLE lazy${process.pid} LOGIN; GRANT ALL ON t TO lazy${process.pid}; ALTER ROLE lazy${process.pid} SET synchronous_commit = off`,
  )
  await server.sql(
    url,
    `CREATE TABLE seen (name text, commit text); GRANT ALL ON seen TO lazy${process.pid};
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO seen VALUES (current_setting('application_name'), current_setting('synchronous_commit')); RETURN NULL; END $f$;
    CREATE TRIGGER g AFTER UPDATE ON t EXECUTE FUNCTION f()`,
  )
  await swapAll(await openStore(asRole(url, `lazy${process.pid}`)), recordSet(), 'new')
  expect(await server.sql(url, 'SELECT DISTINCT * FROM seen')).toEqual([{ name: 'kvx', commit: 'on' }])
})

it('never claims what was not written when its session is ended around COMMIT', async () => {
  const { server } = postgres
  const url = await makeDatabase(server, table)
  const cut = new Client({ connectionString: url })
  await cut.connect()
  onTestFinished(async () => cut.end())
  for (let round = 1; round <= 10; round++) {
    const store = await openStore(url)
    const records = await readAll(store, recordSet())
    const change = { value: `round ${round}` }
    const swaps = records.map(({ id, cells }) => ({ id, expected: cells, change }))
    const { rows } = await cut.query<{ pid: number }>(
      "SELECT pid FROM pg_stat_activity WHERE application_name = 'kvx' AND datname = current_database()",
    )
    let ending: Promise<unknown> | undefined
    // The read-back is the last thing before COMMIT: what it starts on another session races with that.
    const told = await store
      .swap(recordSet(), swaps, () => {
        ending = cut.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid])
      })
      .then(() => 'acknowledged')
      .catch((error: unknown) => (isKvxError(error) ? error.code : String(error)))
    await ending
    await store.close()
    const counts = await values(url)
    expect(counts).toHaveLength(1)
    if (told === 'acknowledged') expect(counts).toEqual([[`round ${round}`, 50]])
    else expect(told).toBe('STORE_UNAVAILABLE')
  }
})

it.each(['its session is ended', 'the server dies'])(
  'says that the outcome is unknown when %s in the middle of COMMIT',
  async (how) => {
    const { server } = postgres
    const url = await makeDatabase(server, table)
    const store = await openStore(url)
    // COMMIT waits for a standby that there is not.
    await server.sql(url, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    await server.sql(url, 'SELECT pg_reload_conf()')
    await new Promise((resolve) => setTimeout(resolve, 300))
    const result = refusalOf(swapAll(store, recordSet(), 'new'))
    await untilWaiting(url)
    if (how === 'the server dies') await server.kill()
    else
      await server.sql(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kvx'",
      )
    const refusal = await result
    await server.kill()
    expect([refusal.code, refusal.exit, refusal.details['outcome']]).toEqual([
      'STORE_UNAVAILABLE',
      9,
      'unknown',
    ])
    expect(refusal.hint).toContain('kvx run resume')
    appendFileSync(`${server.socket}/data/postgresql.auto.conf`, "\nsynchronous_standby_names = ''\n")
    await server.start()
    expect(await values(url)).toEqual([['new', 50]])
    // The same store is of no use any more; a new one goes on from what is there.
    expect((await refusalOf(readAll(store, recordSet()))).code).toBe('STORE_UNAVAILABLE')
    expect(await swapAll(await openStore(url), recordSet(), 'newer')).toEqual(Array(50).fill('changed'))
  },
)

async function untilWaiting(url: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const rows = await postgres.server.sql(url, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    if (rows.length > 0) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('nothing waits for the standby')
}

it('loses nothing when the server is killed in the middle of swaps and started again', async () => {
  const { server } = postgres
  const url = await makeDatabase(server, table)
  const acknowledged = new Set<string>()
  const store = await openStore(url)
  const working = refusalOf(
    (async () => {
      for (let round = 0; ; round++) {
        for await (const page of store.scan(recordSet(), 5)) {
          const swaps = page.map(({ id, cells }) => ({
            id,
            expected: cells,
            change: { value: `round ${round}` },
          }))
          await store.swap(recordSet(), swaps, accept)
          for (const { id } of page) acknowledged.add(`${round} ${String(id[0])}`)
        }
      }
    })(),
  )
  while (acknowledged.size < 75) await new Promise((resolve) => setTimeout(resolve, 20))
  await server.kill()
  expect((await working).code).toBe('STORE_UNAVAILABLE')
  await server.start()
  const rows = await server.sql(url, 'SELECT id, value FROM t')
  const last = new Map<string, number>()
  for (const entry of acknowledged) {
    const [round, id] = entry.split(' ').map(Number)
    last.set(String(id), Math.max(last.get(String(id)) ?? -1, round ?? -1))
  }
  expect(last.size).toBe(50)
  for (const { id, value } of rows) {
    const round = Number(String(value).replace('round ', ''))
    expect(round).toBeGreaterThanOrEqual(last.get(String(id)) ?? 0)
  }
})

it('gets over a deadlock with the application', async () => {
  const { server } = postgres
  const url = await makeDatabase(server, table)
  const store = await openStore(url, { busyMs: 20_000 })
  const application = new Client({ connectionString: url })
  await application.connect()
  onTestFinished(async () => application.end())
  const records = await readAll(store, recordSet())
  const swaps = records.map(({ id, cells }) => ({ id, expected: cells, change: { value: 'new' } }))
  await application.query('BEGIN')
  await application.query("SET deadlock_timeout = '60s'")
  await application.query("UPDATE t SET value = 'theirs' WHERE id = 50")
  const swapping = store.swap(recordSet(), swaps, accept)
  await new Promise((resolve) => setTimeout(resolve, 200))
  // kvx holds record 1 and waits for 50; this one waits for 1. kvx looks for a deadlock first, and is ended.
  await application.query("UPDATE t SET value = 'theirs' WHERE id = 1")
  await application.query('COMMIT')
  const outcomes = await swapping
  expect(outcomes.filter((outcome) => outcome === 'lost')).toHaveLength(2)
  expect(await values(url)).toEqual([
    ['new', 48],
    ['theirs', 2],
  ])
  const [row] = await server.sql(
    url,
    'SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()',
  )
  expect(row).toEqual({ deadlocks: 1 })
})

it('answers LOCKED when statements take longer than they may, and writes nothing', async () => {
  const { server } = postgres
  const url = await makeDatabase(
    server,
    `${table} CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END $f$;
     CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()`,
  )
  const store = await openStore(url, { statementMs: 200 })
  const refusal = await refusalOf(swapAll(store, recordSet(), 'new'))
  expect([refusal.code, refusal.exit]).toEqual(['LOCKED', 8])
  expect(refusal.hint).toContain('statement-timeout')
  expect(await values(url)).toEqual([['old', 50]])
})
