import { KvxError, type ErrorCode, isKvxError } from '../core/errors.ts'

/** The code of a system error such as `ENOENT`, or undefined for anything else. */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const { code, errno } = error as { code?: unknown; errno?: unknown }
  if (errno === -122) return 'EDQUOT' // libuv has no name for it: 'Unknown system error -122'
  return typeof code === 'string' ? code : undefined
}

/** True when a system call failed because nothing has this name. */
export function isMissing(error: unknown): boolean {
  const code = errnoOf(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

type Verdict = { readonly code: ErrorCode; readonly why: string; readonly hint?: (path: string) => string }

const verdicts: Readonly<Record<string, Verdict>> = {
  ENOENT: {
    code: 'FILE_NOT_FOUND',
    why: 'it does not exist',
    hint: (path) => `look with \`ls -la ${path}\``,
  },
  ENOTDIR: { code: 'FILE_NOT_FOUND', why: 'a part of the path is not a directory' },
  EEXIST: { code: 'TARGET_EXISTS', why: 'it exists already' },
  EISDIR: { code: 'UNSAFE_FILE_TYPE', why: 'it is a directory' },
  ELOOP: {
    code: 'UNSAFE_FILE_TYPE',
    why: 'it is a symbolic link',
    hint: (path) => `name the file itself: \`readlink -f ${path}\``,
  },
  ENXIO: { code: 'UNSAFE_FILE_TYPE', why: 'it is a socket, a FIFO or a device' },
  ENOSPC: {
    code: 'DISK_FULL',
    why: 'no space or no inode is left on the file system',
    hint: (path) => `make room: \`df -h ${path}\` and \`df -i ${path}\` show the file system`,
  },
  EDQUOT: { code: 'DISK_FULL', why: 'the disk quota is used up', hint: () => 'see `quota -s`' },
  EFBIG: { code: 'DISK_FULL', why: 'the limit for file sizes is reached', hint: () => 'see `ulimit -f`' },
  EROFS: {
    code: 'IO_ERROR',
    why: 'the file system is read-only',
    hint: (path) => `find it with \`findmnt -T ${path}\` and mount it writable`,
  },
  EACCES: {
    code: 'IO_ERROR',
    why: 'permission denied',
    hint: (path) => `run kvx as the owner or as root; \`namei -l ${path}\` shows who may do what`,
  },
  EPERM: {
    code: 'IO_ERROR',
    why: 'the operation is not permitted: the file may be immutable or somebody else may own it',
    hint: (path) => `see \`lsattr -d ${path}\`; an immutable one is opened with \`chattr -i ${path}\``,
  },
  EBUSY: {
    code: 'IO_ERROR',
    why: 'it is a mount point of its own, as with a bind-mounted file',
    hint: (path) => `mount its directory instead; \`findmnt ${path}\` shows the mount`,
  },
  EMFILE: {
    code: 'RESOURCE_LIMIT',
    why: 'too many files are open in this process',
    hint: () => 'see `ulimit -n`',
  },
  ENFILE: {
    code: 'RESOURCE_LIMIT',
    why: 'too many files are open in this system',
    hint: () => 'see `sysctl fs.file-max`',
  },
  ENOMEM: { code: 'RESOURCE_LIMIT', why: 'no memory is left' },
  ENAMETOOLONG: { code: 'USAGE', why: 'its name is too long' },
  EIO: { code: 'IO_ERROR', why: 'the device reports an error', hint: () => 'look at `dmesg | tail`' },
}

/**
 * A failed file operation as an error of the catalogue: `cannot replace /k: …`. Made anew from the errno, so
 * that nothing of Node's message is passed on. An error of the catalogue comes back as it is.
 */
export function fileError(error: unknown, action: string, path: string): KvxError {
  if (isKvxError(error)) return error
  const shown = shownPath(path)
  const errno = errnoOf(error)
  if (errno === 'ERR_INVALID_ARG_VALUE') {
    return new KvxError('USAGE', `cannot ${action} ${shown}: a path cannot hold a NUL byte`)
  }
  if (errno === undefined || errno.startsWith('ERR_')) {
    return new KvxError('BUG', `cannot ${action} ${shown}: an internal error in the file layer`)
  }
  const verdict = verdicts[errno] ?? { code: 'IO_ERROR', why: `the system says ${errno}` }
  const hint = verdict.hint?.(quotedPath(path))
  return new KvxError(verdict.code, `cannot ${action} ${shown}: ${verdict.why}`, {
    ...(hint === undefined ? {} : { hint }),
    details: { path: shown, errno },
  })
}

/** Folders that are reached through a descriptor, with the names that people know. */
const namesOf = new Map<string, string>()

/**
 * Messages show what lies below `reached` below `name`.
 * @returns ends it
 */
export function showInPlaceOf(reached: string, name: string): () => void {
  namesOf.set(reached, name)
  return () => namesOf.delete(reached)
}

function named(path: string): string {
  const [reached = ''] = /^\/proc\/self\/fd\/\d+/.exec(path) ?? []
  const name = namesOf.get(reached)
  return name === undefined ? path : name + path.slice(reached.length)
}

/** A path for a message: control characters and other signs that a terminal could obey are escaped. */
export function shownPath(given: string): string {
  const path = named(given)
  // Most are; the classes below take milliseconds to build.
  if (/^[\x20-\x7e]*$/.test(path)) return path
  return path.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu, (sign) => {
    return `\\u{${(sign.codePointAt(0) ?? 0).toString(16)}}`
  })
}

/** A path for a command in a hint: quoted for the shell where it must be. */
export function quotedPath(path: string): string {
  const shown = shownPath(path)
  return /^[\w./@%+=:,-]+$/.test(shown) ? shown : `'${shown.replaceAll("'", `'\\''`)}'`
}
