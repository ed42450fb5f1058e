import type { Cell } from '../store.ts'

/**
 * How values of a column travel: bytes as bytes, everything else as text that loses nothing. Parameters are
 * always text; bytes go as hex digits, so that no character set touches them.
 */
export type ColumnKind = 'bytes' | 'integer' | 'unsigned' | 'text' | 'json' | 'float' | 'exact'

export type Column = {
  readonly name: string
  readonly kind: ColumnKind
  /** What a parameter becomes to be ordered as the column is; undefined where the type is no good for an id. */
  readonly key: string | undefined
  /** The type as it was declared, for people. */
  readonly shown: string
  /** Characters of a text, bytes of a binary type. */
  readonly most: number | undefined
  readonly generated: boolean
  readonly notNull: boolean
  /** The server sets it anew on each write: ON UPDATE CURRENT_TIMESTAMP. */
  readonly updates: boolean
}

/** An identifier in backticks. */
export function quoted(identifier: string): string {
  return `\`${identifier.replaceAll('`', '``')}\``
}

const byType: Readonly<Record<string, ColumnKind>> = {
  binary: 'bytes',
  varbinary: 'bytes',
  tinyblob: 'bytes',
  blob: 'bytes',
  mediumblob: 'bytes',
  longblob: 'bytes',
  tinyint: 'integer',
  smallint: 'integer',
  mediumint: 'integer',
  int: 'integer',
  bigint: 'integer',
  year: 'integer',
  bit: 'unsigned',
  char: 'text',
  varchar: 'text',
  tinytext: 'text',
  text: 'text',
  mediumtext: 'text',
  longtext: 'text',
  enum: 'text',
  set: 'text',
  json: 'json',
  float: 'float',
  double: 'float',
}

export function kindOf(type: string, unsigned: boolean): ColumnKind | undefined {
  if (/^(geometry|point|linestring|polygon|multi|geometrycollection)/.test(type)) return undefined
  const kind = byType[type] ?? 'exact'
  return kind === 'integer' && unsigned ? 'unsigned' : kind
}

/** The conversion of a parameter that is compared with, and ordered like, a column of an id. */
export function keyOf(type: string, kind: ColumnKind, [precision, scale]: readonly [string, string]) {
  if (kind === 'bytes') return 'UNHEX(?)'
  if (kind === 'integer') return 'CAST(? AS SIGNED)'
  if (kind === 'unsigned') return type === 'bit' ? undefined : 'CAST(? AS UNSIGNED)'
  if (kind === 'text') return type === 'enum' || type === 'set' ? undefined : '?'
  if (type === 'decimal') return `CAST(? AS DECIMAL(${precision}, ${scale}))`
  if (type === 'date') return 'CAST(? AS DATE)'
  if (type === 'datetime' || type === 'timestamp') return 'CAST(? AS DATETIME(6))'
  return type === 'uuid' || type === 'inet4' || type === 'inet6' ? '?' : undefined
}

/** What is selected so that nothing of the value is lost. */
export function selected(column: Column): string {
  const name = quoted(column.name)
  if (column.kind === 'bytes' || column.kind === 'text') return name
  if (column.kind === 'unsigned') return `CAST(${name} + 0 AS CHAR)`
  // A float prints six digits, the double that it is prints all of them.
  return column.kind === 'float' ? `CAST(${name} + 0E0 AS CHAR)` : `CAST(${name} AS CHAR)`
}

export function decodeCell(kind: ColumnKind, value: string | Buffer | null): Cell {
  if (value === null) return null
  if (kind === 'bytes') return Buffer.isBuffer(value) ? value : Buffer.from(value)
  const text = Buffer.isBuffer(value) ? value.toString('utf8') : value
  return kind === 'integer' || kind === 'unsigned' ? BigInt(text) : text
}

/** The parameter for a cell; undefined for a cell that no value of the column can be equal to. */
export function encodeCell(kind: ColumnKind, cell: Cell): string | null | undefined {
  if (cell === null) return null
  if (kind === 'bytes') return cell instanceof Uint8Array ? hexOf(cell) : undefined
  if (kind === 'integer')
    return typeof cell === 'bigint' && BigInt.asIntN(64, cell) === cell ? cell.toString() : undefined
  if (kind === 'unsigned')
    return typeof cell === 'bigint' && BigInt.asUintN(64, cell) === cell ? cell.toString() : undefined
  return typeof cell === 'string' && cell.isWellFormed() ? cell : undefined
}

/** The same for writing, where a number of a version may go into a column of text. */
export function encodeChange(kind: ColumnKind, cell: Cell): string | null | undefined {
  const isNumber = kind === 'bytes' || kind === 'integer' || kind === 'unsigned'
  return typeof cell === 'bigint' && !isNumber ? cell.toString() : encodeCell(kind, cell)
}

/** Why a column could not hold a cell that is written into it; undefined where its type and length do not speak against it. */
export function unfitness({ kind, shown, most }: Column, cell: Cell): string | undefined {
  if (cell === null || typeof cell === 'bigint') return undefined
  const isListed = kind === 'float' || kind === 'exact' || /^(enum|set)\b/.test(shown)
  if (isListed || encodeCell(kind, cell) === undefined) {
    const what = cell instanceof Uint8Array ? 'bytes that are no text' : 'this text'
    return `its type ${shown.slice(0, 40)} does not take ${what}`
  }
  const length = typeof cell === 'string' ? Array.from(cell).length : Buffer.from(cell as Uint8Array).length
  if (shown.startsWith('binary(') && length !== most)
    return `it has ${length} bytes, and ${shown} fills up with zeros`
  const unit = kind === 'bytes' ? 'bytes' : 'characters'
  return most === undefined || length <= most
    ? undefined
    : `it has ${length} ${unit}, and ${most} are allowed`
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** A parameter as a value to be written. */
export function written({ kind }: Column): string {
  if (kind === 'bytes') return 'UNHEX(?)'
  // A text of digits would be taken for the bytes of a BIT.
  return kind === 'unsigned' ? 'CAST(? AS UNSIGNED)' : '?'
}

/**
 * True for exactly the rows whose column holds the value of one parameter, null included: byte by byte, whatever
 * collation and type call equal.
 */
export function matches(column: Column): string {
  if (column.kind === 'bytes') return `${quoted(column.name)} <=> UNHEX(?)`
  return `${exactText(column)} <=> CAST(? AS BINARY)`
}

/** The bytes of the column's value as text in UTF-8. */
export function exactText(column: Column): string {
  if (column.kind === 'bytes') return quoted(column.name)
  return `CAST(CONVERT(${selected(column)} USING utf8mb4) AS BINARY)`
}
