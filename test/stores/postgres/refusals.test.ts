import { expect, it } from 'vitest'
import { asRole } from '../../support/postgres.ts'
import { makeDatabase, openStore, readAll, recordSet, refusalOf, swapAll, usePostgres } from './fixture.ts'

const postgres = usePostgres()
const accept = (): void => {}
const table =
  "CREATE TABLE t (id int PRIMARY KEY, value text, other text); INSERT INTO t SELECT n, 'old', 'o' FROM generate_series(1, 5) n;"

let roles = 0
async function makeRole(url: string, grants: (role: string) => string): Promise<string> {
  const role = `role${process.pid}_${++roles}`
  await postgres.server.sql(url, `CREATE ROLE ${role} LOGIN; ${grants(role)}`)
  return asRole(url, role)
}

it('refuses a table whose records row level security hides, in every way that it can', async () => {
  const { server } = postgres
  const url = await makeDatabase(
    server,
    `${table} ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY low ON t USING (id < 3)`,
  )
  const hidden = await makeRole(url, (role) => `GRANT ALL ON t TO ${role}`)
  const store = await openStore(hidden)
  const refusal = await refusalOf(store.inspect(recordSet()))
  expect([refusal.code, refusal.exit]).toEqual(['STORE_SHAPE', 2])
  expect(refusal.message).toContain('row level security')
  expect(refusal.hint).toContain('BYPASSRLS')
  expect((await refusalOf(readAll(store, recordSet()))).code).toBe('STORE_SHAPE')
  expect((await refusalOf(store.fetch(recordSet(), [[1n]]))).code).toBe('STORE_SHAPE')
  const swap = { id: [1n], expected: {}, change: { value: 'new' } }
  expect((await refusalOf(store.swap(recordSet(), [swap], accept))).code).toBe('STORE_SHAPE')
  // The owner sees all of it, and so does who bypasses it.
  expect((await (await openStore(url)).inspect(recordSet())).records).toBe(5n)
  const free = await makeRole(url, (role) => `GRANT ALL ON t TO ${role}; ALTER ROLE ${role} BYPASSRLS`)
  expect((await (await openStore(free)).inspect(recordSet())).records).toBe(5n)
  const owner = await makeRole(
    url,
    (role) => `ALTER TABLE t OWNER TO ${role}; GRANT USAGE ON SCHEMA public TO ${role}`,
  )
  expect((await (await openStore(owner)).inspect(recordSet())).records).toBe(5n)
  await server.sql(url, 'ALTER TABLE t FORCE ROW LEVEL SECURITY')
  expect((await refusalOf((await openStore(owner)).inspect(recordSet()))).message).toContain(
    'row level security',
  )
})

it('refuses a role that can only read before a run, and lets it look', async () => {
  const { server } = postgres
  const url = await makeDatabase(server, table)
  const reader = await makeRole(url, (role) => `GRANT SELECT ON t TO ${role}`)
  const refusal = await refusalOf((await openStore(reader, { forWriting: true })).inspect(recordSet()))
  expect([refusal.code, refusal.message.includes('not write')]).toEqual(['STORE_SHAPE', true])
  expect(refusal.hint).toMatch(/GRANT SELECT, INSERT, UPDATE ON "public"."t" TO "role/)
  const store = await openStore(reader)
  const facts = await store.inspect(recordSet())
  expect(facts.warnings.map(({ code }) => code)).toContain('READ_ONLY')
  expect((await refusalOf(swapAll(store, recordSet(), 'new'))).hint).toContain('GRANT')
  expect((await readAll(store, recordSet())).map(({ cells }) => cells['value'])).toEqual(Array(5).fill('old'))
  const blind = await makeRole(url, (role) => `GRANT SELECT (id), UPDATE ON t TO ${role}`)
  expect((await refusalOf((await openStore(blind)).inspect(recordSet()))).message).toContain(
    'cannot read "value"',
  )
  const column = await makeRole(
    url,
    (role) => `GRANT SELECT ON t TO ${role}; GRANT UPDATE (value) ON t TO ${role}`,
  )
  const narrow = await openStore(column, { forWriting: true })
  await narrow.inspect(recordSet(['value', 'other']))
  expect(await swapAll(narrow, recordSet(), 'new')).toEqual(Array(5).fill('changed'))
})

it('refuses a server that only reads', async () => {
  const { server } = postgres
  const url = await makeDatabase(server, table)
  const still = await makeRole(
    url,
    (role) => `GRANT ALL ON t TO ${role}; ALTER ROLE ${role} SET default_transaction_read_only = on`,
  )
  const refusal = await refusalOf((await openStore(still, { forWriting: true })).inspect(recordSet()))
  expect([refusal.code, refusal.exit]).toEqual(['STORE_UNAVAILABLE', 9])
})

it.each([
  ['a view', 'CREATE VIEW t AS SELECT 1 AS id, 2 AS value', 'is a view'],
  ['a materialized view', 'CREATE MATERIALIZED VIEW t AS SELECT 1 AS id, 2 AS value', 'materialized'],
  ['an id without an order', 'CREATE TABLE t (id json, value text)', 'no order'],
  [
    'an id that is null',
    'CREATE TABLE t (id int, value text); INSERT INTO t VALUES (NULL, 1)',
    'is null in 1 record',
  ],
  [
    'an id twice',
    'CREATE TABLE t (id int, value text); INSERT INTO t VALUES (1, 1), (1, 2)',
    'not unique in 2 records',
  ],
  [
    'an id twice in a child',
    'CREATE TABLE t (id int PRIMARY KEY, value text); CREATE TABLE c () INHERITS (t); INSERT INTO t VALUES (1, 1); INSERT INTO c VALUES (1, 2)',
    'not unique',
  ],
  [
    'a rule',
    'CREATE TABLE t (id int PRIMARY KEY, value text); CREATE RULE r AS ON UPDATE TO t DO INSTEAD NOTHING',
    'has rules',
  ],
  ['a column that is missing', 'CREATE TABLE t (id int PRIMARY KEY, valeu text)', 'no column "value"'],
])('refuses %s', async (_, sql, message) => {
  const store = await openStore(await makeDatabase(postgres.server, sql))
  const refusal = await refusalOf(store.inspect(recordSet()))
  expect(refusal.code).toBe('STORE_SHAPE')
  expect(refusal.message).toContain(message)
})

it('warns of what else writes, of what is not indexed and of what a crash undoes', async () => {
  const url = await makeDatabase(
    postgres.server,
    `CREATE UNLOGGED TABLE t (id int, value text, twice text GENERATED ALWAYS AS (value || value) STORED);
     CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
     CREATE TRIGGER "Other Hand" BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()`,
  )
  const store = await openStore(url)
  const { warnings } = await store.inspect(recordSet(['value', 'twice']))
  expect(warnings.map(({ code }) => code)).toEqual([
    'TRIGGER',
    'GENERATED_COLUMN',
    'ID_NOT_INDEXED',
    'UNLOGGED',
    'FSYNC_OFF',
  ])
  expect(warnings[0]?.message).toContain('"Other Hand"')
})

const trigger = (body: string, when = 'BEFORE') =>
  `${table} CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN ${body} END $f$;
   CREATE TRIGGER g ${when} UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()`

it.each([
  ['changes the value', trigger("NEW.value := 'sealed again'; RETURN NEW;"), 'READ_BACK_FAILED'],
  ['keeps the value', trigger('NEW.value := OLD.value; RETURN NEW;'), 'READ_BACK_FAILED'],
  ['suppresses the write', trigger('RETURN NULL;'), 'READ_BACK_FAILED'],
  [
    'raises an error with the value in it',
    trigger("RAISE EXCEPTION 'secret % here', NEW.value;"),
    'STORE_SHAPE',
  ],
  [
    'writes afterwards',
    trigger(
      "IF NEW.value <> 'again' THEN UPDATE t SET value = 'again' WHERE id = NEW.id; END IF; RETURN NULL;",
      'AFTER',
    ),
    'READ_BACK_FAILED',
  ],
  ['switches durability off', trigger('SET LOCAL synchronous_commit = off; RETURN NEW;'), 'DURABILITY_OFF'],
  [
    'writes when the transaction ends',
    `${table} CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN IF NEW.value <> 'again' THEN UPDATE t SET value = 'again' WHERE id = NEW.id; END IF; RETURN NULL; END $f$;
     CREATE CONSTRAINT TRIGGER g AFTER UPDATE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f()`,
    'READ_BACK_FAILED',
  ],
])('keeps nothing of a batch when a trigger %s', async (_, sql, code) => {
  const store = await openStore(await makeDatabase(postgres.server, sql))
  const seen: unknown[] = []
  const swaps = (await readAll(store, recordSet())).map(({ id, cells }) => ({
    id,
    expected: cells,
    change: { value: 'new value' },
  }))
  const refusal = await refusalOf(store.swap(recordSet(), swaps, (records) => seen.push(...records)))
  expect(refusal.code).toBe(code)
  expect(JSON.stringify([refusal.message, refusal.hint, refusal.details])).not.toContain('new value')
  expect((await readAll(store, recordSet())).map(({ cells }) => cells['value'])).toEqual(Array(5).fill('old'))
})

it('names the constraint that refuses a write, and not the value', async () => {
  const store = await openStore(
    await makeDatabase(
      postgres.server,
      "CREATE TABLE t (id int PRIMARY KEY, value text CONSTRAINT short_enough CHECK (length(value) < 5)); INSERT INTO t VALUES (1, 'old')",
    ),
  )
  const refusal = await refusalOf(swapAll(store, recordSet(), 'secret value'))
  expect(refusal.code).toBe('STORE_SHAPE')
  expect(refusal.message).toContain('"short_enough"')
  expect(refusal.message).not.toContain('secret value')
})

it('does not bring a record back over another one that holds its unique value', async () => {
  const url = await makeDatabase(
    postgres.server,
    "CREATE TABLE t (id int PRIMARY KEY, value text UNIQUE); INSERT INTO t VALUES (1, 'x')",
  )
  const store = await openStore(url)
  const records = await store.fetch(recordSet(), [[1n]])
  await postgres.server.sql(url, 'UPDATE t SET id = 2')
  expect((await refusalOf(store.insertMissing(recordSet(), records))).message).toContain('must be unique')
  expect((await store.inspect(recordSet())).records).toBe(1n)
})
