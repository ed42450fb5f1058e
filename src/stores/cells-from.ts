import type { Cell, Cells } from './store.ts'

/**
 * Cells under the names of their columns.
 * @param cellAt the cell of a column by its number in the list of names; asked in their order
 */
export function cellsFrom(names: readonly string[], cellAt: (index: number) => Cell): Cells {
  const cells: Record<string, Cell> = {}
  for (let index = 0; index < names.length; index++) {
    const name = names[index] ?? ''
    const value = cellAt(index)
    // Assigning it would set the prototype and no column.
    if (name === '__proto__') Object.defineProperty(cells, name, { value, enumerable: true })
    else cells[name] = value
  }
  return cells
}
