import { Client, types as pgTypes } from 'pg'
import type { Cell, Cells, RecordId } from '../../../src/stores/store.ts'
import { openPostgresStore } from '../../../src/stores/postgres/postgres-store.ts'
import {
  type Application,
  describeStoreContract,
  type StoreUnderTest,
  type TableSpec,
} from '../store-contract.ts'
import { startOther, usePostgres } from './fixture.ts'

type Variant = {
  readonly types: Readonly<Record<TableSpec['columns'][string], string>>
  readonly options: string
}

const types = { text: 'text', bytes: 'bytea', integer: 'bigint' }
const variants: Readonly<Record<string, Variant>> = {
  'a PostgreSQL store': { types, options: '' },
  'a PostgreSQL store with an order of its own and domains': {
    types: { text: 'domain_of_text COLLATE "en-x-icu"', bytes: 'bytea', integer: 'numeric_free' },
    options: '',
  },
  'a PostgreSQL store in partitions': { types, options: 'PARTITION BY HASH' },
}

const postgres = usePostgres()

async function onDatabase<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({
    connectionString: url,
    types: {
      // The application reads 64-bit integers exactly.
      getTypeParser: ((oid: Parameters<typeof pgTypes.getTypeParser>[0], format: 'text') =>
        oid === pgTypes.builtins.INT8
          ? (text: string) => BigInt(text)
          : pgTypes.getTypeParser(oid, format)) as never,
    },
  })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

async function createTable(client: Client, table: TableSpec, { types, options }: Variant): Promise<void> {
  await client.query('CREATE DOMAIN domain_of_text AS text; CREATE DOMAIN numeric_free AS bigint')
  const columns = Object.entries(table.columns).map(([column, kind]) => `"${column}" ${types[kind]}`)
  const id = table.id.map((column) => `"${column}"`).join(', ')
  const isParted = options !== '' && id !== ''
  const key = id === '' ? [] : [`PRIMARY KEY (${id})`]
  const parts = isParted ? `${options} (${id})` : ''
  await client.query(`CREATE TABLE t (${[...columns, ...key].join(', ')}) ${parts}`)
  for (const part of isParted ? [0, 1, 2] : []) {
    await client.query(`CREATE TABLE t${part} PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER ${part})`)
  }
  for (const row of table.rows) await insertRow(client, row)
}

async function insertRow(client: Client, row: Cells): Promise<void> {
  const names = Object.keys(row).map((column) => `"${column}"`)
  const marks = names.map((_, index) => `$${index + 1}`)
  await client.query(
    `INSERT INTO t (${names.join(', ')}) VALUES (${marks.join(', ')})`,
    Object.values(row) as unknown[],
  )
}

function applicationOf(url: string, table: TableSpec): Application {
  const change = async (sql: string, values: readonly Cell[]): Promise<void> => {
    await onDatabase(url, async (client) => await client.query(sql, [...values]))
  }
  const where = (from: number): string =>
    table.id.map((column, index) => `"${column}" = $${from + index}`).join(' AND ')
  return {
    rows: async () =>
      await onDatabase(url, async (client) => (await client.query<Cells>('SELECT * FROM t')).rows),
    insert: async (row) => await onDatabase(url, async (client) => await insertRow(client, row)),
    update: async (id: RecordId, cells: Cells) => {
      const names = Object.keys(cells)
      const assignments = names.map((column, index) => `"${column}" = $${index + 1}`).join(', ')
      await change(`UPDATE t SET ${assignments} WHERE ${where(names.length + 1)}`, [
        ...Object.values(cells),
        ...id,
      ])
    },
    remove: async (id: RecordId) => await change(`DELETE FROM t WHERE ${where(1)}`, id),
    startWriter: async (column) => {
      const writer = startOther('write', url, column)
      await writer.next()
      const stop = async (): Promise<ReadonlyMap<string, string>> => {
        writer.child.stdin.end()
        const written = (await writer.next()) as Record<string, string>
        await writer.end()
        return new Map(Object.entries(written))
      }
      return { stop }
    },
    holdWriteLock: async () => {
      const holder = startOther('lock', url)
      await holder.next()
      return holder.end
    },
  }
}

async function setUp(table: TableSpec, variant: Variant): Promise<StoreUnderTest> {
  const url = await postgres.server.createDatabase()
  await onDatabase(url, async (client) => await createTable(client, table, variant))
  const store = await openPostgresStore({ name: 'app', url, busyMs: table.busyMs ?? 20_000 })
  return {
    store,
    set: (columns) => ({ table: 't', id: table.id, columns }),
    application: applicationOf(url, table),
    dispose: async () => await store.close(),
  }
}

for (const [name, variant] of Object.entries(variants)) {
  describeStoreContract(name, async (table) => await setUp(table, variant))
}
