import { type BigIntStats, type Dirent, fstatSync } from 'node:fs'

export type FileType = 'file' | 'directory' | 'symlink' | 'fifo' | 'socket' | 'device'

/** What the system says about one file. `dev`, `ino` and the nanosecond times are exact, hence bigint. */
export type FileFacts = {
  readonly type: FileType
  readonly dev: bigint
  readonly ino: bigint
  readonly uid: number
  readonly gid: number
  /** The low 12 bits. With an extended ACL the group bits are the ACL's mask, not the owning group's. */
  readonly mode: number
  /** In bytes. */
  readonly size: number
  readonly nlink: number
  readonly mtimeMs: number
  readonly ctimeMs: number
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

export function factsOf(stat: BigIntStats): FileFacts {
  return {
    type: typeOf(stat),
    dev: stat.dev,
    ino: stat.ino,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mode: Number(stat.mode & 0o7777n),
    size: Number(stat.size),
    nlink: Number(stat.nlink),
    mtimeMs: Number(stat.mtimeMs),
    ctimeMs: Number(stat.ctimeMs),
    mtimeNs: stat.mtimeNs,
    ctimeNs: stat.ctimeNs,
  }
}

/** Of an open file. */
export function openFacts(fd: number): FileFacts {
  return factsOf(fstatSync(fd, { bigint: true }))
}

export function typeOf(stat: BigIntStats | Dirent<Buffer>): FileType {
  if (stat.isFile()) return 'file'
  if (stat.isDirectory()) return 'directory'
  if (stat.isSymbolicLink()) return 'symlink'
  if (stat.isFIFO()) return 'fifo'
  if (stat.isSocket()) return 'socket'
  return 'device'
}

/** A type with its article, for messages. */
export const typeNames: Readonly<Record<FileType, string>> = {
  file: 'a file',
  directory: 'a directory',
  symlink: 'a symbolic link',
  fifo: 'a FIFO',
  socket: 'a socket',
  device: 'a device',
}

/** True when both are the same file in the same state: nothing was written, moved or re-owned in between. */
export function sameFile(one: FileFacts, other: FileFacts): boolean {
  return (
    one.dev === other.dev &&
    one.ino === other.ino &&
    one.ctimeNs === other.ctimeNs &&
    one.mtimeNs === other.mtimeNs &&
    one.size === other.size
  )
}

/** `0640` */
export function modeText(mode: number): string {
  return mode.toString(8).padStart(4, '0')
}
