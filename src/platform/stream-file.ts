import { type FileHandle, link, rename, unlink } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { type Access, applyAccess, type NumericAccess, requireGivable, resolveAccess } from './access.ts'
import { readAcl } from './acl.ts'
import { errnoOf, fileError, quotedPath, shownPath } from './file-errors.ts'
import { type FileFacts, openFacts, sameFile } from './file-facts.ts'
import { fsyncAfterChange, fsyncDirectory, lstatFacts, openForReading, requireRegular } from './files.ts'
import { copyAttributes, type Finish } from './successor.ts'
import { discard, fillTemp, placedFacts, type Sheet } from './temp-file.ts'

/** An open regular file, read at any place. It is the same file however often its name is given to another. */
export type StreamReader = {
  readonly path: string
  /** As it was opened. */
  readonly facts: FileFacts
  /** Of the open file, for threads that read it themselves; valid until `close`. */
  readonly fd: number
  /**
   * Exactly so many bytes, in the beginning of `into` or in a buffer of their own.
   * @throws KvxError IO_ERROR when the file is shorter now
   */
  read(position: number, length: number, into?: Buffer): Promise<Buffer>
  /** @throws KvxError IO_ERROR when somebody wrote into the open file since */
  requireUnchanged(): Promise<void>
  close(): Promise<void>
}

/** @throws KvxError FILE_NOT_FOUND, UNSAFE_FILE_TYPE (link, no regular file), IO_ERROR */
export async function openStreamReader(path: string, follow = false): Promise<StreamReader> {
  const handle = await openForReading(resolve(path), follow)
  let facts: FileFacts
  try {
    facts = openFacts(handle.fd)
    requireRegular(path, facts, 'read')
  } catch (error) {
    await handle.close().catch(() => undefined)
    throw fileError(error, 'read', path)
  }
  return {
    path,
    facts,
    fd: handle.fd,
    read: async (position, length, into) =>
      readAt(handle, path, { position, bytes: into?.subarray(0, length) ?? Buffer.allocUnsafeSlow(length) }),
    requireUnchanged: async () => {
      const now = openFacts(handle.fd)
      if (now.size !== facts.size || now.mtimeNs !== facts.mtimeNs) throw changedWhileRead(path)
    },
    close: async () => handle.close().catch(() => undefined),
  }
}

async function readAt(
  handle: FileHandle,
  path: string,
  range: { readonly position: number; readonly bytes: Buffer },
): Promise<Buffer> {
  const { position, bytes } = range
  let length = 0
  try {
    while (length < bytes.length) {
      const { bytesRead } = await handle.read(bytes, length, bytes.length - length, position + length)
      if (bytesRead === 0) throw changedWhileRead(path)
      length += bytesRead
    }
  } catch (error) {
    throw fileError(error, 'read', path)
  }
  return bytes
}

function changedWhileRead(path: string): KvxError {
  return new KvxError('IO_ERROR', `cannot read ${shownPath(path)}: it changed while it was read`, {
    hint: 'Run the command again when nothing else writes the file.',
  })
}

export type StreamTarget = {
  /** The file that the caller read; undefined where there was none. Refused when it is another one now. */
  readonly expected: FileFacts | undefined
  /** For a new file. An existing one keeps owner, group, mode, ACL and user xattrs. */
  readonly access: Access
  /** Writes the content. */
  readonly fill: (sheet: Sheet) => Promise<void>
  /** Looks at the new file, which is on the medium, before it gets its name. Throws to keep the old one. */
  readonly prove?: (temporary: string) => Promise<void>
  /** Called last before the name changes, with the old file still in its place. */
  readonly keepOld?: (old: FileFacts) => Promise<void>
}

/**
 * Writes a file of any size, new or in place of the old one, durably and with flat memory: a temporary file of
 * its own, filled, given its access, fsynced, closed, proven; then the name changes and the directory is
 * fsynced. At every moment the name holds the old or the new file, complete. Other hard links of the old file
 * keep it: they are backups. Hold a lock: the temporary name is fixed.
 * @throws KvxError TARGET_EXISTS (a new file's name was taken), LOCKED (changed meanwhile), UNSAFE_FILE_TYPE,
 *   UNSAFE_OWNER, ACL_UNSUPPORTED, DISK_FULL, IO_ERROR: the old state is untouched; DURABILITY_UNKNOWN: the new
 *   file is in place, but a power cut may still undo it
 */
export async function writeStreamed(path: string, target: StreamTarget): Promise<FileFacts> {
  const final = resolve(path)
  let old: FileHandle | undefined
  try {
    if (target.expected !== undefined) old = await openExpected(final, target.expected)
    const finish = old === undefined ? await newAccess(path, target.access) : await keptAccess(old.fd, path)
    const temp = await fillTemp(final, target.fill, finish)
    try {
      await target.prove?.(temp.path)
      if (target.expected === undefined) await linkNew(temp.path, final, path)
      else await swap(temp.path, final, { expected: target.expected, keepOld: target.keepOld })
    } catch (error) {
      await discard(temp.path)
      throw error
    }
    const placed = await placedFacts(final, temp)
    await fsyncAfterChange(dirname(final), `${shownPath(path)} is written`)
    return placed
  } catch (error) {
    throw fileError(error, 'write', path)
  } finally {
    await old?.close().catch(() => undefined)
  }
}

async function openExpected(path: string, expected: FileFacts): Promise<FileHandle> {
  const handle = await openForReading(path)
  try {
    const facts = openFacts(handle.fd)
    requireRegular(path, facts, 'replace')
    if (!sameFile(facts, expected)) throw changedMeanwhile(path)
    requireGivable(path, facts.uid, facts.gid)
    return handle
  } catch (error) {
    await handle.close().catch(() => undefined)
    throw error
  }
}

async function newAccess(path: string, access: Access): Promise<Finish> {
  const wanted = await resolveAccess(path, access, undefined)
  return async (fd) => applyAccess(fd, path, wanted)
}

/** User xattrs by `cp` between the two open files, then owner, mode and ACL as they are, read back. */
async function keptAccess(old: number, path: string): Promise<Finish> {
  const { uid, gid } = openFacts(old)
  const wanted: NumericAccess = { uid, gid, acl: await readAcl(old, path) }
  return async (fresh) => {
    await copyAttributes('xattr', [{ old, fresh, path }])
    await applyAccess(fresh, path, wanted)
  }
}

/** `link` never replaces what has the name, unlike `rename`. */
async function linkNew(temp: string, final: string, path: string): Promise<void> {
  try {
    await link(temp, final)
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
    throw new KvxError('TARGET_EXISTS', `${shownPath(path)} exists already and is not overwritten`, {
      hint: `Choose another name, or look at it with \`ls -l ${quotedPath(path)}\`.`,
      details: { path: shownPath(path) },
    })
  }
  await unlink(temp)
}

async function swap(
  temp: string,
  final: string,
  old: { readonly expected: FileFacts; readonly keepOld: StreamTarget['keepOld'] },
): Promise<void> {
  const before = await lstatFacts(final)
  if (before === undefined || !sameFile(before, old.expected)) throw changedMeanwhile(final)
  if (old.keepOld !== undefined) {
    await old.keepOld(before)
    // A hard link changes the time of the inode, so what is left to compare are the file and its content.
    const after = await lstatFacts(final)
    const isSame =
      after?.ino === before.ino &&
      after.dev === before.dev &&
      after.mtimeNs === before.mtimeNs &&
      after.size === before.size
    if (!isSame) throw changedMeanwhile(final)
  }
  await rename(temp, final)
}

function changedMeanwhile(path: string): KvxError {
  return new KvxError('LOCKED', `cannot replace ${shownPath(path)}: another program changed it meanwhile`, {
    hint: 'Run the command again; if it happens again, find out what else writes the file.',
    details: { path: shownPath(path) },
  })
}

/**
 * Gives a file a second name, durably, its content included. A second name that it has already is fine.
 * @returns false where the file system cannot: another one, or no hard links
 * @throws KvxError TARGET_EXISTS when another file has the name, DISK_FULL, IO_ERROR, DURABILITY_UNKNOWN
 */
export async function linkFile(from: string, to: string): Promise<boolean> {
  try {
    const handle = await openForReading(from)
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
    await link(from, to)
  } catch (error) {
    const errno = errnoOf(error)
    if (errno !== undefined && ['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP'].includes(errno))
      return false
    if (errno !== 'EEXIST') throw fileError(error, 'link', from)
    const [one, other] = [await lstatFacts(from), await lstatFacts(to)]
    if (one === undefined || one.ino !== other?.ino || one.dev !== other.dev)
      throw fileError(error, 'link', to)
  }
  await fsyncDirectory(dirname(resolve(to)))
  return true
}

const chunkLength = 1_048_576

/** The bytes of an open file from its beginning, in pieces of 1 MiB. */
export async function* streamFrom(reader: StreamReader): AsyncGenerator<Buffer> {
  for (let position = 0; position < reader.facts.size; position += chunkLength) {
    yield await reader.read(position, Math.min(chunkLength, reader.facts.size - position))
  }
  await reader.requireUnchanged()
}

/**
 * Standard input as it comes.
 * @throws KvxError NO_TERMINAL when a person sits there: what is typed would stay on the screen
 */
export async function* streamStdin(): AsyncGenerator<Buffer> {
  if (process.stdin.isTTY) {
    throw new KvxError(
      'NO_TERMINAL',
      'standard input is a terminal: what is typed there stays on the screen',
      {
        hint: 'Pipe the bytes in, e.g. `kvx … < FILE`.',
      },
    )
  }
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) yield chunk
}

/**
 * Writes to standard output and waits until the bytes are taken.
 * @throws KvxError IO_ERROR when the reader has gone
 */
export async function writeStdout(bytes: Uint8Array): Promise<void> {
  await new Promise<void>((done, fail) => {
    process.stdout.write(bytes, (error) => {
      if (error === null || error === undefined) done()
      else fail(new KvxError('IO_ERROR', 'standard output was closed before everything was written'))
    })
  })
}
