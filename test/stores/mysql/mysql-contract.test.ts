import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise'
import type { Cell, Cells, RecordId } from '../../../src/stores/store.ts'
import { openMysqlStore } from '../../../src/stores/mysql/mysql-store.ts'
import {
  type Application,
  describeStoreContract,
  type StoreUnderTest,
  type TableSpec,
} from '../store-contract.ts'
import { startOther, useMariadb } from './fixture.ts'

type Variant = { readonly text: string; readonly key: string }

// Ids of the suite differ in more than their letter case, so that any collation takes them.
const variants: Readonly<Record<string, Variant>> = {
  'a MariaDB store': { text: 'longtext', key: 'varchar(100) COLLATE utf8mb4_bin' },
  'a MariaDB store with collations': {
    text: 'longtext COLLATE utf8mb4_unicode_ci',
    key: 'varchar(100) CHARACTER SET latin1 COLLATE latin1_swedish_ci',
  },
}
const types = { bytes: 'longblob', integer: 'bigint' }
const mariadb = useMariadb()

async function onDatabase<T>(url: string, work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await createConnection({
    uri: url,
    charset: 'utf8mb4',
    // The application reads 64-bit integers exactly.
    typeCast: (field, next) => {
      if (field.type !== 'LONGLONG') return next()
      const text = field.string()
      return text === null ? null : BigInt(text)
    },
  })
  try {
    return await work(connection)
  } finally {
    connection.destroy()
  }
}

async function createTable(connection: Connection, table: TableSpec, variant: Variant): Promise<void> {
  const columns = Object.entries(table.columns).map(([column, kind]) => {
    const text = column === 'id' || table.id.includes(column) ? variant.key : variant.text
    return `\`${column}\` ${kind === 'text' ? text : types[kind]}`
  })
  const key = table.id.length === 0 ? [] : [`PRIMARY KEY (${table.id.map((id) => `\`${id}\``).join(', ')})`]
  await connection.query(`CREATE TABLE t (${[...columns, ...key].join(', ')}) ENGINE = InnoDB`)
  for (const row of table.rows) await insertRow(connection, row)
}

async function insertRow(connection: Connection, row: Cells): Promise<void> {
  const names = Object.keys(row).map((column) => `\`${column}\``)
  const marks = names.map(() => '?').join(', ')
  await connection.query(`INSERT INTO t (${names.join(', ')}) VALUES (${marks})`, Object.values(row))
}

function applicationOf(url: string, table: TableSpec): Application {
  const change = async (sql: string, values: readonly Cell[]): Promise<void> => {
    await onDatabase(url, async (connection) => await connection.query(sql, [...values]))
  }
  const where = table.id.map((column) => `\`${column}\` = ?`).join(' AND ')
  return {
    rows: async () =>
      await onDatabase(url, async (connection) => {
        const [rows] = await connection.query<RowDataPacket[]>('SELECT * FROM t')
        return rows.map((row) => ({ ...row })) as Cells[]
      }),
    insert: async (row) => await onDatabase(url, async (connection) => await insertRow(connection, row)),
    update: async (id: RecordId, cells: Cells) => {
      const assignments = Object.keys(cells).map((column) => `\`${column}\` = ?`)
      await change(`UPDATE t SET ${assignments.join(', ')} WHERE ${where}`, [...Object.values(cells), ...id])
    },
    remove: async (id: RecordId) => await change(`DELETE FROM t WHERE ${where}`, id),
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
  const url = await mariadb.server.createDatabase()
  await onDatabase(url, async (connection) => await createTable(connection, table, variant))
  const store = await openMysqlStore({ name: 'app', url, busyMs: table.busyMs ?? 20_000 })
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
