import { setImmediate } from 'node:timers/promises'
import type { CatalogueTable, Cell, Cells, RecordSet, Store, StoredRecord } from '../../stores/store.ts'
import { stopIfInterrupted } from '../events.ts'

/** Records of one table that have something in the columns that are looked at. */
export type Sample = {
  readonly table: CatalogueTable
  readonly idColumns: readonly string[]
  readonly records: readonly StoredRecord[]
  /** Records that were read for it. */
  readonly looked: number
  /** What envelopes declare: a copy that nobody declared lies as they do, in whatever layout. */
  readonly known?: readonly DeclaredLayout[]
}

export type DeclaredLayout = { readonly envelope: string; readonly layout: string }

const pageSize = 100
/** Columns that are mostly empty get so many times the records of a sample. */
const patience = 50
const maxBytes = 64 * 1_048_576

/**
 * Reads a table until each column has `wanted` values, in the order of its records, so that the oldest are among
 * them; ends at the end of the table, or where what was read for nothing becomes too much.
 */
export async function sampleTable(store: Store, table: CatalogueTable, wanted: number): Promise<Sample> {
  // A table of SQLite without a key can still be read by its row numbers.
  const idColumns = table.id ?? ['rowid']
  const columns = table.columns.map(({ name }) => name)
  const set: RecordSet = { table: table.table, id: idColumns, columns, sampled: true }
  const filled = new Map(columns.map((column) => [column, 0]))
  const records: StoredRecord[] = []
  let looked = 0
  let bytes = 0
  for await (const page of store.scan(set, pageSize)) {
    await setImmediate()
    stopIfInterrupted(undefined)
    for (const record of page) {
      looked++
      if (!takes(record.cells, filled, wanted)) continue
      records.push(record)
      bytes += sizeOf(record.cells)
    }
    const isFull = [...filled.values()].every((count) => count >= wanted)
    if (isFull || looked >= wanted * patience || bytes >= maxBytes) break
  }
  return { table, idColumns, records, looked }
}

/** Whether the record has a value in a column that has too few yet. */
function takes(cells: Cells, filled: Map<string, number>, wanted: number): boolean {
  let isUseful = false
  for (const [column, count] of filled) {
    if (bytesOf(cells[column] ?? null) === undefined) continue
    if (count < wanted) isUseful = true
    filled.set(column, count + 1)
  }
  return isUseful
}

function sizeOf(cells: Cells): number {
  return Object.values(cells).reduce<number>((sum, cell) => sum + (bytesOf(cell)?.length ?? 0), 0)
}

/** A cell that a sealed value can be: text as UTF-8, or bytes. */
export function bytesOf(cell: Cell): Buffer | undefined {
  if (typeof cell === 'string') return cell === '' ? undefined : Buffer.from(cell, 'utf8')
  if (!(cell instanceof Uint8Array) || cell.length === 0) return undefined
  return Buffer.from(cell.buffer, cell.byteOffset, cell.byteLength)
}
