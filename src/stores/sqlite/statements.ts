import type { Cell, Cells, RecordId } from '../store.ts'
import { type OrderColumn, quoted, type Table } from './schema.ts'
import { selected } from './selected.ts'

/** SQL with the values of its parameters; a value never becomes part of the text. */
export type Statement = { readonly sql: string; readonly values: readonly Cell[] }

/**
 * What a record must fulfil. Its text depends on nothing but columns and storage classes, which `key` names (no name
 * of SQLite holds a zero byte): a batch makes a text once and not once a record, since making it takes longer than
 * running it.
 */
export type Condition = {
  readonly key: string
  readonly text: () => string
  readonly values: readonly Cell[]
}

/** Where a scan goes on: for each column of the order the last value, text as its raw bytes. */
export type Cursor = readonly { readonly isText: boolean; readonly value: Cell }[]

type StorageClass = 'null' | 'text' | 'blob' | 'integer' | 'real'

function storageClass(cell: Cell): StorageClass {
  if (cell === null) return 'null'
  if (typeof cell === 'string') return 'text'
  if (cell instanceof Uint8Array) return 'blob'
  return typeof cell === 'bigint' ? 'integer' : 'real'
}

/**
 * True for exactly the records whose column holds this value: same storage class, same bytes, whatever the
 * column's affinity and collation. A real is compared by value, since CAST would round it to 15 digits.
 */
function matches(column: string, kind: StorageClass): string {
  const name = quoted(column)
  if (kind === 'null') return `${name} IS NULL`
  if (kind === 'text') return `typeof(${name}) = 'text' AND CAST(${name} AS BLOB) IS CAST(? AS BLOB)`
  return `typeof(${name}) = '${kind}' AND ${name} IS ?`
}

/** NULL for a value that SQLite can't hold, so that it equals nothing instead of a neighbour of it. */
function comparable(cell: Cell): Cell {
  if (typeof cell === 'string') return cell.isWellFormed() ? cell : null
  if (typeof cell === 'bigint') return BigInt.asIntN(64, cell) === cell ? cell : null
  return cell
}

/** True for the one record with this id. The columns of the order come first, as an index can find them. */
export function matchesId(table: Table, id: readonly string[], cells: RecordId): Condition {
  const values: Cell[] = []
  for (const { name } of table.order) values.push(comparable(cells[id.indexOf(name)] ?? null))
  let key = ''
  for (let at = 0; at < id.length; at++) {
    const cell = cells[at] ?? null
    key += `${id[at]}\0${storageClass(cell)}\0`
    if (cell !== null) values.push(comparable(cell))
  }
  const text = (): string => {
    const seek = table.order.map((column) => `${collated(column)} = ?`)
    return joinAnd([...seek, ...id.map((column, at) => matches(column, storageClass(cells[at] ?? null)))])
  }
  return { key, text, values }
}

export function matchesCells(cells: Cells): Condition {
  const columns = Object.keys(cells)
  let key = ''
  const values: Cell[] = []
  for (const column of columns) {
    const cell = cells[column] ?? null
    key += `${column}\0${storageClass(cell)}\0`
    if (cell !== null) values.push(comparable(cell))
  }
  const text = (): string =>
    joinAnd(columns.map((column) => matches(column, storageClass(cells[column] ?? null))))
  return { key, text, values }
}

export function both(one: Condition, other: Condition): Condition {
  return {
    key: `${one.key}\0\0${other.key}`,
    text: () => joinAnd([one.text(), other.text()]),
    values: [...one.values, ...other.values],
  }
}

function joinAnd(parts: readonly string[]): string {
  return parts.map((part) => `(${part})`).join(' AND ') || 'TRUE'
}

const texts = new WeakMap<Table, Map<string, string>>()

function textFor(table: Table, key: string, make: () => string): string {
  let known = texts.get(table)
  if (known === undefined) texts.set(table, (known = new Map()))
  let text = known.get(key)
  if (text === undefined) known.set(key, (text = make()))
  return text
}

/** The columns as they are {@link selected}. */
export function selectById(table: Table, columns: readonly string[], where: Condition): Statement {
  const sql = textFor(table, `select\0${columns.join('\0')}\0\0${where.key}`, () => {
    const list = columns.map(selected).join(', ') || 'NULL'
    return `SELECT ${list} FROM main.${quoted(table.name)} WHERE ${where.text()}`
  })
  return { sql, values: where.values }
}

/** All columns as they are {@link selected}, then how many bytes each one's text has in the file; null without one. */
export function selectWhole(table: Table, where: Condition): Statement {
  const sql = textFor(table, `whole\0${where.key}`, () => {
    const names = table.columns.map(quoted)
    const lengths = names.map(
      (name) => `CASE typeof(${name}) WHEN 'text' THEN length(CAST(${name} AS BLOB)) END`,
    )
    return `SELECT ${[...table.columns.map(selected), ...lengths].join(', ')} FROM main.${quoted(table.name)} WHERE ${where.text()}`
  })
  return { sql, values: where.values }
}

/**
 * The compare-and-swap. A table with ON CONFLICT rules of its own gets OR ABORT, which overrides them: REPLACE
 * would delete another record. Elsewhere nothing is said, since it would override the rules inside triggers too.
 */
export function update(table: Table, change: Cells, where: Condition): Statement {
  const columns = Object.keys(change)
  const sql = textFor(table, `update\0${columns.join('\0')}\0\0${where.key}`, () => {
    const assignments = columns.map((column) => `${quoted(column)} = ?`).join(', ')
    const verb = table.hasConflictRule ? 'UPDATE OR ABORT' : 'UPDATE'
    return `${verb} main.${quoted(table.name)} SET ${assignments} WHERE ${where.text()}`
  })
  return { sql, values: [...columns.map((column) => change[column] ?? null), ...where.values] }
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
  const from = `SELECT ${[...columns.map(selected), ...keys].join(', ')} FROM main.${quoted(table.name)}`
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
