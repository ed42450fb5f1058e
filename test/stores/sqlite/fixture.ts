import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { isKvxError, type KvxError } from '../../../src/core/errors.ts'
import type { Cell, RecordSet, Store, StoredRecord } from '../../../src/stores/store.ts'
import { openSqliteStore } from '../../../src/stores/sqlite/sqlite-store.ts'

export const otherProgram = fileURLToPath(new URL('other-program.ts', import.meta.url))

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'kvx-sqlite-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** A database file made by this SQL, closed again. */
export function makeDatabase(sql: string, directory = temporaryDirectory()): string {
  const path = join(directory, 'app.db')
  onDatabase(path, (database) => database.exec(sql))
  return path
}

/** What the application does with its database, on a connection of its own. */
export function onDatabase<T>(path: string, work: (database: DatabaseSync) => T): T {
  const database = new DatabaseSync(path, { timeout: 20_000, readBigInts: true })
  try {
    return work(database)
  } finally {
    database.close()
  }
}

export async function openStore(path: string, busyMs?: number): Promise<Store> {
  const store = await openSqliteStore(
    busyMs === undefined ? { name: 'local', path } : { name: 'local', path, busyMs },
  )
  onTestFinished(() => store.close())
  return store
}

export const recordSet = (
  columns: readonly string[] = ['value'],
  id: readonly string[] = ['id'],
): RecordSet => ({
  table: 't',
  id,
  columns,
})

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

export type OtherProgram = {
  readonly child: ChildProcessWithoutNullStreams
  /** The next line that it prints, parsed. */
  readonly next: () => Promise<unknown>
  /** Ends its input and waits for its end. */
  readonly end: () => Promise<void>
}

/** Starts `other-program.ts` in a second process. */
export function startOther(mode: string, path: string, column = 'value'): OtherProgram {
  const child = spawn(process.execPath, [otherProgram, mode, path, column])
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
