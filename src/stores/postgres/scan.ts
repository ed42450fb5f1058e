import { cellsFrom } from '../cells-from.ts'
import { shapeError, shown } from '../server-errors.ts'
import { pagesBehind } from '../server-pages.ts'
import type { Cells, RecordSet, StoredRecord } from '../store.ts'
import type { Connection, Row, Values } from './connection.ts'
import { decodeCell, exactText, quoted, typed } from './columns.ts'
import { columnOf, type OrderColumn, type Table } from './table.ts'

/** The `scan` of the store contract. */
export function scanPages(
  connection: Connection,
  open: () => Promise<Table>,
  { set, pageSize }: { readonly set: RecordSet; readonly pageSize: number },
): AsyncIterable<readonly StoredRecord[]> {
  return pagesBehind<Values>(pageSize, async (limit, cursor) => {
    const table = await open()
    const rows = await readPage(connection, table, { set, limit, cursor })
    const records = rows.map((row) => toRecord(connection, { table, set, row }))
    return { rows, records, cursor: rows.at(-1)?.slice(0, table.order.length) }
  })
}

type PageRequest = {
  readonly set: RecordSet
  readonly limit: number
  readonly cursor: Values | undefined
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
  return cellsFrom(names, (index) => decodeCell(columnOf(table, names[index] ?? '').kind, row[index] ?? null))
}
