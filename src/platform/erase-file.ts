import { constants } from 'node:fs'
import { open, statfs, unlink } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { fileError } from './file-errors.ts'
import { openFacts } from './file-facts.ts'
import { fsyncAfterChange, requireRegular } from './files.ts'
import { writeFully } from './temp-file.ts'

/** File systems by the number of statfs(2), with what overwriting in place is worth there. */
const fileSystems: Readonly<Record<number, { readonly name: string; readonly inPlace: boolean }>> = {
  0xef53: { name: 'ext4', inPlace: true },
  0x58465342: { name: 'xfs', inPlace: true },
  0x01021994: { name: 'tmpfs', inPlace: true },
  0x9123683e: { name: 'btrfs', inPlace: false },
  0x2fc12fc1: { name: 'zfs', inPlace: false },
  0x794c7630: { name: 'overlayfs', inPlace: false },
  0x6969: { name: 'NFS', inPlace: false },
}

export type Erased = {
  /** Name of the file system, or its number in hex. */
  readonly fileSystem: string
  /** Whether it usually writes to the same blocks. Flash, journals and snapshots keep copies all the same. */
  readonly inPlace: boolean
}

/**
 * Overwrites a file once through an open descriptor, makes that durable, truncates and unlinks it, and makes the
 * unlink durable. Best effort: coreutils' shred has the same limits, and flash keeps what it remapped.
 * @throws KvxError FILE_NOT_FOUND, UNSAFE_FILE_TYPE (links, several names), IO_ERROR, DURABILITY_UNKNOWN
 */
export async function eraseFile(path: string): Promise<Erased> {
  const target = resolve(path)
  try {
    const handle = await open(target, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const facts = openFacts(handle.fd)
      requireRegular(target, facts, 'erase')
      await writeFully(handle.fd, Buffer.alloc(facts.size))
      await handle.sync()
      await handle.truncate(0)
      await handle.sync()
    } finally {
      await handle.close()
    }
    const { type } = await statfs(dirname(target))
    await unlink(target)
    await fsyncAfterChange(dirname(target), 'the file is erased')
    const known = fileSystems[type]
    return { fileSystem: known?.name ?? `0x${type.toString(16)}`, inPlace: known?.inPlace ?? false }
  } catch (error) {
    throw fileError(error, 'erase', path)
  }
}
