import type { CatalogueTable } from '../store.ts'
import type { Database } from './database.ts'
import { findRowidAlias, quoted, readUniqueIndexes } from './schema.ts'

/**
 * Every ordinary table with its columns, all affinities among them: SQLite keeps any value in any column. Views,
 * virtual tables and what belongs to them, and SQLite's own tables are left out; generated columns too, since what
 * they show lies in another one.
 */
export function readCatalogue(database: Database): readonly CatalogueTable[] {
  return database.transaction('DEFERRED', () => {
    const tables = database.rows(
      "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )
    return tables.map(([name]) => readTable(database, String(name)))
  })
}

type Column = { readonly name: string; readonly type: string; readonly isNullable: boolean }

function readTable(database: Database, table: string): CatalogueTable {
  const rows = database.rows(
    `SELECT name, hidden, pk, type, "notnull" FROM pragma_table_xinfo(?, 'main') ORDER BY cid`,
    [table],
  )
  const columns = rows
    .filter(([, hidden]) => hidden === 0n)
    .map(
      ([name, , , type, notNull]): Column => ({
        name: String(name),
        type: String(type),
        isNullable: notNull === 0n,
      }),
    )
  const indexes = readUniqueIndexes(database, table)
  const alias = findRowidAlias(rows, indexes)
  const key = indexes.find(({ origin }) => origin === 'pk')
  const candidates = [
    ...(alias === undefined ? [] : [[alias.name]]),
    ...[...(key === undefined ? [] : [key]), ...indexes.filter((index) => index !== key)]
      .map((index) => index.columns.map(({ name }) => name))
      .filter((names) => !holdsNull(database, table, { names, columns })),
  ]
  const id = candidates[0]
  const [count] = database.rows(`SELECT count(*) FROM main.${quoted(table)}`)
  return {
    table,
    id,
    columns: columns
      .filter(({ name }) => id?.includes(name) !== true)
      .map(({ name, type }) => ({ name, type: type === '' ? 'ANY' : type })),
    records: BigInt(Number(count?.[0])),
  }
}

type Key = { readonly names: readonly string[]; readonly columns: readonly Column[] }

/** A primary key of SQLite may hold null, as a unique index may, unless the table says otherwise. */
function holdsNull(database: Database, table: string, { names, columns }: Key): boolean {
  const nullable = names.filter(
    (name) => columns.find((column) => column.name === name)?.isNullable !== false,
  )
  if (nullable.length === 0) return false
  const isNull = nullable.map((name) => `${quoted(name)} IS NULL`).join(' OR ')
  return database.rows(`SELECT 1 FROM main.${quoted(table)} WHERE ${isNull} LIMIT 1`).length > 0
}
