import { realpath, statfs } from 'node:fs/promises'
import { fileError } from './file-errors.ts'

/** `f_type` of statfs(2): tmpfs and ramfs. */
const inMemory = new Set([0x01021994, 0x858458f6])

/**
 * True for a folder whose files lie in memory: what is removed there leaves nothing on a disk, but for swap.
 * @throws KvxError FILE_NOT_FOUND, IO_ERROR
 */
export async function isInMemory(directory: string): Promise<boolean> {
  try {
    const { type } = await statfs(await realpath(directory))
    return inMemory.has(type)
  } catch (error) {
    throw fileError(error, 'look at', directory)
  }
}
