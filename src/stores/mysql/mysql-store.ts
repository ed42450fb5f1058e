import { setTimeout as sleep } from 'node:timers/promises'
import type { ReadBack, RecordSet, Store, StoredRecord, SwapBatch, SwapOutcome } from '../store.ts'
import { readCatalogue } from './catalogue.ts'
import { connect, type Connection } from './connection.ts'
import { inspectRecords } from './inspect.ts'
import { isTransient } from './mysql-errors.ts'
import { placeOf } from './mysql-url.ts'
import { scanPages } from './scan.ts'
import { type Batch, readChanged, writeSwaps } from './swap.ts'
import { readTable, type Table } from './table.ts'
import { fetchRecords, insertRecords } from './whole-records.ts'

export type MysqlStoreOptions = {
  readonly name: string
  /** With the credentials. */
  readonly url: string
  /** How long a call waits for another writer, three times, before it throws LOCKED; 5000 unless told. */
  readonly busyMs?: number
  readonly statementMs?: number | undefined
  /** A run follows: a role that can only read, and a standby, are refused by `inspect`. */
  readonly forWriting?: boolean
  /** Throws when the lock that keeps other runs away was lost. Asked before each write. */
  readonly requireLock?: () => void
}

/** @throws STORE_UNAVAILABLE, STORE_SHAPE when the database is not there */
export async function openMysqlStore(options: MysqlStoreOptions): Promise<Store> {
  const connection = await connect({
    target: { name: options.name, place: placeOf(options.url) },
    url: options.url,
    lockMs: options.busyMs ?? 5000,
    statementMs: options.statementMs,
  })
  const known = new Map<string, Table>()
  const tableOf = async (set: RecordSet): Promise<Table> => {
    const key = JSON.stringify([set.table, set.id, set.columns])
    const table = known.get(key) ?? (await readTable(connection, set))
    known.set(key, table)
    return table
  }
  return {
    name: options.name,
    driver: 'mysql',
    inspect: async (set) => {
      known.clear()
      const forWriting = options.forWriting === true
      return await inspectRecords(connection, await tableOf(set), { set, forWriting })
    },
    scan: (set, pageSize) => scanPages(connection, async () => await tableOf(set), { set, pageSize }),
    fetch: async (set, ids) => await fetchRecords(connection, { table: await tableOf(set), set }, ids),
    ...writesOf(connection, tableOf, options.requireLock),
    catalogue: async () => await readCatalogue(connection),
    // A commit is on the medium when it is acknowledged. Old versions of rows stay in the undo log until purge.
    settle: async () => undefined,
    close: async () => await connection.close(),
  }
}

function writesOf(
  connection: Connection,
  tableOf: (set: RecordSet) => Promise<Table>,
  requireLock: MysqlStoreOptions['requireLock'],
): Pick<Store, 'swap' | 'insertMissing'> & Required<Pick<Store, 'swapTogether'>> {
  const write = async <T>(work: () => Promise<T>): Promise<T> =>
    await severalTimes(async () => {
      requireLock?.()
      return await connection.transaction(work)
    })
  return {
    swap: async (set, swaps, readBack) => {
      if (swaps.length === 0) return []
      const table = await tableOf(set)
      return await write(async () => await writeBatch(connection, { table, set, swaps }, readBack))
    },
    swapTogether: async (batches, readBack) => {
      const tables = new Map<SwapBatch, Table>()
      for (const batch of batches) tables.set(batch, await tableOf(batch.set))
      try {
        return await write(async () => await writeTogether(connection, { batches, tables }, readBack))
      } catch (error) {
        if (error instanceof NotAll) return error.outcomes
        throw error
      }
    },
    insertMissing: async (set, records) => {
      if (records.length === 0) return []
      const table = await tableOf(set)
      return await write(async () => await insertRecords(connection, { table, set }, records))
    },
  }
}

async function writeBatch(
  connection: Connection,
  batch: Batch,
  readBack: ReadBack,
): Promise<readonly SwapOutcome[]> {
  const outcomes = await writeSwaps(connection, batch)
  const changed = batch.swaps.filter((_, index) => outcomes[index] === 'changed')
  if (changed.length === 0) return outcomes
  readBack(await readChanged(connection, { ...batch, swaps: changed }))
  return outcomes
}

/** Leaves the transaction, so that it is rolled back, with what became of the swaps. */
class NotAll extends Error {
  readonly outcomes: readonly (readonly SwapOutcome[])[]

  constructor(outcomes: readonly (readonly SwapOutcome[])[]) {
    super('not every swap was made')
    this.outcomes = outcomes
  }
}

type Together = {
  readonly batches: readonly SwapBatch[]
  readonly tables: ReadonlyMap<SwapBatch, Table>
}

async function writeTogether(
  connection: Connection,
  { batches, tables }: Together,
  readBack: (records: readonly StoredRecord[], batch: number) => void,
): Promise<readonly (readonly SwapOutcome[])[]> {
  const open = batches.flatMap((batch) => {
    const table = tables.get(batch)
    return table === undefined ? [] : [{ table, ...batch }]
  })
  const outcomes: (readonly SwapOutcome[])[] = []
  for (const batch of open) outcomes.push(await writeSwaps(connection, batch))
  if (outcomes.flat().some((outcome) => outcome !== 'changed')) throw new NotAll(outcomes)
  for (const [index, batch] of open.entries()) readBack(await readChanged(connection, batch), index)
  return outcomes
}

const tries = 3

/** A deadlock, a lock or a statement that took too long is tried again: nothing of it was written. */
async function severalTimes<T>(work: () => Promise<T>): Promise<T> {
  for (let left = tries - 1; ; left--) {
    try {
      return await work()
    } catch (error) {
      if (left === 0 || !isTransient(error)) throw error
      await sleep(20 + Math.random() * 80)
    }
  }
}
