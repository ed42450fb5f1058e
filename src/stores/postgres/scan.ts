import { KvxError } from '../../core/errors.ts'
import type { Cells, RecordSet, StoredRecord } from '../store.ts'
import type { Connection, Row } from './connection.ts'
import { decodeCell, exactText, quoted, typed } from './columns.ts'
import { shapeError, shown } from './postgres-errors.ts'
import { columnOf, type OrderColumn, type Table } from './table.ts'

/** A page is cut where the last ones say that it would hold more than this. */
const pageBytes = 32 * 1_048_576
const firstPage = 100

/** The `scan` of the store contract: each page is a statement of its own that goes on behind the last id. */
export async function* scanPages(
  connection: Connection,
  open: () => Promise<Table>,
  request: { readonly set: RecordSet; readonly pageSize: number },
): AsyncGenerator<readonly StoredRecord[]> {
  const { set, pageSize } = request
  if (!Number.isSafeInteger(pageSize) || pageSize < 1)
    throw new KvxError('BUG', 'a page holds at least one record')
  let cursor: readonly (string | null)[] | undefined
  let limit = Math.min(pageSize, firstPage)
  for (;;) {
    const table = await open()
    const rows = await readPage(connection, table, { set, limit, cursor })
    const isLast = rows.length < limit
    cursor = rows.at(-1)?.slice(0, table.order.length)
    limit = nextLimit(rows, pageSize)
    if (rows.length > 0) yield rows.map((row) => toRecord(connection, { table, set, row }))
    if (isLast) return
  }
}

/** How many rows like these an answer may have. */
export function nextLimit(rows: readonly Row[], pageSize: number, most = pageBytes): number {
  const bytes = rows.reduce((sum, row) => row.reduce((all, cell) => all + (cell?.length ?? 0), sum), 1)
  const each = Math.ceil(bytes / Math.max(rows.length, 1))
  return Math.max(1, Math.min(pageSize, Math.floor(most / each)))
}

type PageRequest = {
  readonly set: RecordSet
  readonly limit: number
  readonly cursor: readonly (string | null)[] | undefined
}

async function readPage(connection: Connection, table: Table, { set, limit, cursor }: PageRequest) {
  const columns = [...set.id, ...set.columns].map((name) => `t.${quoted(name)}`)
  const list = [...table.order.map(({ column }) => `t.${quoted(column.name)}`), ...columns].join(', ')
  const order = orderOf(table)
  const behind =
    cursor === undefined
      ? ''
      : `WHERE (${order.join(', ')}) > (${table.order.map((one, index) => cursorValue(one, index)).join(', ')})`
  return await connection.rowsInTurn(
    `SELECT ${list} FROM ${table.sql} AS t ${behind} ORDER BY ${order.join(', ')} LIMIT ${limit}`,
    cursor ?? [],
  )
}

/** The expressions that order the records of `t`. */
export function orderOf(table: Table): readonly string[] {
  return table.order.map(({ column, bytewise }) =>
    bytewise ? exactText(column) : `t.${quoted(column.name)}`,
  )
}

function cursorValue({ column, bytewise }: OrderColumn, index: number): string {
  return bytewise ? `$${index + 1}::text` : typed(column, `$${index + 1}`)
}

type PageRow = { readonly table: Table; readonly set: RecordSet; readonly row: Row }

function toRecord(connection: Connection, { table, set, row }: PageRow): StoredRecord {
  const first = table.order.length
  const id = set.id.map((name, index) => decodeCell(columnOf(table, name).kind, row[first + index] ?? null))
  if (id.includes(null))
    throw shapeError(connection.target, `the id of a record of ${shown(set.table)} is null`)
  return { id, cells: cellsOf(table, set.columns, row.slice(first + set.id.length)) }
}

/** Cells of these columns from a row that holds them in this order. */
export function cellsOf(table: Table, names: readonly string[], row: Row): Cells {
  return Object.fromEntries(
    names.map((name, index) => [name, decodeCell(columnOf(table, name).kind, row[index] ?? null)]),
  )
}
