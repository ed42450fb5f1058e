import { KvxError } from '../../core/errors.ts'
import { describeTarget, shapeError, shown } from '../server-errors.ts'
import type { ServerBatch } from '../server-writes.ts'
import type { Cells, RecordSet, StoredRecord, Swap, SwapOutcome } from '../store.ts'
import { chunksOf, encodeId, joinsId, sizeOfCell, sourceOf } from './batch.ts'
import type { Connection } from './connection.ts'
import { encodeCell, encodeChange, matches, quoted, typed } from './columns.ts'
import { cellsOf, orderOf } from './scan.ts'
import { columnOf, type Table } from './table.ts'

/** Swaps of one record set inside a transaction that is open. */
type Batch = ServerBatch<Table>

/** A swap as texts: its place in the batch, what finds it, what it expects and what it changes. */
type Prepared = {
  readonly at: number
  readonly id: readonly string[]
  /** Undefined when a column cannot hold what is expected of it. */
  readonly expected: readonly (readonly [string, string | null])[] | undefined
  readonly change: readonly (readonly [string, string | null])[]
}

/**
 * Compares and writes a batch. All its rows are locked first, in the order of their ids, so that two batches
 * cannot wait for each other; then one statement for swaps of the same columns compares and writes them.
 */
export async function writeSwaps(connection: Connection, batch: Batch): Promise<readonly SwapOutcome[]> {
  const prepared = batch.swaps.flatMap((swap, at) => prepare(connection, batch, { swap, at }))
  const outcomes: SwapOutcome[] = batch.swaps.map(() => 'gone')
  for (const at of await lockRows(connection, batch, prepared)) outcomes[at] = 'lost'
  const writable = prepared.filter(({ at, expected }) => outcomes[at] === 'lost' && expected !== undefined)
  for (const group of groupsOf(writable)) {
    for (const chunk of chunksOf(group, (one) => sizeOfSwap(batch.swaps[one.at]))) {
      const written = await updateRows(connection, batch, chunk)
      for (const at of written) outcomes[at] = 'changed'
      const missed = chunk.filter(({ at }) => !written.has(at))
      if (missed.length > 0) await refuseSuppressed(connection, batch, missed)
    }
  }
  return outcomes
}

function prepare(
  { target }: Connection,
  { table, set }: Batch,
  { swap, at }: { readonly swap: Swap; readonly at: number },
): readonly Prepared[] {
  const id = encodeId(table, set, swap.id)
  const expected = Object.entries(swap.expected).map(
    ([name, cell]) => [name, encodeCell(columnOf(table, name).kind, cell)] as const,
  )
  const change = Object.entries(swap.change).map(([name, cell]) => {
    const text = encodeChange(columnOf(table, name).kind, cell)
    if (text === undefined) throw unfit(target, name)
    return [name, text] as const
  })
  if (id === undefined) return []
  const comparable = expected.every((pair): pair is readonly [string, string | null] => pair[1] !== undefined)
  return [{ at, id, expected: comparable ? expected : undefined, change }]
}

/** A cell that no value of the column's type can be. */
export function unfit(target: Connection['target'], column: string): KvxError {
  return shapeError(target, `column ${shown(column)} has a type that cannot hold what is to be written`)
}

/** @returns the places of the swaps whose record exists. */
async function lockRows(
  connection: Connection,
  { table, set }: Batch,
  prepared: readonly Prepared[],
): Promise<ReadonlySet<number>> {
  if (prepared.length === 0) return new Set()
  const source = sourceOf(
    set.id.length,
    prepared.map(({ id }) => id),
  )
  const rows = await connection.rows(
    `SELECT u.n FROM ${table.sql} AS t JOIN ${source.sql} ON ${joinsId(table, set)}
      ORDER BY ${orderOf(table).join(', ')} FOR NO KEY UPDATE OF t`,
    source.values,
  )
  const found = rows.map(([n]) => prepared[Number(n) - 1]?.at ?? -1)
  if (new Set(found).size < found.length)
    throw shapeError(connection.target, `two records of ${shown(set.table)} have the same id`)
  return new Set(found)
}

/** Swaps over the same columns; no record twice in a group, since one statement changes a row once. */
function groupsOf(swaps: readonly Prepared[]): Iterable<readonly Prepared[]> {
  const seen = new Map<string, number>()
  return Map.groupBy(swaps, ({ id, expected, change }) => {
    const record = JSON.stringify(id)
    const turn = seen.get(record) ?? 0
    seen.set(record, turn + 1)
    const names = [expected ?? [], change].map((pairs) => pairs.map(([name]) => name))
    return JSON.stringify([turn, ...names])
  }).values()
}

function sizeOfSwap(swap: Swap | undefined): number {
  const cells = swap === undefined ? [] : [...Object.values(swap.expected), ...Object.values(swap.change)]
  return cells.reduce((sum: number, cell) => sum + sizeOfCell(cell), 0)
}

/** What finds the rows of a chunk that hold what is expected, and the texts for it. */
function comparison({ table, set }: Batch, chunk: readonly Prepared[]) {
  const [first] = chunk
  const expected = first?.expected ?? []
  const change = first?.change ?? []
  const [compared, written] = [set.id.length, set.id.length + expected.length]
  const source = sourceOf(
    written + change.length,
    chunk.map((one) => [...one.id, ...[...(one.expected ?? []), ...one.change].map(([, text]) => text)]),
  )
  const exact = expected.map(([name], index) => matches(columnOf(table, name), `u.c${compared + index}`))
  const where = [joinsId(table, set), ...exact].join(' AND ')
  const assignments = change.map(
    ([name], index) => `${quoted(name)} = ${typed(columnOf(table, name), `u.c${written + index}`)}`,
  )
  return { source, where, assignments: assignments.join(', ') }
}

async function updateRows(
  connection: Connection,
  batch: Batch,
  chunk: readonly Prepared[],
): Promise<ReadonlySet<number>> {
  const { source, where, assignments } = comparison(batch, chunk)
  const rows = await connection.rows(
    `UPDATE ${batch.table.sql} AS t SET ${assignments} FROM ${source.sql} WHERE ${where} RETURNING u.n`,
    source.values,
  )
  return new Set(rows.map(([n]) => chunk[Number(n) - 1]?.at ?? -1))
}

/** A row that holds what is expected and was not changed: a trigger or a rule keeps it from being written. */
async function refuseSuppressed(
  connection: Connection,
  batch: Batch,
  missed: readonly Prepared[],
): Promise<void> {
  const { source, where } = comparison(batch, missed)
  const [found] = await connection.rows(
    `SELECT count(*) FROM ${batch.table.sql} AS t, ${source.sql} WHERE ${where}`,
    source.values,
  )
  if (found?.[0] === '0') return
  throw new KvxError(
    'READ_BACK_FAILED',
    `${describeTarget(connection.target)}: a trigger or a rule of ${shown(batch.set.table)} keeps a record from being changed`,
  )
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
  const records: StoredRecord[] = []
  for (const chunk of chunksOf(swaps, sizeOfSwap)) {
    const found = await selectWritten(connection, {
      table,
      set,
      columns: set.columns,
      records: chunk.map(({ id, change }) => ({ id, cells: change })),
    })
    chunk.forEach(({ id }, index) => records.push({ id, cells: found[index] ?? {} }))
  }
  return records
}

type Written = {
  readonly table: Table
  readonly set: RecordSet
  /** What is read. */
  readonly columns: readonly string[]
  /** What was written, by the id of its record. */
  readonly records: readonly StoredRecord[]
}

/**
 * The records as they are now, in this order.
 * @throws READ_BACK_FAILED naming the column when one does not hold what was written
 */
export async function selectWritten(connection: Connection, written: Written): Promise<readonly Cells[]> {
  const { table, set, columns, records } = written
  const names = [...new Set(records.flatMap(({ cells }) => Object.keys(cells)))]
  const rows = records.map(({ id, cells }) => [
    ...(encodeId(table, set, id) ?? []),
    // Whether the column was written at all, then what.
    ...names.flatMap((name) => {
      const wrote = Object.hasOwn(cells, name)
      const text = wrote ? encodeChange(columnOf(table, name).kind, cells[name] ?? null) : null
      return [wrote ? 'y' : 'n', text ?? null]
    }),
  ])
  const source = sourceOf(set.id.length + 2 * names.length, rows)
  const differs = names.map((name, index) => {
    const at = set.id.length + 2 * index
    return `WHEN u.c${at} = 'y' AND NOT (${matches(columnOf(table, name), `u.c${at + 1}`)}) THEN ${index}`
  })
  const list = columns.map((name) => `t.${quoted(name)}`)
  const found = await connection.rows(
    `SELECT u.n, ${differs.length === 0 ? 'NULL' : `CASE ${differs.join(' ')} END`}, ${list.join(', ') || 'NULL'}
      FROM ${table.sql} AS t JOIN ${source.sql} ON ${joinsId(table, set)}`,
    source.values,
  )
  const byPlace = new Map(found.map((row) => [Number(row[0]) - 1, row]))
  return records.map((_, index) => {
    const row = byPlace.get(index)
    const wrong = row === undefined ? (names[0] ?? '') : names[Number(row[1] ?? -1)]
    if (row === undefined || wrong !== undefined) throw notWritten(connection, set, wrong ?? '')
    return cellsOf(table, columns, row.slice(2))
  })
}

function notWritten({ target }: Connection, set: RecordSet, column: string): KvxError {
  return new KvxError(
    'READ_BACK_FAILED',
    `${describeTarget(target)}: column ${shown(column)} of table ${shown(set.table)} does not hold what was written, nothing of the batch was kept`,
    { hint: "look for triggers and the column type with `psql -c '\\d TABLE'`" },
  )
}
