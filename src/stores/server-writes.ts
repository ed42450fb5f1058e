import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerTarget } from './server-errors.ts'
import { requireWritable } from './server-refusals.ts'
import type { RecordSet, Store, StoredRecord, Swap, SwapOutcome } from './store.ts'

/** What the writes need to know of a table. */
export type ServerTable = { readonly columns: ReadonlyMap<string, { readonly generated: boolean }> }

/** Swaps of one record set with what the driver knows of its table. */
export type ServerBatch<Table> = {
  readonly table: Table
  readonly set: RecordSet
  readonly swaps: readonly Swap[]
}

/** What a database server's driver does inside a transaction; the order of the steps is the same for all. */
export type ServerWriter<Table> = {
  readonly target: ServerTarget
  tableOf(set: RecordSet): Promise<Table>
  /** Throws when the lock that keeps other runs away was lost. Asked before each transaction. */
  readonly requireLock: (() => void) | undefined
  /** Durable when it returns; rolled back with whatever `work` throws. */
  transaction<T>(work: () => Promise<T>): Promise<T>
  /** Locks the rows in the order of their ids, compares them, and writes those that hold what is expected. */
  writeSwaps(batch: ServerBatch<Table>): Promise<readonly SwapOutcome[]>
  /** What would run at the commit runs now, so that the read-back sees what it writes. */
  beforeReadBack(): Promise<void>
  readChanged(batch: ServerBatch<Table>): Promise<readonly StoredRecord[]>
  insertRecords(
    at: { readonly table: Table; readonly set: RecordSet },
    records: readonly StoredRecord[],
  ): Promise<readonly ('inserted' | 'present')[]>
  /** A deadlock, a lock or a statement that took too long: nothing of the transaction was written. */
  isTransient(error: unknown): boolean
}

/** The writes of the store contract: compare, write, read back, and only then commit. */
export function serverWrites<Table extends ServerTable>(
  writer: ServerWriter<Table>,
): Pick<Store, 'swap' | 'insertMissing'> & Required<Pick<Store, 'swapTogether'>> {
  const write = async <T>(work: () => Promise<T>): Promise<T> =>
    await severalTimes(writer, async () => {
      writer.requireLock?.()
      return await writer.transaction(work)
    })
  const batchOf = async (set: RecordSet, swaps: readonly Swap[]): Promise<ServerBatch<Table>> => {
    const batch = { table: await writer.tableOf(set), set, swaps }
    requireWritable(writer.target, batch)
    return batch
  }
  return {
    swap: async (set, swaps, readBack) => {
      if (swaps.length === 0) return []
      const batch = await batchOf(set, swaps)
      return await write(async () => {
        const outcomes = await writer.writeSwaps(batch)
        const changed = swaps.filter((_, index) => outcomes[index] === 'changed')
        if (changed.length === 0) return outcomes
        await writer.beforeReadBack()
        readBack(await writer.readChanged({ ...batch, swaps: changed }))
        return outcomes
      })
    },
    swapTogether: async (batches, readBack) => {
      const open: ServerBatch<Table>[] = []
      for (const batch of batches) open.push(await batchOf(batch.set, batch.swaps))
      try {
        return await write(async () => await writeTogether(writer, open, readBack))
      } catch (error) {
        if (error instanceof NotAll) return error.outcomes
        throw error
      }
    },
    insertMissing: async (set, records) => {
      if (records.length === 0) return []
      const table = await writer.tableOf(set)
      return await write(async () => await writer.insertRecords({ table, set }, records))
    },
  }
}

/** Leaves the transaction, so that it is rolled back, with what became of the swaps. */
class NotAll extends Error {
  readonly outcomes: readonly (readonly SwapOutcome[])[]

  constructor(outcomes: readonly (readonly SwapOutcome[])[]) {
    super('not every swap was made')
    this.outcomes = outcomes
  }
}

async function writeTogether<Table>(
  writer: ServerWriter<Table>,
  open: readonly ServerBatch<Table>[],
  readBack: (records: readonly StoredRecord[], batch: number) => void,
): Promise<readonly (readonly SwapOutcome[])[]> {
  const outcomes: (readonly SwapOutcome[])[] = []
  for (const batch of open) outcomes.push(await writer.writeSwaps(batch))
  if (outcomes.flat().some((outcome) => outcome !== 'changed')) throw new NotAll(outcomes)
  await writer.beforeReadBack()
  for (const [index, batch] of open.entries()) readBack(await writer.readChanged(batch), index)
  return outcomes
}

const tries = 3

async function severalTimes<Table, T>(writer: ServerWriter<Table>, work: () => Promise<T>): Promise<T> {
  for (let left = tries - 1; ; left--) {
    try {
      return await work()
    } catch (error) {
      if (left === 0 || !writer.isTransient(error)) throw error
      await sleep(20 + Math.random() * 80)
    }
  }
}
