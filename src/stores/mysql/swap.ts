import { isDeepStrictEqual } from 'node:util'
import { KvxError } from '../../core/errors.ts'
import { describeTarget, shapeError, shown } from '../server-errors.ts'
import type { ServerBatch } from '../server-writes.ts'
import type { Cell, Cells, RecordId, RecordSet, StoredRecord, Swap, SwapOutcome } from '../store.ts'
import { type Column, encodeCell, encodeChange, matches, quoted, selected, written } from './columns.ts'
import type { Connection } from './connection.ts'
import { encodeId, idChunks, matchesId } from './ids.ts'
import { cellsOf } from './scan.ts'
import { columnOf, type Table } from './table.ts'

/** Swaps of one record set inside a transaction that is open. */
type Batch = ServerBatch<Table>

/** Locks all rows of a batch in the order of their ids, then compares and writes one after the other. */
export async function writeSwaps(connection: Connection, batch: Batch): Promise<readonly SwapOutcome[]> {
  const { table, set, swaps } = batch
  for (const { change } of swaps) {
    for (const [name, cell] of Object.entries(change)) encoded(connection.target, columnOf(table, name), cell)
  }
  const ids = swaps.map(({ id }) => id)
  const present = await findRecords(connection, { table, set, columns: [], ids })
  const outcomes: SwapOutcome[] = []
  for (const [index, swap] of swaps.entries()) {
    const isThere = present[index] !== undefined
    outcomes.push(isThere ? await swapOne(connection, batch, swap) : 'gone')
  }
  return outcomes
}

/** The parameter for a cell that is to be written. */
export function encoded(target: Connection['target'], column: Column, cell: Cell | undefined): string | null {
  const text = encodeChange(column.kind, cell ?? null)
  if (text !== undefined) return text
  throw shapeError(target, `column ${shown(column.name)} has a type that cannot hold what is to be written`)
}

async function swapOne(connection: Connection, { table, set }: Batch, swap: Swap): Promise<SwapOutcome> {
  const where = matchesId(table, set, encodeId(table, set, swap.id) ?? [])
  const expected = Object.entries(swap.expected).map(([name, cell]) => {
    const column = columnOf(table, name)
    return { sql: matches(column), value: encodeCell(column.kind, cell) }
  })
  if (expected.some(({ value }) => value === undefined)) return 'lost'
  const change = Object.entries(swap.change).map(([name, cell]) => {
    const column = columnOf(table, name)
    return { sql: `${quoted(name)} = ${written(column)}`, value: encoded(connection.target, column, cell) }
  })
  const found = await connection.run(
    `UPDATE ${table.sql} SET ${change.map(({ sql }) => sql).join(', ')}
      WHERE ${[where, ...expected].map(({ sql }) => sql).join(' AND ')}`,
    [...change.map(({ value }) => value), ...where.values, ...expected.map(({ value }) => value ?? null)],
  )
  return found === 1 ? 'changed' : 'lost'
}

type Find = {
  readonly table: Table
  readonly set: RecordSet
  readonly columns: readonly string[]
  readonly ids: readonly RecordId[]
}

/** The records as they are now, in the order of the ids, undefined where there is none; their rows are locked. */
export async function findRecords(
  connection: Connection,
  { table, set, columns, ids }: Find,
): Promise<readonly (Cells | undefined)[]> {
  const known = ids.flatMap((id, at) => {
    const texts = encodeId(table, set, id)
    return texts === undefined ? [] : [{ at, texts }]
  })
  const sorted = known.sort((one, other) => (one.texts.join('\0') < other.texts.join('\0') ? -1 : 1))
  const found = new Map<string, Cells>()
  const names = [...set.id, ...columns]
  const list = names.map((name) => selected(columnOf(table, name))).join(', ')
  const order = table.order.map(({ sql }) => sql).join(', ')
  for (const { sql, values, items } of idChunks(table, set, sorted)) {
    const rows = await connection.rows(
      `SELECT ${list} FROM ${table.sql} WHERE ${sql} ORDER BY ${order} FOR UPDATE`,
      values,
    )
    const distinct = new Set(items.map(({ texts }) => JSON.stringify(texts)))
    if (rows.length > distinct.size)
      throw shapeError(connection.target, `two records of ${shown(set.table)} have the same id`)
    for (const row of rows) {
      const id = Object.values(cellsOf(table, set.id, row))
      found.set(JSON.stringify(encodeId(table, set, id)), cellsOf(table, columns, row.slice(set.id.length)))
    }
  }
  return ids.map((id) => found.get(JSON.stringify(encodeId(table, set, id))))
}

/**
 * Reads the changed records anew inside their transaction, in the order of the swaps, and compares them with
 * what was written: a trigger or the column's type can have changed it.
 * @throws READ_BACK_FAILED
 */
export async function readChanged(
  connection: Connection,
  { table, set, swaps }: Batch,
): Promise<readonly StoredRecord[]> {
  const ids = swaps.map(({ id }) => id)
  const found = await findRecords(connection, { table, set, columns: set.columns, ids })
  return swaps.map(({ id, change }, index) => {
    requireWritten(connection, { table, set }, { wanted: change, found: found[index] })
    return { id, cells: found[index] ?? {} }
  })
}

type Written = { readonly wanted: Cells; readonly found: Cells | undefined }

export function requireWritten(
  { target }: Connection,
  { table, set }: { readonly table: Table; readonly set: RecordSet },
  { wanted, found }: Written,
): void {
  const differs = Object.keys(wanted).find((name) => {
    const column = columnOf(table, name)
    if (found === undefined) return true
    const [now, then] = [
      encodeCell(column.kind, found[name] ?? null),
      encodeChange(column.kind, wanted[name] ?? null),
    ]
    return now !== then && !(column.kind === 'json' && sameJson(now, then))
  })
  if (differs === undefined) return
  throw new KvxError(
    'READ_BACK_FAILED',
    `${describeTarget(target)}: column ${shown(differs)} of table ${shown(set.table)} does not hold what was written, nothing of the batch was kept`,
    { hint: 'look for triggers and the column type with `SHOW CREATE TABLE …` and `SHOW TRIGGERS`' },
  )
}

/** A column of JSON keeps the value and no spelling. */
function sameJson(one: string | null | undefined, other: string | null | undefined): boolean {
  try {
    return isDeepStrictEqual(JSON.parse(one ?? ''), JSON.parse(other ?? ''))
  } catch {
    return false
  }
}
