import { shapeError, shown } from '../server-errors.ts'
import { noSuchTable, requireColumns } from '../server-refusals.ts'
import type { RecordSet } from '../store.ts'
import { type Column, exactText, keyOf, kindOf, quoted } from './columns.ts'
import type { Connection, Row } from './connection.ts'

/** A column of the order in which records are read: by its own order, or byte by byte. */
export type OrderColumn = { readonly column: Column; readonly sql: string; readonly parameter: string }

export type Table = {
  readonly database: string
  readonly name: string
  /** Quoted, with its database. */
  readonly sql: string
  readonly columns: ReadonlyMap<string, Column>
  readonly triggers: readonly string[]
  /** A total order over the records. */
  readonly order: readonly OrderColumn[]
  /** A unique index over (some of) the id columns exists, so only NULL could make an id ambiguous. */
  readonly proven: boolean
}

/** The column of that name; it was looked for before. */
export function columnOf(table: Table, name: string): Column {
  const column = table.columns.get(name)
  if (column === undefined) throw new TypeError('the column was looked for when the table was read')
  return column
}

/**
 * Looks the table up and checks that it is one of InnoDB with all columns of the record set.
 * @throws STORE_SHAPE
 */
export async function readTable(connection: Connection, set: RecordSet): Promise<Table> {
  const { database, name } = await findTable(connection, set.table)
  const columns = await readColumns(connection, database, name)
  requireUsableColumns(connection, set, columns)
  const ids = set.id.flatMap((id) => columns.get(id) ?? [])
  const proof = await readProof(connection, { database, name }, ids)
  const triggers = await connection.rows(
    'SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = ? AND EVENT_OBJECT_TABLE = ? ORDER BY 1',
    [database, name],
  )
  return {
    database,
    name,
    sql: `${quoted(database)}.${quoted(name)}`,
    columns,
    triggers: triggers.map(([trigger]) => String(trigger)),
    order: (proof ?? ids).map((column) => orderColumn(column, proof !== undefined)),
    proven: proof !== undefined,
  }
}

function orderColumn(column: Column, proven: boolean): OrderColumn {
  return column.kind === 'text' && !proven
    ? { column, sql: exactText(column), parameter: 'CAST(? AS BINARY)' }
    : { column, sql: quoted(column.name), parameter: column.key ?? '?' }
}

async function findTable(connection: Connection, written: string) {
  for (const { database, name } of readings(written)) {
    const [row] = await connection.rows(
      `SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, coalesce(ENGINE, '') FROM information_schema.TABLES
        WHERE TABLE_SCHEMA = coalesce(?, DATABASE()) AND BINARY TABLE_NAME = BINARY ?`,
      [database, name],
    )
    if (row === undefined) continue
    const [schema, table, type, engine] = row.map(String)
    if (type === 'SYSTEM VERSIONED') {
      throw shapeError(
        connection.target,
        `${shown(written)} keeps every old value: a rewrapped one would stay`,
        {
          hint: 'take the versioning out with `ALTER TABLE … DROP SYSTEM VERSIONING` first',
        },
      )
    }
    if (type !== 'BASE TABLE')
      throw shapeError(connection.target, `${shown(written)} is no table but a ${String(type).toLowerCase()}`)
    if (engine !== 'InnoDB') {
      throw shapeError(
        connection.target,
        `${shown(written)} is kept by the engine ${shown(String(engine))}, which has no transactions`,
        {
          hint: 'convert it with `ALTER TABLE … ENGINE = InnoDB`',
        },
      )
    }
    return { database: String(schema), name: String(table) }
  }
  throw await missingTable(connection, written)
}

/** `a.b` is table b of database a, else a table of that very name; backticks take a name as it stands. */
function readings(written: string): readonly { readonly database: string | null; readonly name: string }[] {
  const literal = { database: null, name: written }
  const parts = /^(`(?:[^`]|``)+`|[^`.]+)(?:\.(`(?:[^`]|``)+`|[^`.]+))?$/.exec(written)
  if (parts === null) return [literal]
  const [, first = '', second] = parts
  if (second !== undefined) return [{ database: plain(first), name: plain(second) }, literal]
  return plain(first) === written ? [literal] : [{ database: null, name: plain(first) }, literal]
}

function plain(part: string): string {
  return part.startsWith('`') ? part.slice(1, -1).replaceAll('``', '`') : part
}

async function missingTable(connection: Connection, written: string) {
  const tables = await connection.rows(
    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' LIMIT 10000",
  )
  const look = 'list the tables with `SHOW TABLES`; one of another database is written database.table'
  return noSuchTable(connection.target, written, { tables: tables.map(([table]) => String(table)), look })
}

async function readColumns(connection: Connection, database: string, table: string) {
  const rows = await connection.rows(
    `SELECT COLUMN_NAME, lower(DATA_TYPE), lower(COLUMN_TYPE), IS_NULLABLE, upper(EXTRA),
        coalesce(NUMERIC_PRECISION, 0), coalesce(NUMERIC_SCALE, 0), coalesce(CHARACTER_MAXIMUM_LENGTH, -1)
      FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`,
    [database, table],
  )
  return new Map(rows.map((row) => [String(row[0]), toColumn(row)] as const))
}

function toColumn(row: Row): Column {
  const [name = '', type = '', full = '', nullable, extra = '', precision = '0', scale = '0', most = '-1'] =
    row.map(String)
  const kind = kindOf(type, full.includes('unsigned')) ?? 'exact'
  const isShape = kindOf(type, false) === undefined
  return {
    name,
    kind: isShape ? 'bytes' : kind,
    key: isShape ? undefined : keyOf(type, kind, [precision, scale]),
    shown: full,
    most: Number(most) < 0 ? undefined : Number(most),
    generated: /\b(VIRTUAL|STORED|PERSISTENT) GENERATED\b|^(VIRTUAL|PERSISTENT)\b/.test(extra),
    notNull: nullable === 'NO',
    updates: extra.includes('ON UPDATE'),
  }
}

function requireUsableColumns(
  { target }: Connection,
  set: RecordSet,
  columns: ReadonlyMap<string, Column>,
): void {
  const look = 'look at the table with `SHOW CREATE TABLE …`'
  requireColumns(target, set, columns, look)
  const unfit = set.id.find((name) => columns.get(name)?.key === undefined)
  if (unfit === undefined) return
  throw shapeError(target, `column ${shown(unfit)} has a type without an exact order: it can be no id`, {
    hint: 'declare columns of whole numbers, text, bytes, decimals, dates or UUIDs as `id`',
  })
}

/** The columns of the shortest unique index over whole columns of the id. */
async function readProof(
  connection: Connection,
  { database, name }: { readonly database: string; readonly name: string },
  ids: readonly Column[],
): Promise<readonly Column[] | undefined> {
  const rows = await connection.rows(
    `SELECT INDEX_NAME, coalesce(COLUMN_NAME, ''), SUB_PART IS NULL FROM information_schema.STATISTICS
      WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX`,
    [database, name],
  )
  const indexes = [...Map.groupBy(rows, ([index]) => String(index)).values()]
  const proofs = indexes.flatMap((keys) => {
    const columns = keys.flatMap(([, column, whole]) =>
      whole === '1' ? ids.filter((id) => id.name === column) : [],
    )
    return columns.length === keys.length ? [columns] : []
  })
  return proofs.sort((one, other) => one.length - other.length)[0]
}
