import { fchmodSync, renameSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { requireGivable } from './access.ts'
import { fileError, shownPath } from './file-errors.ts'
import { type FileFacts, openFacts } from './file-facts.ts'
import { fsyncAfterChange, lstatFacts, requireRegular } from './files.ts'
import { discard, placedFacts, writeTemp } from './temp-file.ts'

/**
 * Writes a file of kvx's own, new or in place of the old one, durably and atomically. It gets mode 0600 and the
 * owner of the process, and needs no helper: with the group bits at zero, the mask of an inherited ACL lets
 * nobody through. For kvx's own 0700 directories only.
 * @throws KvxError UNSAFE_FILE_TYPE, UNSAFE_OWNER, DISK_FULL, IO_ERROR: the old state is untouched;
 *   DURABILITY_UNKNOWN: the new file is in place, but a power cut may still undo it
 */
export async function writeState(path: string, bytes: Uint8Array): Promise<FileFacts> {
  const target = resolve(path)
  try {
    const old = await lstatFacts(target)
    if (old !== undefined) {
      requireRegular(target, old, 'replace')
      requireGivable(target, old.uid, process.getegid?.() ?? -1)
    }
    const temp = await writeTemp(target, bytes, async (fd) => {
      fchmodSync(fd, 0o600)
      const facts = openFacts(fd)
      if (facts.uid !== process.geteuid?.() || facts.mode !== 0o600) {
        throw new KvxError('UNSAFE_MODE', `${shownPath(path)} did not take the mode 0600`)
      }
    })
    try {
      renameSync(temp.path, target)
    } catch (error) {
      await discard(temp.path)
      throw error
    }
    const placed = await placedFacts(target, temp)
    await fsyncAfterChange(dirname(target), `${shownPath(path)} is written`)
    return placed
  } catch (error) {
    throw fileError(error, 'write', path)
  }
}
