import type { Cell, RecordId, RecordSet } from '../store.ts'
import type { Values } from './connection.ts'
import { encodeCell, exactText, quoted, typed } from './columns.ts'
import { columnOf, type Table } from './table.ts'

/**
 * Rows of texts as the source of a statement: `unnest($1::text[], …) WITH ORDINALITY AS u(c0, …, n)`, a column
 * of the batch a parameter, so that a batch of any size is one statement and no value is part of its text.
 */
export type Source = { readonly sql: string; readonly values: Values }

export function sourceOf(width: number, rows: readonly (readonly (string | null)[])[]): Source {
  const arrays = Array.from({ length: width }, (_, at) => arrayText(rows, at))
  const marks = arrays.map((_, at) => `$${at + 1}::text[]`)
  const names = arrays.map((_, at) => `c${at}`)
  return {
    sql: `unnest(${marks.join(', ')}) WITH ORDINALITY AS u(${[...names, 'n'].join(', ')})`,
    values: arrays,
  }
}

/** A column of the rows as the server reads an array of texts. */
function arrayText(rows: readonly (readonly (string | null)[])[], column: number): string {
  const elements: string[] = []
  for (const row of rows) {
    const text = row[column] ?? null
    elements.push(text === null ? 'NULL' : elementText(text))
  }
  return `{${elements.join(',')}}`
}

/** Digits of numbers, of a uuid and of bytes need no quotes: most elements are such. */
const plain = /^[0-9a-f-]+$/

export function elementText(text: string): string {
  if (plain.test(text)) return text
  if (text.startsWith('\\x') && plain.test(text.slice(2))) return `\\${text}`
  return `"${text.replaceAll(/["\\]/g, '\\$&')}"`
}

/** The texts of an id; undefined when no record of the table can have it. */
export function encodeId(table: Table, set: RecordSet, id: RecordId): readonly string[] | undefined {
  const texts = set.id.map((name, index) => encodeCell(columnOf(table, name).kind, id[index] ?? null))
  return texts.every((text) => typeof text === 'string') ? texts : undefined
}

/**
 * Joins `t` with the first columns of `u`, which hold its id: by the type's own equality, which an index knows,
 * and for text byte by byte besides, since a collation may call different texts equal.
 */
export function joinsId(table: Table, set: RecordSet): string {
  const parts = set.id.flatMap((name, index) => {
    const column = columnOf(table, name)
    const seek = `t.${quoted(name)} = ${typed(column, `u.c${index}`)}`
    return column.kind === 'text' ? [seek, `${exactText(column)} = u.c${index}`] : [seek]
  })
  return parts.join(' AND ')
}

const chunkBytes = 16 * 1_048_576
const chunkRows = 4000

/** Cuts a batch so that no statement carries more than some megabytes. */
export function chunksOf<T>(items: readonly T[], sizeOf: (item: T) => number): readonly (readonly T[])[] {
  const chunks: T[][] = []
  let [room, rows] = [0, 0]
  for (const item of items) {
    const size = sizeOf(item)
    if (size > room || rows === 0) {
      chunks.push([])
      ;[room, rows] = [chunkBytes, chunkRows]
    }
    chunks.at(-1)?.push(item)
    room -= size
    rows -= 1
  }
  return chunks
}

/** About how many bytes a text of it needs. */
export function sizeOfCell(cell: Cell): number {
  if (cell instanceof Uint8Array) return 2 * cell.length
  return typeof cell === 'string' ? cell.length : 20
}
