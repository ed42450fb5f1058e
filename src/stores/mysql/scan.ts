import { shapeError, shown } from '../server-errors.ts'
import { pagesBehind } from '../server-pages.ts'
import type { Cells, RecordSet, StoredRecord } from '../store.ts'
import { decodeCell, encodeCell, selected } from './columns.ts'
import type { Connection, Row, Values } from './connection.ts'
import type { Statement } from './ids.ts'
import { columnOf, type Table } from './table.ts'

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
    return { rows, records, cursor: cursorAfter(table, rows.at(-1)) }
  })
}

type PageRequest = {
  readonly set: RecordSet
  readonly limit: number
  readonly cursor: Values | undefined
}

async function readPage(connection: Connection, table: Table, { set, limit, cursor }: PageRequest) {
  const names = [...table.order.map(({ column }) => column.name), ...set.id, ...set.columns]
  const list = names.map((name) => selected(columnOf(table, name)))
  const behind = cursor === undefined ? { sql: '', values: [] } : after(table, cursor)
  return await connection.rows(
    `SELECT ${list.join(', ')} FROM ${table.sql} ${behind.sql}
      ORDER BY ${table.order.map(({ sql }) => sql).join(', ')} LIMIT ${limit}`,
    behind.values,
  )
}

/**
 * For an order (a, b): `a >= ? AND (a > ? OR a = ? AND b > ?)`. The row comparison that says the same finds no
 * index here.
 */
function after({ order }: Table, cursor: Values): Statement {
  const [first] = order
  const alternatives = order.map(({ sql, parameter }, depth) => ({
    sql: [
      ...order.slice(0, depth).map((before) => `${before.sql} = ${before.parameter}`),
      `${sql} > ${parameter}`,
    ].join(' AND '),
    values: cursor.slice(0, depth + 1),
  }))
  return {
    sql: `WHERE ${first?.sql ?? ''} >= ${first?.parameter ?? ''} AND (${alternatives.map(({ sql }) => sql).join(' OR ')})`,
    values: [cursor[0] ?? null, ...alternatives.flatMap(({ values }) => values)],
  }
}

function cursorAfter(table: Table, row: Row | undefined): Values | undefined {
  return row === undefined
    ? undefined
    : table.order.map(
        ({ column }, index) => encodeCell(column.kind, decodeCell(column.kind, row[index] ?? null)) ?? null,
      )
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
