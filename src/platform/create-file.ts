import { link, unlink } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { type Access, applyAccess, resolveAccess } from './access.ts'
import { errnoOf, fileError, isMissing, quotedPath, shownPath } from './file-errors.ts'
import type { FileFacts } from './file-facts.ts'
import { exists, fsyncAfterChange } from './files.ts'
import { discard, placedFacts, type TempFile, writeTemp } from './temp-file.ts'

/**
 * Creates a file that did not exist, with exactly this owner, mode and ACL, durably. It appears complete under
 * its name or not at all, and is at no moment open to anybody who shall not read it in the end.
 * @throws KvxError TARGET_EXISTS, USAGE, UNSAFE_OWNER, ACL_UNSUPPORTED, ACL_DIFFERS, DISK_FULL, IO_ERROR: no file
 *   was made; DURABILITY_UNKNOWN: it was made, but a power cut may still undo it
 */
export async function createFile(path: string, bytes: Uint8Array, access: Access): Promise<FileFacts> {
  const target = resolve(path)
  try {
    if (await exists(target)) throw targetExists(path)
    const wanted = await resolveAccess(path, access, undefined)
    const temp = await writeTemp(target, bytes, (fd) => applyAccess(fd, path, wanted))
    await linkInto(temp, target, path)
    const placed = await placedFacts(target, temp)
    await fsyncAfterChange(dirname(target), `${shownPath(path)} is created`)
    return placed
  } catch (error) {
    throw fileError(error, 'create', path)
  }
}

/** `link` never replaces what has the name, unlike `rename`. */
async function linkInto(temp: TempFile, target: string, path: string): Promise<void> {
  try {
    await link(temp.path, target)
  } catch (error) {
    await discard(temp.path)
    throw errnoOf(error) === 'EEXIST' ? targetExists(path) : error
  }
  try {
    await unlink(temp.path)
  } catch (error) {
    if (isMissing(error)) return
    await unlink(target).catch(() => undefined) // back to the old state, so that the command can be repeated
    await discard(temp.path)
    throw error
  }
}

function targetExists(path: string): KvxError {
  return new KvxError('TARGET_EXISTS', `${shownPath(path)} exists already and is not overwritten`, {
    hint: `choose another name, or look at it with \`ls -l ${quotedPath(path)}\``,
    details: { path: shownPath(path) },
  })
}
