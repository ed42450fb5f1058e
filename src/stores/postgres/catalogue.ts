import type { CatalogueTable } from '../store.ts'
import type { Connection } from './connection.ts'
import { writtenName } from './table-name.ts'

/** The application's tables that this role may read, partitions and the server's own left out. Reads no value. */
export async function readCatalogue(connection: Connection): Promise<readonly CatalogueTable[]> {
  const rows = await connection.rows(
    `SELECT c.oid, n.nspname, c.relname, pg_catalog.pg_table_is_visible(c.oid), c.reltuples::bigint,
          a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_attribute a
          ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
          AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'
          AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
          AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
        ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", a.attnum`,
  )
  const ids = await readIds(connection)
  return [...Map.groupBy(rows, ([oid]) => String(oid))].map(([oid, columns]) => {
    const [, schema, name, visible, records] = columns[0] ?? []
    const id = ids.get(oid)
    return {
      table: writtenName(visible === 't' ? undefined : String(schema), String(name)),
      id,
      columns: columns.flatMap(([, , , , , column, type]) =>
        typeof column === 'string' && id?.includes(column) !== true
          ? [{ name: column, type: String(type) }]
          : [],
      ),
      // Minus one where the table was never analysed.
      records: Number(records) < 0 ? undefined : BigInt(records ?? 0),
    }
  })
}

/** For each table the columns of its primary key, else of its shortest unique index over columns never null. */
async function readIds(connection: Connection): Promise<ReadonlyMap<string, readonly string[]>> {
  const rows = await connection.rows(
    `SELECT DISTINCT ON (i.indrelid) i.indrelid,
        array_to_json(ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
          WHERE k.n <= i.indnkeyatts ORDER BY k.n))
      FROM pg_catalog.pg_index i
      WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
        AND NOT EXISTS (SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
          WHERE k.n <= i.indnkeyatts AND NOT a.attnotnull)
      ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, i.indexrelid`,
  )
  return new Map(rows.map(([table, names]) => [String(table), JSON.parse(names ?? '[]') as string[]]))
}
