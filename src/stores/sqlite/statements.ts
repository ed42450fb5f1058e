import type { Cell, Cells, RecordId } from '../store.ts'
import { type OrderColumn, quoted, type Table } from './schema.ts'

/** SQL with the values of its parameters; a value never becomes part of the text. */
export type Statement = { readonly sql: string; readonly values: readonly Cell[] }

/** Where a scan goes on: for each column of the order the last value, text as its raw bytes. */
export type Cursor = readonly { readonly isText: boolean; readonly value: Cell }[]

/**
 * True for exactly the records whose column holds this value: same storage class, same bytes, whatever the
 * column's affinity and collation. A real is compared by value, since CAST would round it to 15 digits.
 */
function matches(column: string, cell: Cell): Statement {
  const name = quoted(column)
  if (cell === null) return { sql: `${name} IS NULL`, values: [] }
  const values = [comparable(cell)]
  if (typeof cell === 'string') {
    return { sql: `typeof(${name}) = 'text' AND CAST(${name} AS BLOB) IS CAST(? AS BLOB)`, values }
  }
  return { sql: `typeof(${name}) = '${storageClass(cell)}' AND ${name} IS ?`, values }
}

function storageClass(cell: Uint8Array | bigint | number): 'blob' | 'integer' | 'real' {
  if (cell instanceof Uint8Array) return 'blob'
  return typeof cell === 'bigint' ? 'integer' : 'real'
}

/** NULL for a value that SQLite can't hold, so that it equals nothing instead of a neighbour of it. */
function comparable(cell: string | Uint8Array | bigint | number): Cell {
  if (typeof cell === 'string') return cell.isWellFormed() ? cell : null
  if (typeof cell === 'bigint') return BigInt.asIntN(64, cell) === cell ? cell : null
  return cell
}

/** True for the one record with this id. The columns of the order come first, as an index can find them. */
export function matchesId(table: Table, id: readonly string[], values: RecordId): Statement {
  const cells = Object.fromEntries(id.map((column, index) => [column, values[index] ?? null]))
  const seek = table.order.map(({ name, collation }) => {
    const cell = cells[name] ?? null
    return {
      sql: `${quoted(name)} COLLATE ${collation} = ?`,
      values: [cell === null ? null : comparable(cell)],
    }
  })
  return joinAnd([...seek, ...Object.entries(cells).map(([column, cell]) => matches(column, cell))])
}

export function matchesCells(cells: Cells): Statement {
  return joinAnd(Object.entries(cells).map(([column, cell]) => matches(column, cell)))
}

function joinAnd(parts: readonly Statement[]): Statement {
  return {
    sql: parts.map((part) => `(${part.sql})`).join(' AND ') || 'TRUE',
    values: parts.flatMap((part) => part.values),
  }
}

export function selectById(table: Table, columns: readonly string[], where: Statement): Statement {
  const list = columns.map(quoted).join(', ') || 'NULL'
  return { sql: `SELECT ${list} FROM main.${quoted(table.name)} WHERE ${where.sql}`, values: where.values }
}

/**
 * The compare-and-swap. A table with ON CONFLICT rules of its own gets OR ABORT, which overrides them: REPLACE
 * would delete another record. Elsewhere nothing is said, since it would override the rules inside triggers too.
 */
export function update(table: Table, change: Cells, where: Statement): Statement {
  const columns = Object.keys(change)
  const assignments = columns.map((column) => `${quoted(column)} = ?`).join(', ')
  const verb = table.hasConflictRule ? 'UPDATE OR ABORT' : 'UPDATE'
  return {
    sql: `${verb} main.${quoted(table.name)} SET ${assignments} WHERE ${where.sql}`,
    values: [...columns.map((column) => change[column] ?? null), ...where.values],
  }
}

export function insert(table: Table, cells: Cells): Statement {
  const columns = Object.keys(cells)
  const verb = table.hasConflictRule ? 'INSERT OR ABORT' : 'INSERT'
  const names = columns.map(quoted).join(', ')
  const places = columns.map(() => '?').join(', ')
  return {
    sql: `${verb} INTO main.${quoted(table.name)} (${names}) VALUES (${places})`,
    values: columns.map((column) => cells[column] ?? null),
  }
}

/** Cells that `selectPage` adds to each row for the cursor. */
export const cursorCellsPerColumn = 2

/**
 * The statements that together give the next page after the cursor, each up to what is left of it: for an order
 * (a, b) first `a = ? AND b > ?`, then `a > ?`. That is the row value comparison `(a, b) > (?, ?)` taken apart:
 * SQLite uses no index for a row value with an explicit collation, and the collation must be the one of the
 * order, not the column's own.
 */
export function selectPage(
  table: Table,
  columns: readonly string[],
  cursor: Cursor | undefined,
): Statement[] {
  const { order } = table
  const keys = order.flatMap(({ name }) => {
    const column = quoted(name)
    return [
      `typeof(${column}) = 'text'`,
      `CASE typeof(${column}) WHEN 'text' THEN CAST(${column} AS BLOB) ELSE ${column} END`,
    ]
  })
  const from = `SELECT ${[...columns.map(quoted), ...keys].join(', ')} FROM main.${quoted(table.name)}`
  const by = `ORDER BY ${order.map(collated).join(', ')} LIMIT ?`
  if (cursor === undefined) return [{ sql: `${from} ${by}`, values: [] }]
  return order.map((_, index) => {
    const depth = order.length - index
    const where = order.slice(0, depth).map((column, position) => {
      const operator = position === depth - 1 ? '>' : '='
      return `${collated(column)} ${operator} ${cursor[position]?.isText ? 'CAST(? AS TEXT)' : '?'}`
    })
    return {
      sql: `${from} WHERE ${where.join(' AND ')} ${by}`,
      values: cursor.slice(0, depth).map(({ value }) => value),
    }
  })
}

function collated({ name, collation }: OrderColumn): string {
  return `${quoted(name)} COLLATE ${collation}`
}
