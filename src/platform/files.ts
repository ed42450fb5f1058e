import { closeSync, constants, type Dirent, fsync, lstatSync, openSync, readSync } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rmdir, unlink } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { removeAcl } from './acl.ts'
import { errnoOf, fileError, isMissing, quotedPath, shownPath } from './file-errors.ts'
import {
  type FileFacts,
  type FileType,
  factsOf,
  modeText,
  openFacts,
  typeNames,
  typeOf,
} from './file-facts.ts'

/** Node sets O_CLOEXEC on every descriptor that it opens. */
const readFlags = constants.O_RDONLY | constants.O_NONBLOCK

export type ReadOptions = {
  /** In bytes; a larger file is refused before anything of it is read. */
  readonly maxBytes: number
  /** Follows a symbolic link as the last part of the path. Refused unless asked for. */
  readonly follow?: boolean
}

export type ReadFile = { readonly bytes: Buffer; readonly facts: FileFacts }

/**
 * Reads a whole regular file into a buffer of its own, outside Node's pool. Never hangs: directories, FIFOs,
 * devices and sockets are refused by what was opened, not by what the name meant a moment before.
 * @throws KvxError FILE_NOT_FOUND, UNSAFE_FILE_TYPE (type, link or size), IO_ERROR (changed while it was read)
 */
export async function readFileCapped(path: string, options: ReadOptions): Promise<ReadFile> {
  let fd: number | undefined
  try {
    fd = openSync(path, flagsOfReading(options.follow))
    const facts = openFacts(fd)
    requireRegular(path, facts, 'read')
    if (facts.size > options.maxBytes) throw tooLarge(path, facts.size, options.maxBytes)
    return { bytes: readExactly(fd, path, facts.size), facts }
  } catch (error) {
    throw fileError(error, 'read', path)
  } finally {
    if (fd !== undefined) closeQuietly(fd)
  }
}

/** What was read was read: an error of this tells nothing. */
export function closeQuietly(fd: number): void {
  try {
    closeSync(fd)
  } catch {
    // The system has closed it all the same.
  }
}

function flagsOfReading(follow = false): number {
  return follow ? readFlags : readFlags | constants.O_NOFOLLOW
}

/** As `openForReading`, a bare descriptor at once: for one file Node would load its promises and start threads. */
export function openToLook(path: string, follow = false): number {
  try {
    return openSync(path, flagsOfReading(follow))
  } catch (error) {
    throw fileError(error, 'read', path)
  }
}

/** Opens for reading without blocking, and without following a link as the last part of the path. */
export async function openForReading(path: string, follow = false): Promise<FileHandle> {
  try {
    return await open(path, flagsOfReading(follow))
  } catch (error) {
    throw fileError(error, 'read', path)
  }
}

/** @throws KvxError UNSAFE_FILE_TYPE for anything but a regular file. */
export function requireRegular(path: string, facts: FileFacts, action: string): void {
  if (facts.type === 'file') return
  throw new KvxError(
    'UNSAFE_FILE_TYPE',
    `cannot ${action} ${shownPath(path)}: it is ${typeNames[facts.type]}, not a regular file`,
    { hint: `see \`ls -ld ${quotedPath(path)}\``, details: { path: shownPath(path), type: facts.type } },
  )
}

function tooLarge(path: string, size: number, maxBytes: number): KvxError {
  return new KvxError(
    'UNSAFE_FILE_TYPE',
    `cannot read ${shownPath(path)}: it has ${size} bytes, at most ${maxBytes} are expected`,
    {
      hint: `check that it is the file you mean: \`ls -l ${quotedPath(path)}\``,
      details: { size, maxBytes },
    },
  )
}

function readExactly(fd: number, path: string, size: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(size + 1) // one more byte shows whether the file grew
  let length = 0
  while (length <= size) {
    const bytesRead = readSync(fd, bytes, length, size + 1 - length, length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  if (length === size) return bytes.subarray(0, size)
  bytes.fill(0)
  throw new KvxError('IO_ERROR', `cannot read ${shownPath(path)}: it changed while it was read`, {
    hint: 'run the command again when nothing else writes the file',
  })
}

/** Facts of what has this name, links not followed; undefined where nothing has it. */
export async function lstatFacts(path: string): Promise<FileFacts | undefined> {
  try {
    const found = lstatSync(path, { bigint: true, throwIfNoEntry: false })
    return found && factsOf(found)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw fileError(error, 'look at', path)
  }
}

/** The size of what has this name, 0 where nothing has it. Cheaper than all of its facts. */
export function sizeNow(path: string): number {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.size ?? 0
  } catch (error) {
    if (isMissing(error)) return 0
    throw fileError(error, 'look at', path)
  }
}

/** True when something has this name, a dangling link too. */
export async function exists(path: string): Promise<boolean> {
  return (await lstatFacts(path)) !== undefined
}

/** The same at once, for what opens its file synchronously. A path that cannot be looked at counts as there. */
export function existsNow(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined
  } catch {
    return true
  }
}

/**
 * The names in a directory, sorted by code unit.
 * @throws KvxError UNSAFE_FILE_TYPE for a name that is not UTF-8: no string of JavaScript reaches such a file.
 */
export async function listDirectory(path: string): Promise<string[]> {
  let names: Buffer[]
  try {
    names = await readdir(path, { encoding: 'buffer' })
  } catch (error) {
    throw fileError(error, 'list', path)
  }
  return names.map((name) => decodeName(path, name)).sort()
}

/** As {@link listDirectory}, with the types of what has these names, links not followed. */
export async function listEntries(
  path: string,
): Promise<{ readonly name: string; readonly type: FileType }[]> {
  let entries: Dirent<Buffer>[]
  try {
    entries = await readdir(path, { encoding: 'buffer', withFileTypes: true })
  } catch (error) {
    throw fileError(error, 'list', path)
  }
  const found = entries.map((entry) => ({ name: decodeName(path, entry.name), type: typeOf(entry) }))
  return found.sort((one, other) => (one.name < other.name ? -1 : 1))
}

function decodeName(directory: string, name: Buffer): string {
  const text = name.toString('utf8')
  if (Buffer.from(text, 'utf8').equals(name)) return text
  const shown = name.toString('latin1').replaceAll(/[^ -~]/g, (sign) => {
    return `\\x${sign.charCodeAt(0).toString(16).padStart(2, '0')}`
  })
  throw new KvxError('UNSAFE_FILE_TYPE', `a name in ${shownPath(directory)} is not UTF-8: ${shown}`, {
    hint: `rename the file; \`ls -b ${quotedPath(directory)}\` shows the names`,
  })
}

/**
 * Makes the last change to the names in a directory survive a power cut. The error is that of the fsync: who
 * calls this after a rename reports DURABILITY_UNKNOWN.
 */
export async function fsyncDirectory(path: string): Promise<void> {
  let fd: number | undefined
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)
    await fsyncOpen(fd)
  } catch (error) {
    throw fileError(error, 'write the directory', path)
  } finally {
    if (fd !== undefined) closeQuietly(fd)
  }
}

/** Waits for the medium in another thread: several files wait together. */
export async function fsyncOpen(fd: number): Promise<void> {
  await whenDone((done) => fsync(fd, done))
}

/** One call of Node that says in the end how it went. */
export async function whenDone<Answer = void>(
  call: (done: (error: Error | null, answer?: Answer) => void) => void,
): Promise<Answer> {
  return await new Promise((done, fail) => {
    call((error, answer) => (error === null ? done(answer as Answer) : fail(error)))
  })
}

/**
 * Makes a directory of exactly this mode, whatever the umask and the parent's default ACL, durably. The parent
 * must exist.
 * @returns false for a directory that existed already; it stays as it is.
 * @throws KvxError FILE_NOT_FOUND (no parent), TARGET_EXISTS (something else has the name)
 */
export async function makeDirectory(path: string, mode: number): Promise<boolean> {
  const target = resolve(path)
  try {
    await mkdir(target, mode & 0o700)
  } catch (error) {
    const found = errnoOf(error) === 'EEXIST' ? await lstatFacts(target) : undefined
    if (found?.type !== 'directory') throw fileError(error, 'make the directory', path)
    await fsyncDirectory(dirname(target))
    return false
  }
  try {
    await finishDirectory(target, mode)
  } catch (error) {
    await rmdir(target).catch(() => undefined)
    throw fileError(error, 'make the directory', path)
  }
  await fsyncAfterChange(dirname(target), `the directory ${shownPath(path)} is made`)
  return true
}

async function finishDirectory(path: string, mode: number): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    if ((mode & 0o077) !== 0) await removeAcl(handle.fd, path) // a wider mode would open inherited entries
    await handle.chmod(mode)
    const facts = openFacts(handle.fd)
    if (facts.uid !== process.geteuid?.() || facts.mode !== mode) {
      throw new KvxError('UNSAFE_MODE', `${shownPath(path)} did not take the mode ${modeText(mode)}`)
    }
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Removes a file durably: unlink, then fsync of the directory. A file that is missing already is fine; the
 * directory is written then too, since whoever removed it may have died before that. The bytes stay on the
 * medium until something overwrites them.
 */
export async function removeFile(path: string): Promise<void> {
  const target = resolve(path)
  try {
    await unlink(target)
  } catch (error) {
    if (!isMissing(error)) throw fileError(error, 'remove', path)
    if (!(await exists(dirname(target)))) return
  }
  await fsyncAfterChange(dirname(target), `${shownPath(path)} is removed`)
}

/**
 * The directory fsync that ends a change of names. It is never tried twice: the second one would succeed
 * without having written anything.
 * @param done what was done, for the message
 * @throws KvxError DURABILITY_UNKNOWN
 */
export async function fsyncAfterChange(directory: string, done: string): Promise<void> {
  try {
    await fsyncDirectory(directory)
  } catch {
    throw new KvxError(
      'DURABILITY_UNKNOWN',
      `${done}, but its directory could not be written: a power cut may still undo it`,
      { hint: `look at \`dmesg | tail\` and at the disk of ${quotedPath(directory)}` },
    )
  }
}
