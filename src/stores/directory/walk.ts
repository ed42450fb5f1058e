import { join } from 'node:path'
import { parseLeftover } from '../../platform/exchange-file.ts'
import { type FileFacts, type FileType, typeNames } from '../../platform/file-facts.ts'
import { listEntries } from '../../platform/files.ts'
import { isKvxError } from '../../core/errors.ts'
import { type DirectoryTarget, fileShapeError } from './directory-errors.ts'
import type { Glob, Position } from './glob.ts'

/** A file that is read whole must not be larger. */
export const maxFileBytes = 64 * 1_048_576

export type Found =
  /** A file that the patterns name. `path` is relative to the store's directory. Whoever opens it asks {@link requireRecord}. */
  | { readonly kind: 'file'; readonly path: string }
  /** What a killed run left beside a file that the patterns name. */
  | { readonly kind: 'leftover'; readonly path: string }
  /** A name with a leading dot that wildcards leave out. */
  | { readonly kind: 'hidden'; readonly path: string }

/** So many are found at a time: a stop for each of them takes longer than finding it. */
const atOnce = 256

/**
 * Every file that all patterns match, depth first, the names of each directory in the order of their code units.
 * They come some at a time, all of one directory. Memory holds the names of the directories on the way.
 * @throws STORE_SHAPE for a link and what is no file at all; UNSAFE_FILE_TYPE for a name that is not UTF-8;
 *   IO_ERROR for a directory that cannot be read
 */
export function walk(target: DirectoryTarget, globs: readonly Glob[]): AsyncGenerator<readonly Found[]> {
  return walkDirectory(
    target,
    '',
    globs.map(({ start }) => start),
  )
}

async function* walkDirectory(
  target: DirectoryTarget,
  directory: string,
  positions: readonly Position[],
): AsyncGenerator<readonly Found[]> {
  let found: Found[] = []
  for (const { name, type } of await entriesIn(target, directory)) {
    if (found.length === atOnce) {
      yield found
      found = []
    }
    const path = directory === '' ? name : `${directory}/${name}`
    const at = positions.map((position) => position.step(name))
    const leftover = parseLeftover(name)
    if (leftover !== undefined) {
      if (positions.every((position) => position.step(leftover.of).isEnd))
        found.push({ kind: 'leftover', path })
      continue
    }
    const mayMatch = at.every(({ isEnd, isOpen }) => isEnd || isOpen)
    if (!mayMatch && !name.startsWith('.')) continue
    if (!mayMatch) {
      const hidden = positions.map((position) => position.step(name, true))
      if (concerns(type, hidden)) found.push({ kind: 'hidden', path })
    } else if (concerns(type, at)) {
      if (type === 'directory') {
        yield found
        found = []
        yield* walkDirectory(target, path, at)
      } else {
        requireFile(target, path, type)
        found.push({ kind: 'file', path })
      }
    }
  }
  yield found
}

/** A directory below may vanish during a walk; a store without its own directory is no empty store. */
async function entriesIn(target: DirectoryTarget, directory: string): ReturnType<typeof listEntries> {
  try {
    return await listEntries(join(target.path, directory))
  } catch (error) {
    if (directory !== '' && isKvxError(error, 'FILE_NOT_FOUND')) return []
    throw error
  }
}

/** A directory matters where something below it can match, a link in both cases, everything else as a file. */
function concerns(type: FileType, at: readonly Position[]): boolean {
  const isEnd = at.every((position) => position.isEnd)
  const isOpen = at.every((position) => position.isOpen)
  if (type === 'directory') return isOpen
  return type === 'symlink' ? isEnd || isOpen : isEnd
}

function requireFile(target: DirectoryTarget, path: string, type: FileType): void {
  if (type !== 'file') throw fileShapeError(target, path, `is ${typeNames[type]}, not a regular file`)
}

/**
 * Refuses a file that cannot be replaced, or not be read.
 * @throws STORE_SHAPE for what is no file, a file with several names, and one that is too large
 */
export function requireRecord(
  target: DirectoryTarget,
  path: string,
  facts: FileFacts,
  maxBytes = maxFileBytes,
): void {
  requireFile(target, path, facts.type)
  if (facts.nlink > 1) {
    throw fileShapeError(target, path, `has ${facts.nlink} names, the others would keep the old content`)
  }
  requireSize(target, path, facts, maxBytes)
}

/** @throws STORE_SHAPE for a file that is too large to be read whole */
export function requireSize(
  target: DirectoryTarget,
  path: string,
  facts: FileFacts,
  maxBytes = maxFileBytes,
): void {
  if (facts.size > maxBytes)
    throw fileShapeError(target, path, `has ${facts.size} bytes, at most ${maxBytes} fit`)
}
