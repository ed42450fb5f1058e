import type { Cell, Cells, RecordId } from '../store.ts'
import { type OrderColumn, quoted, type Table } from './schema.ts'
import { selected } from './selected.ts'

/** SQL with the values of its parameters; a value never becomes part of the text. */
export type Statement = { readonly sql: string; readonly values: readonly Cell[] }

/**
 * What a text depends on, as a path of words: its columns, their storage classes, what is asked of them. A batch makes
 * a text once and not once a record, since making it takes longer than running it, and so does making a key for it.
 */
class Shape {
  readonly #next = new Map<Word, Shape>()
  #text: string | undefined

  next(word: Word): Shape {
    let next = this.#next.get(word)
    if (next === undefined) this.#next.set(word, (next = new Shape()))
    return next
  }

  text(make: () => string): string {
    return (this.#text ??= make())
  }
}

/** A column or a storage class; a whole path; or, as no column is called, what is asked. */
type Word = string | Shape | symbol

const asked = { select: Symbol('select'), whole: Symbol('whole'), update: Symbol('update') } as const

const ofCells = new Shape()
const ofTables = new WeakMap<Table, Shape>()

function ofTable(table: Table): Shape {
  let known = ofTables.get(table)
  if (known === undefined) ofTables.set(table, (known = new Shape()))
  return known
}

/** What a record must fulfil. */
export type Condition = {
  readonly shape: Shape
  readonly text: string
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
  const seek = table.order.map(({ name }) => comparable(cells[id.indexOf(name)] ?? null))
  const shape = classesOf(ofTable(table), id, cells)
  const text = shape.text(() => {
    const exact = id.map((column, at) => matches(column, storageClass(cells[at] ?? null)))
    return joinAnd([...table.order.map((column) => `${collated(column)} = ?`), ...exact])
  })
  return { shape, text, values: [...seek, ...compared(cells)] }
}

export function matchesCells(cells: Cells): Condition {
  const columns = Object.keys(cells)
  const values = columns.map((column) => cells[column] ?? null)
  const shape = classesOf(ofCells, columns, values)
  const text = shape.text(() =>
    joinAnd(columns.map((column, at) => matches(column, storageClass(values[at] ?? null)))),
  )
  return { shape, text, values: compared(values) }
}

function classesOf(from: Shape, columns: readonly string[], cells: readonly Cell[]): Shape {
  let shape = from
  for (let at = 0; at < columns.length; at++)
    shape = shape.next(columns[at] ?? '').next(storageClass(cells[at] ?? null))
  return shape
}

/** The values that the conditions of {@link matches} have: NULL has none. */
function compared(cells: readonly Cell[]): readonly Cell[] {
  return cells.includes(null) ? cells.filter((cell) => cell !== null).map(comparable) : cells.map(comparable)
}

export function both(one: Condition, other: Condition): Condition {
  const shape = one.shape.next(other.shape)
  return {
    shape,
    text: shape.text(() => joinAnd([one.text, other.text])),
    values: [...one.values, ...other.values],
  }
}

function joinAnd(parts: readonly string[]): string {
  return parts.map((part) => `(${part})`).join(' AND ') || 'TRUE'
}

/** The shape of a statement about these columns, where a condition holds. */
function shapeOf(verb: symbol, columns: readonly string[], where: Condition): Shape {
  let shape = where.shape.next(verb)
  for (const column of columns) shape = shape.next(column)
  return shape
}

/** The columns as they are {@link selected}. */
export function selectById(table: Table, columns: readonly string[], where: Condition): Statement {
  const sql = shapeOf(asked.select, columns, where).text(() => {
    const list = columns.map(selected).join(', ') || 'NULL'
    return `SELECT ${list} FROM main.${quoted(table.name)} WHERE ${where.text}`
  })
  return { sql, values: where.values }
}

/** All columns as they are {@link selected}, then how many bytes each one's text has in the file; null without one. */
export function selectWhole(table: Table, where: Condition): Statement {
  const sql = where.shape.next(asked.whole).text(() => {
    const names = table.columns.map(quoted)
    const lengths = names.map(
      (name) => `CASE typeof(${name}) WHEN 'text' THEN length(CAST(${name} AS BLOB)) END`,
    )
    return `SELECT ${[...table.columns.map(selected), ...lengths].join(', ')} FROM main.${quoted(table.name)} WHERE ${where.text}`
  })
  return { sql, values: where.values }
}

/**
 * The compare-and-swap. A table with ON CONFLICT rules of its own gets OR ABORT, which overrides them: REPLACE
 * would delete another record. Elsewhere nothing is said, since it would override the rules inside triggers too.
 */
export function update(table: Table, change: Cells, where: Condition): Statement {
  const columns = Object.keys(change)
  const sql = shapeOf(asked.update, columns, where).text(() => {
    const assignments = columns.map((column) => `${quoted(column)} = ?`).join(', ')
    const verb = table.hasConflictRule ? 'UPDATE OR ABORT' : 'UPDATE'
    return `${verb} main.${quoted(table.name)} SET ${assignments} WHERE ${where.text}`
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
