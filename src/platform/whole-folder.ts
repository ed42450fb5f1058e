import { rename, rmdir, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { fileError, shownPath } from './file-errors.ts'
import { fsyncAfterChange, listDirectory, makeDirectory } from './files.ts'
import { tempPathOf } from './temp-file.ts'

/**
 * A folder of several files that appears whole under its name or not at all: it is filled under a temporary name,
 * which says for ever after a crash that it was never finished. The lock of the caller keeps two writers apart.
 * @param fill writes the files, durably, into the folder that it is given
 * @throws KvxError TARGET_EXISTS and those of the files: nothing is left then; DURABILITY_UNKNOWN: it is in place,
 *   but a power cut may still undo it
 */
export async function createFolder<T>(path: string, fill: (folder: string) => Promise<T>): Promise<T> {
  const target = resolve(path)
  const unfinished = tempPathOf(target)
  await removeFolder(unfinished)
  await makeDirectory(unfinished, 0o700)
  let made: T
  try {
    made = await fill(unfinished)
    await rename(unfinished, target).catch((error: unknown) => {
      throw fileError(error, 'create', path)
    })
  } catch (error) {
    // The error that led here matters more than one of this.
    await removeFolder(unfinished).catch(() => undefined)
    throw error
  }
  await fsyncAfterChange(dirname(target), `${shownPath(path)} is created`)
  return made
}

/** Names of folders in `directory` that {@link createFolder} never finished. */
export async function unfinishedFolders(directory: string): Promise<readonly string[]> {
  return (await listDirectory(directory)).filter(isUnfinishedName)
}

/** True for what {@link createFolder} calls a folder until it is whole. */
export function isUnfinishedName(name: string): boolean {
  return name === basename(tempPathOf(name.slice(1, -'.kvx-new'.length)))
}

/** Removes a folder with the files in it, durably. One that is missing is fine. */
export async function removeFolder(path: string): Promise<void> {
  const target = resolve(path)
  try {
    for (const name of await listDirectory(target)) await unlink(join(target, name))
    await rmdir(target)
  } catch (error) {
    const failure = fileError(error, 'remove', path)
    if (failure.code !== 'FILE_NOT_FOUND') throw failure
    return
  }
  await fsyncAfterChange(dirname(target), `${shownPath(path)} is removed`)
}
