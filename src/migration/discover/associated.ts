import type { Cells } from '../../stores/store.ts'

/** A few signs that applications put between what they bind. */
const signs = [':', '|', '/', '.', '-', '_', '']
const longest = 128
const mostColumns = 6

export type Bound = {
  readonly table: string
  readonly column: string
  readonly idColumns: readonly string[]
  /** The record's columns, id included. */
  readonly cells: Cells
}

/**
 * Associated data that applications bind their values with: the id, names of table and column, another short column,
 * one or two of them with a sign in between. Templates of the layout language, the usual ones first.
 */
export function associatedData({ table, column, idColumns, cells }: Bound): readonly string[] {
  const names = [table, column].filter((name) => /^[\w.-]+$/.test(name)).map((name) => JSON.stringify(name))
  const ids = idColumns.filter((name) => isShort(cells[name])).map(reference)
  const others = Object.keys(cells)
    .filter((name) => !idColumns.includes(name) && name !== column && isShort(cells[name]))
    .slice(0, mostColumns)
    .map(reference)
  const columns = [...ids, ...others]
  const pairs = [
    ...names.flatMap((name) => columns.map((each) => [name, each])),
    ...columns.flatMap((each) => names.map((name) => [each, name])),
    ...columns.flatMap((one) => columns.filter((other) => other !== one).map((other) => [one, other])),
  ]
  const triples = names.length < 2 ? [] : ids.map((id) => [...names, id])
  const joined = [...pairs, ...triples].flatMap((items) => signs.map((sign) => join(items, sign)))
  return [...columns, ...names, ...joined]
}

function isShort(cell: Cells[string] | undefined): boolean {
  if (typeof cell === 'bigint') return true
  return typeof cell === 'string' && cell !== '' && cell.length <= longest && cell.isWellFormed()
}

export function reference(column: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(column) ? `{${column}}` : `{${JSON.stringify(column)}}`
}

function join(items: readonly string[], sign: string): string {
  return items.join(sign === '' ? ' ' : ` ${JSON.stringify(sign)} `)
}
