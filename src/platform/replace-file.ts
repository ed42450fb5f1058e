import { renameSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { type Access, applyAccess, requireGivable, resolveAccess } from './access.ts'
import { fileError, shownPath } from './file-errors.ts'
import { type FileFacts, openFacts, sameFile } from './file-facts.ts'
import { closeQuietly, fsyncAfterChange, lstatFacts, openToLook, requireRegular } from './files.ts'
import { accessOf, copyAttributes, type Finish, requireSoleName } from './successor.ts'
import { discard, placedFacts, removeLeftover, type TempFile, writeTemp } from './temp-file.ts'
import { alone, type Company, type SharedJob } from './together.ts'

export type ReplaceOptions = {
  /** The state that the caller read: refused with LOCKED when the file is in another one now. */
  readonly expected?: FileFacts
  /** New access instead of the old; owner and group stay where it names none. User xattrs are kept. */
  readonly change?: Access
  /** Others who replace files at the same time: what can be done for all of them at once is. */
  readonly company?: Company | undefined
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
  let old: number | undefined
  try {
    old = openToLook(target)
    const before = await replaceable(old, target, options.expected)
    const finish = await successor(old, before, path, options)
    const temp = await writeTemp(target, bytes, finish, options.company)
    await renameOver(temp, target, before)
    const placed = await placedFacts(target, temp)
    await (options.company ?? alone).share(fsyncParents, path)
    return placed
  } catch (error) {
    throw fileError(error, 'replace', path)
  } finally {
    if (old !== undefined) closeQuietly(old)
  }
}

async function replaceable(old: number, target: string, expected: FileFacts | undefined): Promise<FileFacts> {
  let facts = openFacts(old)
  if (expected !== undefined && !sameFile(expected, facts)) throw changedMeanwhile(target)
  requireRegular(target, facts, 'replace')
  if (facts.nlink > 1 && (await removeLeftover(target))) {
    facts = openFacts(old) // a dead run linked the new file and kept its first name
  }
  requireSoleName(target, facts)
  requireGivable(target, facts.uid, facts.gid)
  return facts
}

/** What gives the new file the access of the old one, or the changed one. Prepared before anything is written. */
async function successor(
  old: number,
  before: FileFacts,
  path: string,
  { change, company }: ReplaceOptions,
): Promise<Finish> {
  if (change === undefined) return accessOf(old, before, { path, company })
  const wanted = await resolveAccess(path, change, before)
  return async (fresh) => {
    await copyAttributes('xattr', [{ old, fresh, path }])
    await applyAccess(fresh, path, wanted)
  }
}

async function renameOver(temp: TempFile, target: string, before: FileFacts): Promise<void> {
  try {
    const current = await lstatFacts(target)
    if (current === undefined || !sameFile(current, before)) throw changedMeanwhile(target)
    renameSync(temp.path, target) // right after the look
  } catch (error) {
    await discard(temp.path)
    throw error
  }
}

/** Each directory once, after the last change of a name in it. */
const fsyncParents: SharedJob<string, void> = async (paths) => {
  const parents = paths.map((path) => dirname(resolve(path)))
  const synced = new Map<string, Promise<void>>()
  for (const [directory, there] of Map.groupBy(paths, (_, index) => parents[index] ?? '')) {
    const [first = ''] = there
    const what =
      there.length === 1 ? `${shownPath(first)} is` : `${there.length} files in ${shownPath(directory)} are`
    synced.set(directory, fsyncAfterChange(directory, `${what} replaced`))
  }
  return await Promise.allSettled(parents.map(async (parent) => synced.get(parent)))
}

function changedMeanwhile(path: string): KvxError {
  return new KvxError('LOCKED', `cannot replace ${shownPath(path)}: another program changed it meanwhile`, {
    hint: 'stop the other program and run the command again',
    details: { path: shownPath(path) },
  })
}
