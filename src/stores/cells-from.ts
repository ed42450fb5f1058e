import type { Cell, Cells } from './store.ts'

/** The cells of a row, `from` there on, under the names of their columns. */
export function cellsFrom(names: readonly string[], row: readonly Cell[], from = 0): Cells {
  const cells: Record<string, Cell> = {}
  for (const [index, name] of names.entries()) {
    const value = row[from + index] ?? null
    // Assigning it would set the prototype and no column.
    if (name === '__proto__') Object.defineProperty(cells, name, { value, enumerable: true })
    else cells[name] = value
  }
  return cells
}
