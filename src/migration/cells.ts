import { hash } from 'node:crypto'
import { canonicalJson } from '../core/canonical-json.ts'
import type { Cell, Cells, RecordId } from '../stores/store.ts'

/** A cell as JSON that loses nothing: text as it is, bytes as base64, integers as text, and so numbers that JSON has not. */
export type EncodedCell =
  | null
  | { readonly text: string }
  | { readonly bytes: string }
  | { readonly int: string }
  | { readonly real: number | 'Infinity' | '-Infinity' | '-0' }

export function encodeCell(cell: Cell): EncodedCell {
  if (cell === null) return null
  if (typeof cell === 'string') return { text: cell }
  if (typeof cell === 'bigint') return { int: cell.toString() }
  if (typeof cell === 'number') return { real: encodeReal(cell) }
  return { bytes: base64Of(cell) }
}

function encodeReal(real: number): number | 'Infinity' | '-Infinity' | '-0' {
  if (Object.is(real, -0)) return '-0'
  if (Number.isFinite(real)) return real
  return real > 0 ? 'Infinity' : '-Infinity'
}

function base64Of(bytes: Uint8Array): string {
  if (Buffer.isBuffer(bytes)) return bytes.toString('base64')
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

/** What `JSON.stringify` makes of {@link encodeCell}: a run writes one for each cell that it replaces. */
export function jsonOfCell(cell: Cell): string {
  return cell instanceof Uint8Array ? `{"bytes":"${base64Of(cell)}"}` : JSON.stringify(encodeCell(cell))
}

/** The same of {@link encodeCells}. */
export function jsonOfCells(cells: Cells): string {
  let members = ''
  for (const name of Object.keys(cells))
    members += `${members === '' ? '' : ','}${JSON.stringify(name)}:${jsonOfCell(cells[name] ?? null)}`
  return `{${members}}`
}

export function decodeCell(encoded: EncodedCell): Cell {
  if (encoded === null) return null
  if ('text' in encoded) return encoded.text
  if ('int' in encoded) return BigInt(encoded.int)
  if ('real' in encoded) return typeof encoded.real === 'string' ? Number(encoded.real) : encoded.real
  return Buffer.from(encoded.bytes, 'base64')
}

/** An id as one text, the same for the same id. */
export function idKey(id: RecordId): string {
  const [only = null] = id
  return id.length === 1 ? keyOfCell(only) : JSON.stringify(id.map(keyOfCell))
}

function keyOfCell(cell: Cell): string {
  if (cell instanceof Uint8Array) return `bytes ${base64Of(cell)}`
  return `${typeof cell} ${String(cell)}`
}

export function encodeCells(cells: Cells): Record<string, EncodedCell> {
  return Object.fromEntries(Object.entries(cells).map(([name, cell]) => [name, encodeCell(cell)]))
}

export function decodeCells(encoded: Readonly<Record<string, EncodedCell>>): Cells {
  return Object.fromEntries(Object.entries(encoded).map(([name, cell]) => [name, decodeCell(cell)]))
}

/** SHA-256 of columns and their exact cells, in the order of the names. */
export function digestOfCells(cells: Cells): string {
  const sorted = Object.keys(cells)
    .sort()
    .map((name) => `[${JSON.stringify(name)},${jsonOfCell(cells[name] ?? null)}]`)
  return hash('sha256', `[${sorted.join(',')}]`)
}

/**
 * The same by what cells hold and not by how a store spells it: a column of documents (jsonb) keeps neither spaces
 * nor the order of members, and a column of text keeps a number as its digits.
 */
export function digestOfValues(cells: Cells): string {
  const values = Object.entries(cells).map(([name, cell]) => [name, valueOf(cell)] as const)
  return digestOfCells(Object.fromEntries(values))
}

function valueOf(cell: Cell): Cell {
  if (typeof cell === 'bigint') return cell.toString()
  return typeof cell === 'string' ? (documentText(cell) ?? cell) : cell
}

type Reviver = (this: unknown, name: string, value: unknown, context: { readonly source?: string }) => unknown

const keepNumbers: Reviver = (_name, value, { source }) =>
  typeof value === 'number' ? { number: source ?? '' } : value

/** A JSON object or array without spaces, its members in order, its numbers as they are written. */
function documentText(text: string): string | undefined {
  if (!/^\s*[[{]/.test(text)) return undefined
  try {
    return canonicalJson(JSON.parse(text, keepNumbers as Parameters<typeof JSON.parse>[1])).toString()
  } catch {
    return undefined
  }
}

/** A record's id for people and reports: JSON of its columns, without control characters, at most 80 long. */
export function displayId(id: RecordId): string {
  const text = id
    .map((cell) => {
      if (cell instanceof Uint8Array) return `x'${Buffer.from(cell).toString('hex')}'`
      return typeof cell === 'string' ? JSON.stringify(cell) : String(cell)
    })
    .join(', ')
    .replace(/[^\x20-\x7e]/g, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`
}
