import { join } from 'node:path'
import { parseLeftover } from '../../platform/exchange-file.ts'
import { type FileFacts, type FileType, typeNames } from '../../platform/file-facts.ts'
import { listDirectory, lstatFacts } from '../../platform/files.ts'
import { isKvxError } from '../../core/errors.ts'
import { type DirectoryTarget, fileShapeError } from './directory-errors.ts'
import type { Glob, Position } from './glob.ts'

/** A file that is read whole must not be larger. */
export const maxFileBytes = 64 * 1_048_576

export type Found =
  /** A file that the patterns name, fit to be read and replaced. `path` is relative to the store's directory. */
  | { readonly kind: 'file'; readonly path: string; readonly facts: FileFacts }
  /** What a killed run left beside a file that the patterns name. */
  | { readonly kind: 'leftover'; readonly path: string }
  /** A name with a leading dot that wildcards leave out. */
  | { readonly kind: 'hidden'; readonly path: string }

/**
 * Every file that all patterns match, depth first, the names of each directory in the order of their code units.
 * Memory holds the names of the directories on the way. What vanishes meanwhile is left out.
 * @throws STORE_SHAPE for a link, a file with several names, one that is too large and what is no file at all;
 *   UNSAFE_FILE_TYPE for a name that is not UTF-8; IO_ERROR for a directory that cannot be read
 */
export function walk(
  target: DirectoryTarget,
  globs: readonly Glob[],
  maxBytes = maxFileBytes,
): AsyncGenerator<Found> {
  return walkDirectory(
    { ...target, maxBytes },
    '',
    globs.map(({ start }) => start),
  )
}

type Walked = DirectoryTarget & { readonly maxBytes: number }

async function* walkDirectory(
  target: Walked,
  directory: string,
  positions: readonly Position[],
): AsyncGenerator<Found> {
  for (const name of await namesIn(target, directory)) {
    const path = directory === '' ? name : `${directory}/${name}`
    const at = positions.map((position) => position.step(name))
    const leftover = parseLeftover(name)
    if (leftover !== undefined) {
      if (positions.every((position) => position.step(leftover.of).isEnd)) yield { kind: 'leftover', path }
      continue
    }
    const mayMatch = at.every(({ isEnd, isOpen }) => isEnd || isOpen)
    if (!mayMatch && !name.startsWith('.')) continue
    const facts = await lstatFacts(join(target.path, path))
    if (facts === undefined) continue
    if (!mayMatch) {
      const hidden = positions.map((position) => position.step(name, true))
      if (concerns(facts.type, hidden)) yield { kind: 'hidden', path }
    } else if (concerns(facts.type, at)) {
      if (facts.type === 'directory') yield* walkDirectory(target, path, at)
      else yield { kind: 'file', path, facts: requireRecord(target, path, facts) }
    }
  }
}

/** A directory below may vanish during a walk; a store without its own directory is no empty store. */
async function namesIn(target: DirectoryTarget, directory: string): Promise<readonly string[]> {
  try {
    return await listDirectory(join(target.path, directory))
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

function requireRecord(target: Walked, path: string, facts: FileFacts): FileFacts {
  if (facts.type !== 'file')
    throw fileShapeError(target, path, `is ${typeNames[facts.type]}, not a regular file`)
  if (facts.nlink > 1) {
    throw fileShapeError(target, path, `has ${facts.nlink} names, the others would keep the old content`)
  }
  if (facts.size > target.maxBytes) {
    throw fileShapeError(target, path, `has ${facts.size} bytes, at most ${target.maxBytes} fit`)
  }
  return facts
}
