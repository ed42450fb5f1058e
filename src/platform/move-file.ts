import { rename } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { fileError, shownPath } from './file-errors.ts'
import { exists, fsyncAfterChange } from './files.ts'

/**
 * Gives a file another name in the same directory, durably; owner, mode, ACL and bytes go with it. What has the
 * new name already is not overwritten: hold a lock, since a look comes before the rename.
 * @throws KvxError TARGET_EXISTS, FILE_NOT_FOUND, IO_ERROR, DURABILITY_UNKNOWN
 */
export async function moveFile(from: string, to: string): Promise<void> {
  const target = resolve(to)
  if (await exists(target)) {
    throw new KvxError('TARGET_EXISTS', `${shownPath(to)} exists already and is not overwritten`, {
      hint: `look at it with \`ls -l ${shownPath(to)}\``,
    })
  }
  try {
    await rename(resolve(from), target)
  } catch (error) {
    throw fileError(error, 'rename', from)
  }
  await fsyncAfterChange(dirname(target), `${shownPath(from)} is renamed`)
}
