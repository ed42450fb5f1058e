import { KvxError } from '../../core/errors.ts'
import type {
  Cell,
  Cells,
  ReadBack,
  RecordSet,
  StoredRecord,
  Swap,
  SwapBatch as SetBatch,
  SwapOutcome,
} from '../store.ts'
import type { Database } from './database.ts'
import { readTable, shown, type Table } from './schema.ts'
import { selectedCells } from './selected.ts'
import { describeTarget, shapeError, shellWord } from './sqlite-errors.ts'
import { both, type Condition, insert, matchesCells, matchesId, selectById, update } from './statements.ts'

export type SwapBatch = {
  readonly set: RecordSet
  readonly swaps: readonly Swap[]
  readonly readBack: ReadBack
}

/** The `swap` of the store contract. `readBack` is not called when nothing changed. */
export function swapRecords(database: Database, { set, swaps, readBack }: SwapBatch): readonly SwapOutcome[] {
  if (swaps.length === 0) return []
  return database.transaction('IMMEDIATE', () => {
    const table = readTable(database, set)
    requireWritable(database, { table, set, swaps })
    const outcomes = swaps.map((swap) => swapOne(database, { table, set, swap }))
    const changed = swaps.filter((_, index) => outcomes[index] === 'changed')
    if (changed.length > 0) readBack(changed.map((swap) => readChanged(database, { table, set, swap })))
    return outcomes
  })
}

/** Ends a transaction that shall leave nothing behind. */
class NotTogether extends Error {}

/**
 * The `swapTogether` of the store contract. Every swap is tried, so that the outcomes name all that were lost or
 * gone; when there is one, nothing stays written.
 */
export function swapTogether(
  database: Database,
  batches: readonly SetBatch[],
  readBack: (records: readonly StoredRecord[], batch: number) => void,
): readonly (readonly SwapOutcome[])[] {
  const outcomes: (readonly SwapOutcome[])[] = []
  try {
    database.transaction('IMMEDIATE', () => {
      const tables = batches.map(({ set, swaps }) => {
        const table = readTable(database, set)
        requireWritable(database, { table, set, swaps })
        outcomes.push(swaps.map((swap) => swapOne(database, { table, set, swap })))
        return table
      })
      if (outcomes.flat().some((outcome) => outcome !== 'changed')) throw new NotTogether()
      // After all writes: a trigger of one table can change a record of another one.
      batches.forEach(({ set, swaps }, at) => {
        const table = tables[at]
        if (table === undefined) throw new KvxError('BUG', 'each batch has its table')
        const read = swaps.map((swap) => readChanged(database, { table, set, swap }))
        readBack(read, at)
      })
    })
  } catch (error) {
    if (!(error instanceof NotTogether)) throw error
  }
  return outcomes
}

type Batch = { readonly table: Table; readonly set: RecordSet; readonly swaps: readonly Swap[] }

function requireWritable(database: Database, { table, set, swaps }: Batch): void {
  const isStranger = (column: string): boolean => !set.columns.includes(column)
  for (const { id, expected, change } of swaps) {
    const changed = Object.keys(change)
    const stranger = Object.keys(expected).find(isStranger) ?? changed.find(isStranger)
    const generated = changed.find((column) => table.generated.has(column))
    const key = changed.find((column) => set.id.includes(column))
    if (generated !== undefined) {
      throw shapeError(database.target, `column ${shown(generated)} is generated and cannot be changed`)
    }
    if (key !== undefined)
      throw shapeError(database.target, `column ${shown(key)} is the id and cannot be changed`)
    if (stranger !== undefined || changed.length === 0 || id.length !== set.id.length) {
      throw new KvxError('BUG', 'a swap names its id and changes columns of its record set')
    }
  }
}

type One = { readonly table: Table; readonly set: RecordSet; readonly swap: Swap }

function swapOne(database: Database, { table, set, swap }: One): SwapOutcome {
  const id = matchesId(table, set.id, swap.id)
  const whole = both(id, matchesCells(swap.expected))
  const { sql, values } = update(table, swap.change, whole)
  const changes = database.run(sql, values)
  if (changes === 1) return 'changed'
  if (changes > 1)
    throw shapeError(database.target, `${changes} records of ${shown(table.name)} have the same id`)
  if (!exists(database, table, id)) return 'gone'
  if (exists(database, table, whole)) {
    const what = `${describeTarget(database.target)}: a trigger of ${shown(table.name)} keeps a record from being changed`
    throw new KvxError('READ_BACK_FAILED', what)
  }
  return 'lost'
}

function exists(database: Database, table: Table, where: Condition): boolean {
  const { sql, values } = selectById(table, [], where)
  return database.rows(sql, values).length > 0
}

/**
 * Reads a changed record inside its transaction and compares it with what was written, storage class included: a
 * trigger or a column's affinity can have changed it. A number in a column of text is the one exception.
 */
function readChanged(database: Database, { table, set, swap }: One): StoredRecord {
  const { sql, values } = selectById(table, set.columns, matchesId(table, set.id, swap.id))
  const [row] = database.rows(sql, values)
  const cells = selectedCells(row ?? [], set.columns)
  requireWritten(database, table, { wanted: swap.change, found: row === undefined ? undefined : cells })
  return { id: swap.id, cells }
}

type Written = { readonly wanted: Cells; readonly found: Cells | undefined }

function requireWritten(database: Database, table: Table, { wanted, found }: Written): void {
  const differs = Object.keys(wanted).find((column) => !sameCell(wanted[column], found?.[column]))
  if (differs === undefined) return
  throw new KvxError(
    'READ_BACK_FAILED',
    `${describeTarget(database.target)}: column ${shown(differs)} of table ${shown(table.name)} does not hold what was written, nothing of the batch was kept`,
    {
      hint: `look for triggers and the column type with \`sqlite3 ${shellWord(database.target.path)} .schema\``,
    },
  )
}

function sameCell(wanted: Cell | undefined, found: Cell | undefined): boolean {
  if (wanted instanceof Uint8Array && found instanceof Uint8Array) return Buffer.compare(wanted, found) === 0
  // A column of text keeps a number as its digits.
  return wanted === found || (typeof wanted === 'bigint' && found === String(wanted))
}

/** The `insertMissing` of the store contract: one transaction, read back before it commits. */
export function insertMissingRecords(
  database: Database,
  set: RecordSet,
  records: readonly StoredRecord[],
): readonly ('inserted' | 'present')[] {
  if (records.length === 0) return []
  return database.transaction('IMMEDIATE', () => {
    const table = readTable(database, set)
    return records.map((record) => {
      const id = matchesId(table, set.id, record.id)
      if (exists(database, table, id)) return 'present'
      insertOne(database, table, { id, record })
      return 'inserted'
    })
  })
}

type Missing = { readonly id: Condition; readonly record: StoredRecord }

function insertOne(database: Database, table: Table, { id, record }: Missing): void {
  const columns = Object.keys(record.cells)
  const unknown = columns.find((column) => !table.columns.includes(column))
  if (unknown !== undefined) {
    throw shapeError(
      database.target,
      `table ${shown(table.name)} has no writable column ${shown(unknown)} any more`,
    )
  }
  const { sql, values } = insert(table, record.cells)
  database.run(sql, values)
  const select = selectById(table, columns, id)
  const [row] = database.rows(select.sql, select.values)
  const found = selectedCells(row ?? [], columns)
  requireWritten(database, table, { wanted: record.cells, found: row === undefined ? undefined : found })
}
