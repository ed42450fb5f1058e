import { dirname, join } from 'node:path'
import { isKvxError } from '../../core/errors.ts'
import { type Exchanged, exchangeFile } from '../../platform/exchange-file.ts'
import { type FileFacts, sameFile } from '../../platform/file-facts.ts'
import { lstatFacts, type ReadFile } from '../../platform/files.ts'
import { type HeldFolder, Room } from '../../platform/held-folder.ts'
import { replaceFile } from '../../platform/replace-file.ts'
import type { Company } from '../../platform/together.ts'
import type { RecordId, RecordSet } from '../store.ts'
import { type DirectoryTarget, shapeError } from './directory-errors.ts'
import type { RecordFormat } from './format.ts'
import { holdFolderOf, type HeldFolders } from './held-folders.ts'
import { compileGlob, type Glob, globProblem, matchesAll } from './glob.ts'
import { maxFileBytes, requireRecord, requireSize } from './walk.ts'

/** A directory store as its parts see it. */
export type Directory = {
  readonly target: DirectoryTarget
  readonly match: Glob
  readonly format: RecordFormat
  /** Whether another program may replace files meanwhile. */
  readonly isOnline: boolean
  /** Whether files are read and written in pieces, so that they may have any size. */
  readonly isStreamed: boolean
  /** Directories in which names changed since the last `settle`. */
  readonly touched: Set<string>
  readonly folders: HeldFolders
}

/** The patterns that a record set's files match: the store's own, and the set's `table` where it says more. */
export function globsOf({ target, match }: Directory, set: RecordSet): readonly Glob[] {
  if (set.table === match.pattern) return [match]
  const problem = globProblem(set.table)
  if (problem !== undefined) throw shapeError(target, `the pattern ${JSON.stringify(set.table)}: ${problem}`)
  return [match, compileGlob(set.table)]
}

/** @throws STORE_SHAPE for a record set that the store's format cannot have */
export function requireSet(directory: Directory, set: RecordSet): readonly Glob[] {
  const globs = globsOf(directory, set)
  directory.format.check(directory.target, set, oneFile(globs) !== undefined)
  return globs
}

/** {@link requireRecord} with the size that the directory's files may have. */
export function requireRecordFile({ target, isStreamed }: Directory, path: string, facts: FileFacts): void {
  requireRecord(target, path, facts, isStreamed ? Number.POSITIVE_INFINITY : maxFileBytes)
}

function oneFile(globs: readonly Glob[]): string | undefined {
  return globs.find(({ hasWildcard }) => !hasWildcard)?.pattern
}

/** The relative path of the file that holds a record, or undefined when no file of the set can have it. */
export function pathOf(set: RecordSet, id: RecordId, globs: readonly Glob[]): string | undefined {
  const at = set.id.indexOf('path')
  const path = at === -1 ? oneFile(globs) : id[at]
  if (typeof path !== 'string' || globProblem(path.replaceAll(/[*?]/g, '_')) !== undefined) return undefined
  return matchesAll(globs, path) ? path : undefined
}

/**
 * A file as it is now, undefined when it is missing.
 * @throws STORE_SHAPE when a link leads to it, UNSAFE_FILE_TYPE, IO_ERROR
 */
export function readRecordFile(directory: Directory, path: string): ReadFile | undefined {
  const reader = new FileReader(directory)
  try {
    return reader.read(path)
  } finally {
    reader.release()
  }
}

/**
 * Reads files at once, and holds the folder of the last one: that no link leads there is asked once for all of its
 * files that are read in a row. Release it before anything is waited for.
 */
export class FileReader {
  readonly #target: DirectoryTarget
  readonly #room = new Room()
  #parent = ''
  #folder: HeldFolder | undefined

  constructor({ target }: Pick<Directory, 'target'>) {
    this.#target = target
  }

  /**
   * A file as it is now, undefined when it is missing.
   * @param require refuses by what was opened
   * @throws STORE_SHAPE when a link leads to it, UNSAFE_FILE_TYPE, IO_ERROR
   */
  read(path: string, require?: (facts: FileFacts) => void): ReadFile | undefined {
    const slash = path.lastIndexOf('/')
    try {
      return this.#folderOf(path, path.slice(0, Math.max(0, slash))).readFile(path.slice(slash + 1), {
        path: () => join(this.#target.path, path),
        room: this.#room,
        require: require ?? ((facts) => requireSize(this.#target, path, facts)),
      })
    } catch (error) {
      if (isKvxError(error, 'FILE_NOT_FOUND')) return undefined
      throw error
    }
  }

  #folderOf(path: string, parent: string): HeldFolder {
    if (this.#folder !== undefined && this.#parent === parent) return this.#folder
    this.release()
    this.#parent = parent
    this.#folder = holdFolderOf(this.#target, path)
    return this.#folder
  }

  release(): void {
    this.#folder?.close()
    this.#folder = undefined
  }
}

/**
 * Puts new bytes in the place of a file that still is as it was read. Durable when it returns.
 * @throws what `replaceFile` and `exchangeFile` throw
 */
export async function replaceRecordFile(
  directory: Directory,
  {
    path,
    read,
    company,
  }: { readonly path: string; readonly read: ReadFile; readonly company?: Company | undefined },
  bytes: Uint8Array,
): Promise<Exchanged> {
  directory.touched.add(dirname(join(directory.target.path, path)))
  try {
    return await directory.folders.within(path, async (reached) =>
      directory.isOnline
        ? exchangeFile(reached, bytes, { expected: read, company })
        : replacing(reached, read.facts, async () =>
            replaceFile(reached, bytes, { expected: read.facts, company }),
          ),
    )
  } catch (error) {
    if (isKvxError(error, 'FILE_NOT_FOUND')) return { outcome: 'gone' } // its folder is
    throw error
  }
}

/** Tells a file that another program changed meanwhile, or took away, from what cannot be replaced at all. */
export async function replacing(
  full: string,
  expected: FileFacts,
  replace: () => Promise<FileFacts>,
): Promise<Exchanged> {
  try {
    return { outcome: 'changed', facts: await replace() }
  } catch (error) {
    if (isKvxError(error, 'FILE_NOT_FOUND')) return { outcome: 'gone' }
    if (!isKvxError(error, 'LOCKED')) throw error
    const now = await lstatFacts(full)
    if (now === undefined) return { outcome: 'gone' }
    if (!sameFile(now, expected)) return { outcome: 'lost' }
    throw error
  }
}
