import { type FileHandle, rename } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { type Access, applyAccess, requireGivable, resolveAccess } from './access.ts'
import { fileError, shownPath } from './file-errors.ts'
import { type FileFacts, factsOf, sameFile } from './file-facts.ts'
import { fsyncAfterChange, lstatFacts, openForReading, requireRegular } from './files.ts'
import { accessOf, copyAttributes, type Finish, requireSoleName } from './successor.ts'
import { discard, placedFacts, removeLeftover, type TempFile, writeTemp } from './temp-file.ts'

export type ReplaceOptions = {
  /** The state that the caller read: refused with LOCKED when the file is in another one now. */
  readonly expected?: FileFacts
  /** New access instead of the old; owner and group stay where it names none. User xattrs are kept. */
  readonly change?: Access
}

/**
 * Puts new bytes under the name of an existing file, durably: owner, group, mode, ACL and user xattrs stay, and
 * at every moment the name holds the old or the new file, complete and readable by the same people. Readers
 * that hold the old file open keep it until they open it again.
 * @returns facts of the new file
 * @throws KvxError FILE_NOT_FOUND, UNSAFE_FILE_TYPE (link, hard link, no regular file), UNSAFE_OWNER, LOCKED
 *   (changed meanwhile), DISK_FULL, IO_ERROR (bind mount, immutable, read-only, …): the old file is untouched;
 *   DURABILITY_UNKNOWN: it was replaced, but a power cut may still undo it
 */
export async function replaceFile(
  path: string,
  bytes: Uint8Array,
  options: ReplaceOptions = {},
): Promise<FileFacts> {
  const target = resolve(path)
  let old: FileHandle | undefined
  try {
    old = await openForReading(target)
    const before = await replaceable(old, target, options.expected)
    const temp = await writeTemp(target, bytes, await successor(old, before, path, options.change))
    await renameOver(temp, target, before)
    const placed = await placedFacts(target, temp)
    await fsyncAfterChange(dirname(target), `${shownPath(path)} is replaced`)
    return placed
  } catch (error) {
    throw fileError(error, 'replace', path)
  } finally {
    await old?.close().catch(() => undefined)
  }
}

async function replaceable(
  old: FileHandle,
  target: string,
  expected: FileFacts | undefined,
): Promise<FileFacts> {
  let facts = factsOf(await old.stat({ bigint: true }))
  if (expected !== undefined && !sameFile(expected, facts)) throw changedMeanwhile(target)
  requireRegular(target, facts, 'replace')
  if (facts.nlink > 1 && (await removeLeftover(target))) {
    facts = factsOf(await old.stat({ bigint: true })) // a dead run linked the new file and kept its first name
  }
  requireSoleName(target, facts)
  requireGivable(target, facts.uid, facts.gid)
  return facts
}

/** What gives the new file the access of the old one, or the changed one. Prepared before anything is written. */
async function successor(
  old: FileHandle,
  before: FileFacts,
  path: string,
  change: Access | undefined,
): Promise<Finish> {
  if (change === undefined) return accessOf(old, before, path)
  const wanted = await resolveAccess(path, change, before)
  return async (handle) => {
    await copyAttributes('xattr', old, handle, path)
    await applyAccess(handle, path, wanted)
  }
}

async function renameOver(temp: TempFile, target: string, before: FileFacts): Promise<void> {
  try {
    const current = await lstatFacts(target)
    if (current === undefined || !sameFile(current, before)) throw changedMeanwhile(target)
    await rename(temp.path, target)
  } catch (error) {
    await discard(temp.path)
    throw error
  }
}

function changedMeanwhile(path: string): KvxError {
  return new KvxError('LOCKED', `cannot replace ${shownPath(path)}: another program changed it meanwhile`, {
    hint: 'stop the other program and run the command again',
    details: { path: shownPath(path) },
  })
}
