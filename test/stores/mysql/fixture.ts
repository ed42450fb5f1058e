import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, type TestContext, beforeEach, onTestFinished } from 'vitest'
import { isKvxError, type KvxError } from '../../../src/core/errors.ts'
import { openMysqlStore, type MysqlStoreOptions } from '../../../src/stores/mysql/mysql-store.ts'
import type { Cell, RecordSet, Store, StoredRecord } from '../../../src/stores/store.ts'
import { mariadbMissing, type MariadbServer, startMariadb } from '../../support/mariadb.ts'

/** One server for the tests of a file, which are skipped with the reason where there can be none. */
export function useMariadb(): { readonly server: MariadbServer } {
  let server: MariadbServer | undefined
  beforeAll(async () => {
    if (mariadbMissing() === undefined) server = await startMariadb()
  })
  beforeEach((context: TestContext) => {
    const reason = mariadbMissing()
    if (reason !== undefined) context.skip(reason)
  })
  afterAll(async () => server?.stop())
  return {
    get server() {
      if (server === undefined) throw new Error('no server was started')
      return server
    },
  }
}

/** A new database made by this SQL. */
export async function makeDatabase(server: MariadbServer, sql: string): Promise<string> {
  const url = await server.createDatabase()
  await server.sql(url, sql)
  return url
}

export async function openStore(url: string, options: Partial<MysqlStoreOptions> = {}): Promise<Store> {
  const store = await openMysqlStore({ name: 'app', url, ...options })
  onTestFinished(async () => store.close())
  return store
}

export const recordSet = (
  columns: readonly string[] = ['value'],
  id: readonly string[] = ['id'],
  table = 't',
): RecordSet => ({ table, id, columns })

/** All records; a scan that goes round in circles ends with an error instead of never. */
export async function readAll(store: Store, set: RecordSet, pageSize = 3): Promise<StoredRecord[]> {
  const records: StoredRecord[] = []
  for await (const page of store.scan(set, pageSize)) {
    records.push(...page)
    if (records.length > 400_000) throw new Error('the scan does not end')
  }
  return records
}

/** Swaps every record of the set to the same value. */
export async function swapAll(store: Store, set: RecordSet, value: Cell): Promise<readonly string[]> {
  const swaps = (await readAll(store, set)).map(({ id, cells }) => ({
    id,
    expected: cells,
    change: { value },
  }))
  return await store.swap(set, swaps, () => {})
}

export async function refusalOf(work: Promise<unknown>): Promise<KvxError> {
  try {
    await work
  } catch (error) {
    if (isKvxError(error)) return error
    throw error
  }
  throw new Error('nothing was refused')
}

const otherProgram = fileURLToPath(new URL('other-program.ts', import.meta.url))

export type OtherProgram = {
  readonly child: ChildProcessWithoutNullStreams
  /** The next line that it prints, parsed. */
  readonly next: () => Promise<unknown>
  /** Ends its input and waits for its end. */
  readonly end: () => Promise<void>
}

/** Starts `other-program.ts` in a second process. */
export function startOther(mode: string, url: string, column = 'value'): OtherProgram {
  const child = spawn(process.execPath, [otherProgram, mode, url, column])
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  child.stderr.pipe(process.stderr)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const closed = once(child, 'close')
  return {
    child,
    next: async () => {
      const line: IteratorResult<string, unknown> = await lines.next()
      return line.done === true ? undefined : JSON.parse(line.value)
    },
    end: async () => {
      child.stdin.end()
      await closed
    },
  }
}
