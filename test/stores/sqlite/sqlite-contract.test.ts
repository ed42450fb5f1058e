import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import type { Cell, Cells, RecordId } from '../../../src/stores/store.ts'
import { openSqliteStore } from '../../../src/stores/sqlite/sqlite-store.ts'
import {
  type Application,
  describeStoreContract,
  type StoreUnderTest,
  type TableSpec,
} from '../store-contract.ts'
import { onDatabase, startOther } from './fixture.ts'

const types = { text: 'TEXT', bytes: 'BLOB', integer: 'INTEGER' }

type Variant = { readonly journal: 'DELETE' | 'WAL'; readonly options: string; readonly collation: string }

function createTable(database: DatabaseSync, table: TableSpec, variant: Variant): void {
  const columns = Object.entries(table.columns).map(
    ([column, kind]) => `"${column}" ${types[kind]} ${kind === 'text' ? `COLLATE ${variant.collation}` : ''}`,
  )
  const key =
    table.id.length === 0 ? [] : [`PRIMARY KEY (${table.id.map((column) => `"${column}"`).join(', ')})`]
  database.exec(`PRAGMA journal_mode = ${variant.journal}`)
  database.exec(
    `CREATE TABLE t (${[...columns, ...key].join(', ')}) ${key.length === 0 ? '' : variant.options}`,
  )
  for (const row of table.rows) insertRow(database, row)
}

function insertRow(database: DatabaseSync, row: Cells): void {
  const names = Object.keys(row).map((column) => `"${column}"`)
  database
    .prepare(`INSERT INTO t (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`)
    .run(...(Object.values(row) as SQLInputValue[]))
}

function applicationOf(path: string, table: TableSpec): Application {
  const where = table.id.map((column) => `"${column}" = ?`).join(' AND ')
  const change = (sql: string, values: readonly Cell[]): void => {
    onDatabase(path, (database) => database.prepare(sql).run(...values))
  }
  return {
    rows: async () =>
      onDatabase(path, (database) =>
        database
          .prepare('SELECT * FROM t')
          .all()
          .map((row) => ({ ...row })),
      ),
    insert: async (row) => onDatabase(path, (database) => insertRow(database, row)),
    update: async (id: RecordId, cells: Cells) => {
      const assignments = Object.keys(cells).map((column) => `"${column}" = ?`)
      change(`UPDATE t SET ${assignments.join(', ')} WHERE ${where}`, [...Object.values(cells), ...id])
    },
    remove: async (id: RecordId) => change(`DELETE FROM t WHERE ${where}`, id),
    startWriter: async (column) => {
      const writer = startOther('write', path, column)
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
      const holder = startOther('lock', path)
      await holder.next()
      return holder.end
    },
  }
}

async function setUp(table: TableSpec, variant: Variant): Promise<StoreUnderTest> {
  const directory = mkdtempSync(join(tmpdir(), 'kvx-contract-'))
  const path = join(directory, 'app.db')
  onDatabase(path, (database) => createTable(database, table, variant))
  const busyMs = table.busyMs ?? 20_000
  const store = await openSqliteStore({ name: 'local', path, busyMs })
  return {
    store,
    set: (columns) => ({ table: 't', id: table.id, columns }),
    application: applicationOf(path, table),
    dispose: async () => {
      await store.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

const plain: Variant = { journal: 'DELETE', options: '', collation: 'BINARY' }
const variants = {
  'a SQLite store': plain,
  'a SQLite store in WAL mode': { ...plain, journal: 'WAL' },
  'a SQLite store WITHOUT ROWID and with collations': {
    ...plain,
    options: 'WITHOUT ROWID',
    collation: 'NOCASE',
  },
} satisfies Record<string, Variant>

for (const [name, variant] of Object.entries(variants)) {
  describeStoreContract(name, async (table) => await setUp(table, variant))
}
