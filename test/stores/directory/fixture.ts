import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'
import { isKvxError, type KvxError } from '../../../src/core/errors.ts'
import { acquireLock } from '../../../src/platform/lock.ts'
import {
  type DirectoryStoreOptions,
  openDirectoryStore,
} from '../../../src/stores/directory/directory-store.ts'
import type { Cell, RecordSet, Store, StoredRecord } from '../../../src/stores/store.ts'
import { trustedDirectory } from '../../support/trusted-directory.ts'

export type Files = Readonly<Record<string, string | Uint8Array>>

/** A directory with these files in it, removed when the test ends. */
export function directoryWith(files: Files): string {
  const root = trustedDirectory()
  putFiles(root, files)
  return root
}

export function putFiles(root: string, files: Files): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), content)
  }
}

export async function openStore(
  path: string,
  options: Partial<Omit<DirectoryStoreOptions, 'path'>> = {},
): Promise<Store> {
  const store = await openDirectoryStore({ name: 'docs', match: '**', format: 'file', ...options, path })
  onTestFinished(() => store.close())
  return store
}

/** The same as a run has it: with the lock of the directory. */
export async function openLocked(
  path: string,
  options: Partial<Omit<DirectoryStoreOptions, 'path'>> = {},
): Promise<Store> {
  const lock = await acquireLock(path, 'the store')
  onTestFinished(() => lock.release())
  return openStore(path, options)
}

export const setOf = (
  columns: readonly string[] = ['content'],
  table = '**',
  id: readonly string[] = ['path'],
): RecordSet => ({ table, id, columns })

/** All records; a scan that goes round in circles ends with an error instead of never. */
export async function readAll(store: Store, set: RecordSet, pageSize = 3): Promise<StoredRecord[]> {
  const records: StoredRecord[] = []
  for await (const page of store.scan(set, pageSize)) {
    records.push(...page)
    if (records.length > 100_000) throw new Error('the scan does not end')
  }
  return records
}

export async function pathsIn(store: Store, set: RecordSet): Promise<readonly (Cell | undefined)[]> {
  return (await readAll(store, set)).map(({ id }) => id[0])
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
export function startOther(mode: string, directory: string, option: string): OtherProgram {
  const program = fileURLToPath(new URL('other-program.ts', import.meta.url))
  const child = spawn(process.execPath, [program, mode, directory, option])
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
