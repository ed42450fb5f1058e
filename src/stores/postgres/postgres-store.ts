import { firstUnfit } from '../first-unfit.ts'
import { serverWrites } from '../server-writes.ts'
import type { RecordSet, Store } from '../store.ts'
import { readCatalogue } from './catalogue.ts'
import { unfitness } from './columns.ts'
import { connect } from './connection.ts'
import { inspectRecords } from './inspect.ts'
import { isTransient } from './postgres-errors.ts'
import { placeOf, verifiedTls } from './server-url.ts'
import { scanPages } from './scan.ts'
import { readChanged, writeSwaps } from './swap.ts'
import { readTable, type Table } from './table.ts'
import { fetchRecords, insertRecords } from './whole-records.ts'

export type PostgresStoreOptions = {
  readonly name: string
  /** With the credentials. */
  readonly url: string
  /** Where tables without one are looked for; the search path unless told. */
  readonly schema?: string | undefined
  /** How long a call waits for another writer, three times, before it throws LOCKED; 5000 unless told. */
  readonly busyMs?: number
  readonly statementMs?: number | undefined
  /** A run follows: a role that can only read, and a standby, are refused by `inspect`. */
  readonly forWriting?: boolean
  /** Throws when the lock that keeps other runs away was lost. Asked before each write. */
  readonly requireLock?: () => void
}

/** @throws STORE_UNAVAILABLE, STORE_SHAPE when the database is not there */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<Store> {
  const connection = await connect({
    target: { name: options.name, place: placeOf(options.url) },
    url: verifiedTls(options.url),
    applicationName: 'kvx',
    lockMs: options.busyMs ?? 5000,
    statementMs: options.statementMs,
  })
  const known = new Map<string, Table>()
  const tableOf = async (set: RecordSet): Promise<Table> => {
    const key = JSON.stringify([set.table, set.id, set.columns])
    const table = known.get(key) ?? (await readTable(connection, set, options.schema))
    known.set(key, table)
    return table
  }
  return {
    name: options.name,
    driver: 'postgres',
    overlaps: true,
    inspect: async (set) => {
      known.clear()
      const forWriting = options.forWriting === true
      return await inspectRecords(connection, await tableOf(set), { set, forWriting })
    },
    scan: (set, pageSize) => scanPages(connection, async () => await tableOf(set), { set, pageSize }),
    probe: async () => void (await connection.rowsInTurn('SELECT 1')),
    fetch: async (set, ids) => await fetchRecords(connection, { table: await tableOf(set), set }, ids),
    ...serverWrites<Table>({
      target: connection.target,
      tableOf,
      requireLock: options.requireLock,
      transaction: async (work) => await connection.transaction('READ WRITE', work),
      writeSwaps: async (batch) => await writeSwaps(connection, batch),
      // Triggers that would run at the commit run now.
      beforeReadBack: async () => {
        await connection.rows('SET CONSTRAINTS ALL IMMEDIATE')
      },
      readChanged: async (batch) => await readChanged(connection, batch),
      insertRecords: async (at, records) => await insertRecords(connection, at, records),
      isTransient,
    }),
    unfit: async (set, cells) => firstUnfit((await tableOf(set)).columns, cells, unfitness),
    catalogue: async () => await readCatalogue(connection),
    // A commit is on the medium when it is acknowledged. Old versions of rows stay in the files until VACUUM.
    settle: async () => undefined,
    close: async () => await connection.close(),
  }
}
