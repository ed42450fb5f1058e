import { cellsFrom } from '../cells-from.ts'
import type { Cell, Cells } from '../store.ts'
import type { Row } from './database.ts'
import { quoted } from './schema.ts'

/** Longer blobs come as they are. */
const longest = 512

/**
 * A column in a select list: its value, and behind it the hexadecimal digits of a short blob, which then has no
 * value. node:sqlite makes a buffer of its own outside of the heap for each blob: to make it, to count it and to
 * collect it takes several times what these digits take.
 */
export function selected(column: string): string {
  const name = quoted(column)
  const isShort = `typeof(${name}) = 'blob' AND length(${name}) <= ${longest}`
  return `CASE WHEN ${isShort} THEN NULL ELSE ${name} END, CASE WHEN ${isShort} THEN hex(${name}) END`
}

/** Cells of a row that each {@link selected} column has. */
export const cellsPerSelected = 2

/** What the column holds that is selected at this place. */
export function selectedCell(row: Row, at: number): Cell {
  const digits = row[cellsPerSelected * at + 1]
  return typeof digits === 'string' ? Buffer.from(digits, 'hex') : (row[cellsPerSelected * at] ?? null)
}

/** What the columns hold, `from` there on. */
export function selectedCells(row: Row, names: readonly string[], from = 0): Cells {
  return cellsFrom(names, (index) => selectedCell(row, from + index))
}
