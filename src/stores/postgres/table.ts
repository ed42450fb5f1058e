import { shapeError, shown } from '../server-errors.ts'
import { noSuchTable, requireColumns } from '../server-refusals.ts'
import type { RecordSet } from '../store.ts'
import type { Connection } from './connection.ts'
import { type Column, kindOf, quoted } from './columns.ts'
import { readings, type TableName } from './table-name.ts'
import { readProof } from './unique-index.ts'

/** A column of the order in which records are read, with the expression that orders it. */
export type OrderColumn = { readonly column: Column; readonly bytewise: boolean }

export type Table = {
  readonly oid: string
  readonly schema: string
  readonly name: string
  /** Quoted, with its schema. */
  readonly sql: string
  /** All columns in the order of the table. */
  readonly columns: ReadonlyMap<string, Column>
  /** Names for people of what else writes: triggers that are not the server's own. */
  readonly triggers: readonly string[]
  readonly isPartitioned: boolean
  /** Its rows do not survive a crash of the server. */
  readonly isUnlogged: boolean
  /** A total order over the records. */
  readonly order: readonly OrderColumn[]
  /** A unique index over (some of) the id columns exists, so only NULL could make an id ambiguous. */
  readonly proven: boolean
  /** An index of text may be in an order that this server's libraries do not have any more. */
  readonly staleCollation: boolean
}

/** The column of that name; it was looked for before. */
export function columnOf(table: Table, name: string): Column {
  const column = table.columns.get(name)
  if (column === undefined) throw new TypeError('the column was looked for when the table was read')
  return column
}

/**
 * Looks the table up and checks that it is an ordinary or a partitioned one with all columns of the record set.
 * @throws STORE_SHAPE
 */
export async function readTable(
  connection: Connection,
  set: RecordSet,
  schema: string | undefined,
): Promise<Table> {
  const found = await findTable(connection, set.table, schema)
  const columns = await readColumns(connection, found.oid)
  requireUsableColumns(connection, set, columns)
  const ids = set.id.map((name) => columns.get(name)).filter((column) => column !== undefined)
  const proof = found.hasChildren ? undefined : await readProof(connection, found.oid, ids)
  const triggers = await connection.rows(
    'SELECT tgname FROM pg_catalog.pg_trigger WHERE tgrelid = $1::oid AND NOT tgisinternal ORDER BY tgname',
    [found.oid],
  )
  return {
    ...found,
    sql: `${quoted(found.schema)}.${quoted(found.name)}`,
    columns,
    triggers: triggers.map(([trigger]) => String(trigger)),
    order: proof?.order ?? ids.map((column) => ({ column, bytewise: column.kind === 'text' })),
    proven: proof !== undefined,
    staleCollation: proof?.staleCollation === true,
  }
}

type Found = Pick<Table, 'oid' | 'schema' | 'name' | 'isPartitioned' | 'isUnlogged'> & {
  readonly hasChildren: boolean
}

const kindNames: Readonly<Record<string, string>> = {
  v: 'a view',
  m: 'a materialized view',
  f: 'a foreign table',
}

async function findTable(
  connection: Connection,
  written: string,
  schema: string | undefined,
): Promise<Found> {
  for (const reading of readings(written)) {
    const [row] = await lookUp(connection, { ...reading, schema: reading.schema ?? schema })
    if (row === undefined) continue
    const [oid, namespace, name, kind, persistence, children] = row.map(String)
    if (kind !== 'r' && kind !== 'p') {
      const what = kindNames[kind ?? ''] ?? 'no table'
      throw shapeError(connection.target, `${shown(written)} is ${what}: declare the table below it`)
    }
    return {
      oid: oid ?? '',
      schema: namespace ?? '',
      name: name ?? '',
      isPartitioned: kind === 'p',
      isUnlogged: persistence === 'u',
      hasChildren: kind === 'r' && children === 't',
    }
  }
  throw await missingTable(connection, written)
}

async function lookUp(connection: Connection, { schema, name }: TableName) {
  const where = schema === undefined ? 'pg_catalog.pg_table_is_visible(c.oid)' : 'n.nspname = $2 COLLATE "C"'
  return await connection.rows(
    `SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence,
        EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relname = $1 COLLATE "C" AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND ${where}`,
    schema === undefined ? [name] : [name, schema],
  )
}

async function missingTable(connection: Connection, written: string) {
  const tables = await connection.rows(
    `SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') LIMIT 10000`,
  )
  const look = "list the tables with `psql -c '\\dt *.*'`; one outside of search_path is written schema.table"
  return noSuchTable(connection.target, written, { tables: tables.map(([table]) => String(table)), look })
}

/** Columns with the type below their domains. */
async function readColumns(connection: Connection, oid: string): Promise<ReadonlyMap<string, Column>> {
  const rows = await connection.rows(
    `WITH RECURSIVE base AS (
        SELECT a.attnum, a.attname, a.attgenerated, a.attnotnull, a.atttypid AS type, a.atttypmod AS length
          FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT b.attnum, b.attname, b.attgenerated, b.attnotnull OR t.typnotnull, t.typbasetype,
          CASE WHEN t.typtypmod < 0 THEN b.length ELSE t.typtypmod END
          FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype = 'd')
      SELECT b.attname, n.nspname, t.typname, b.attgenerated <> '', b.attnotnull, b.length
        FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type AND t.typtype <> 'd'
        JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace ORDER BY b.attnum`,
    [oid],
  )
  return new Map(
    rows.map((row) => {
      const [name = '', schema = '', type = '', generated, notNull, length = '-1'] = row.map(String)
      const isOwn = schema === 'pg_catalog' || type === 'citext'
      const column: Column = {
        name,
        kind: isOwn ? kindOf(type) : 'other',
        type: `${quoted(schema)}.${quoted(type)}`,
        shown: type,
        // The length stands there with the 4 bytes of its header.
        most: /^(varchar|bpchar)$/.test(type) && Number(length) >= 4 ? Number(length) - 4 : undefined,
        generated: generated === 't',
        notNull: notNull === 't',
      }
      return [name, column] as const
    }),
  )
}

function requireUsableColumns(
  connection: Connection,
  set: RecordSet,
  columns: ReadonlyMap<string, Column>,
): void {
  const { target } = connection
  const look = `look at the table with \`psql -c '\\d ${set.table.replaceAll(/['`\\\n\r]/g, '?')}'\``
  requireColumns(target, set, columns, look)
  const unordered = set.id.find((name) => columns.get(name)?.kind === 'json')
  if (unordered === undefined) return
  throw shapeError(target, `column ${shown(unordered)} is of type json, which has no order: it can be no id`)
}
