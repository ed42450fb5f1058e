import { nearest } from '../config/nearest.ts'
import { KvxError } from '../core/errors.ts'
import { type ServerTarget, shapeError, shown } from './server-errors.ts'
import type { RecordSet, Swap } from './store.ts'

/** What no table of a database server may be like, or be asked for. */

type Columns = ReadonlyMap<string, { readonly generated: boolean }>

/** @param look how an operator lists the tables */
export function noSuchTable(
  target: ServerTarget,
  written: string,
  { tables, look }: { readonly tables: Iterable<string>; readonly look: string },
): KvxError {
  return shapeError(target, `there is no table ${shown(written)}`, suggestion(nearest(written, tables), look))
}

/** @throws STORE_SHAPE for an id without columns, or a column that is missing; `look` shows the table */
export function requireColumns(target: ServerTarget, set: RecordSet, columns: Columns, look: string): void {
  if (set.id.length === 0) throw shapeError(target, `no id columns are declared for ${shown(set.table)}`)
  const missing = [...set.id, ...set.columns].find((name) => !columns.has(name))
  if (missing === undefined) return
  throw shapeError(
    target,
    `table ${shown(set.table)} has no column ${shown(missing)}`,
    suggestion(nearest(missing, columns.keys()), look),
  )
}

function suggestion(meant: string | undefined, look: string) {
  return meant === undefined
    ? { hint: look }
    : { hint: `did you mean ${shown(meant)}? ${look}`, details: { nearest: meant } }
}

/** @throws STORE_SHAPE when ids of so many records are `null` or `not unique` */
export function refuseIds(
  target: ServerTarget,
  set: RecordSet,
  { count, problem }: { readonly count: number; readonly problem: 'null' | 'not unique' },
): void {
  if (count === 0) return
  const id = set.id.map(shown).join(', ')
  const records = count === 1 ? '1 record' : `${count} records`
  throw shapeError(target, `the id (${id}) of table ${shown(set.table)} is ${problem} in ${records}`, {
    hint: 'declare columns as `id` in kvx.yaml that name each record once',
    details: { records: count },
  })
}

/** @throws STORE_SHAPE when a swap would change what cannot be changed */
export function requireWritable(
  target: ServerTarget,
  { table, set, swaps }: { table: { columns: Columns }; set: RecordSet; swaps: readonly Swap[] },
): void {
  const declared = new Set(set.columns)
  for (const { id, expected, change } of swaps) {
    const changed = Object.keys(change)
    const generated = changed.find((name) => table.columns.get(name)?.generated === true)
    const key = changed.find((name) => set.id.includes(name))
    if (generated !== undefined)
      throw shapeError(target, `column ${shown(generated)} is generated and cannot be changed`)
    if (key !== undefined) throw shapeError(target, `column ${shown(key)} is the id and cannot be changed`)
    const stranger = [...Object.keys(expected), ...changed].find((name) => !declared.has(name))
    if (stranger !== undefined || changed.length === 0 || id.length !== set.id.length)
      throw new KvxError('BUG', 'a swap names its id and changes columns of its record set')
  }
}

/** @throws STORE_SHAPE when a record that comes back has a column that is gone or generated now */
export function requireInsertable(
  target: ServerTarget,
  set: RecordSet,
  { columns, names }: { readonly columns: Columns; readonly names: readonly string[] },
): void {
  const unknown = names.find((name) => columns.get(name)?.generated !== false)
  if (unknown === undefined) return
  throw shapeError(target, `table ${shown(set.table)} has no writable column ${shown(unknown)} any more`)
}

/** A record that comes back meets another one with a value that must be unique. */
export function takenByAnother(target: ServerTarget, set: RecordSet): KvxError {
  return shapeError(
    target,
    `a record of ${shown(set.table)} cannot come back: another one holds a value of it that must be unique`,
    { hint: 'find the other record by the unique columns of the table, and decide which one stays' },
  )
}
