import type { Cell, Cells, UnfitColumn } from './store.ts'

/** The first column that could not hold its cell, by what the driver says of one column. */
export function firstUnfit<Column>(
  columns: ReadonlyMap<string, Column>,
  cells: Cells,
  unfitness: (column: Column, cell: Cell) => string | undefined,
): UnfitColumn | undefined {
  for (const [name, cell] of Object.entries(cells)) {
    const column = columns.get(name)
    const why = column === undefined ? undefined : unfitness(column, cell)
    if (why !== undefined) return { column: name, why }
  }
  return undefined
}
