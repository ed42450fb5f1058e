import type { Cell } from '../store.ts'

/**
 * How values of a column travel. Everything crosses the connection as the text of its type's output function and
 * goes back through a cast to that type, so that a record of any types can be fetched and inserted again exactly.
 */
export type ColumnKind = 'bytes' | 'integer' | 'text' | 'json' | 'jsonb' | 'other'

export type Column = {
  readonly name: string
  readonly kind: ColumnKind
  /** The type below all domains, quoted and without a length: a cast to it cuts nothing off. */
  readonly type: string
  /** The type's own name, for people. */
  readonly shown: string
  /** Characters of varchar(n) and char(n). */
  readonly most: number | undefined
  readonly generated: boolean
  readonly notNull: boolean
}

/** An identifier in double quotes. */
export function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}

const kinds: Readonly<Record<string, ColumnKind>> = {
  bytea: 'bytes',
  int2: 'integer',
  int4: 'integer',
  int8: 'integer',
  text: 'text',
  varchar: 'text',
  name: 'text',
  citext: 'text',
  json: 'json',
  jsonb: 'jsonb',
}

export function kindOf(typeName: string): ColumnKind {
  return kinds[typeName] ?? 'other'
}

export function decodeCell(kind: ColumnKind, text: string | null): Cell {
  if (text === null) return null
  if (kind === 'bytes') return Buffer.from(text.slice(2), 'hex')
  return kind === 'integer' ? BigInt(text) : text
}

/** The text of a cell for its column; undefined for a cell that no value of the column can be equal to. */
export function encodeCell(kind: ColumnKind, cell: Cell): string | null | undefined {
  if (cell === null) return null
  if (kind === 'bytes') return cell instanceof Uint8Array ? `\\x${asBuffer(cell).toString('hex')}` : undefined
  if (kind === 'integer') {
    return typeof cell === 'bigint' && BigInt.asIntN(64, cell) === cell ? cell.toString() : undefined
  }
  if (typeof cell !== 'string' || !cell.isWellFormed() || cell.includes('\0')) return undefined
  return kind === 'jsonb' && !isJson(cell) ? undefined : cell
}

/** The same for writing, where a number of a version may go into a column of text or numeric. */
export function encodeChange(kind: ColumnKind, cell: Cell): string | null | undefined {
  const writable = typeof cell === 'bigint' && kind !== 'integer' && kind !== 'bytes'
  return writable ? cell.toString() : encodeCell(kind, cell)
}

/** Why a column could not hold a cell that is written into it; undefined where its type and length do not speak against it. */
export function unfitness(column: Column, cell: Cell): string | undefined {
  if (cell === null || typeof cell === 'bigint') return undefined
  const text = encodeCell(column.kind, cell)
  const isPadded = column.shown === 'bpchar'
  if (text === undefined || text === null || (column.kind === 'other' && !isPadded)) {
    const what = cell instanceof Uint8Array ? 'bytes that are no text' : 'this text'
    return `its type ${column.shown} does not take ${what}`
  }
  const length = typeof cell === 'string' ? Array.from(cell).length : 0
  if (column.most === undefined || length === column.most || (length < column.most && !isPadded))
    return undefined
  return isPadded
    ? `it has ${length} characters, and char(${column.most}) fills up with blanks or cuts off`
    : `it has ${length} characters, and ${column.most} are allowed`
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** A parameter of text as a value of the column. An integer keeps 64 bits, so that no comparison overflows. */
export function typed(column: Column, parameter: string): string {
  return `${parameter}::${column.kind === 'integer' ? 'int8' : column.type}`
}

/**
 * True for exactly the rows of `t` whose column holds the value of this parameter, null included. Text is
 * compared byte by byte whatever its collation, types that have several spellings of equal values (numeric,
 * arrays) by what they print; jsonb by value, as it keeps no spelling.
 */
export function matches(column: Column, parameter: string): string {
  const name = `t.${quoted(column.name)}`
  if (column.kind === 'bytes' || column.kind === 'integer' || column.kind === 'jsonb') {
    return `${name} IS NOT DISTINCT FROM ${typed(column, parameter)}`
  }
  return `${exactText(column)} IS NOT DISTINCT FROM ${parameter}`
}

/** What the column's value prints as text that is compared byte by byte. */
export function exactText(column: Column): string {
  const name = `t.${quoted(column.name)}`
  // A cast of bool, inet or char(n) to text differs from what they print; format() prints.
  const text =
    column.kind === 'other'
      ? `CASE WHEN ${name} IS NOT NULL THEN pg_catalog.format('%s', ${name}) END`
      : `${name}::text`
  return `(${text}) COLLATE "C"`
}
