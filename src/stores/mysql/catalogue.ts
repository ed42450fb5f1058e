import type { CatalogueTable } from '../store.ts'
import { quoted } from './columns.ts'
import type { Connection } from './connection.ts'

/** The tables of the database that this user may see. Reads no value. */
export async function readCatalogue(connection: Connection): Promise<readonly CatalogueTable[]> {
  const rows = await connection.rows(
    `SELECT t.TABLE_NAME, coalesce(t.TABLE_ROWS, 0), c.COLUMN_NAME, c.COLUMN_TYPE
      FROM information_schema.TABLES t JOIN information_schema.COLUMNS c
        ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME
      WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE = 'BASE TABLE' AND upper(c.EXTRA) NOT LIKE '% GENERATED'
      ORDER BY t.TABLE_NAME, c.ORDINAL_POSITION`,
  )
  const ids = await readIds(connection)
  return [...Map.groupBy(rows, ([table]) => String(table))].map(([table, columns]) => {
    const id = ids.get(table)
    const records = BigInt(String(columns[0]?.[1] ?? 0))
    return {
      table: /^[^`.]+$/.test(table) ? table : quoted(table),
      id,
      columns: columns
        .map(([, , name, type]) => ({ name: String(name), type: String(type) }))
        .filter(({ name }) => id?.includes(name) !== true),
      // An estimate, and for small tables none at all.
      records: records < 1000n ? undefined : records,
    }
  })
}

/** For each table the columns of its primary key, else of its shortest unique index over whole columns never null. */
async function readIds(connection: Connection): Promise<ReadonlyMap<string, readonly string[]>> {
  const rows = await connection.rows(
    `SELECT TABLE_NAME, INDEX_NAME, coalesce(COLUMN_NAME, ''), SUB_PART IS NULL AND NULLABLE <> 'YES'
      FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND NON_UNIQUE = 0
      ORDER BY TABLE_NAME, INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX`,
  )
  const found = new Map<string, readonly string[]>()
  for (const keys of Map.groupBy(rows, ([table, index]) => JSON.stringify([table, index])).values()) {
    const table = String(keys[0]?.[0])
    const isWhole = keys.every(([, , column, whole]) => whole === '1' && column !== '')
    const known = found.get(table)
    const isBetter = known === undefined || (keys[0]?.[1] !== 'PRIMARY' && keys.length < known.length)
    const isPrimary = rows.some(([name, index]) => name === table && index === 'PRIMARY')
    if (!isWhole || (known !== undefined && (isPrimary || !isBetter))) continue
    found.set(
      table,
      keys.map(([, , column]) => String(column)),
    )
  }
  return found
}
