import { closeSync, constants, fdatasync, openSync, unlinkSync, write, writeSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { errnoOf, fileError, isMissing, quotedPath, shownPath } from './file-errors.ts'
import { type FileFacts, openFacts } from './file-facts.ts'
import { closeQuietly, fsyncOpen, lstatFacts, whenDone } from './files.ts'
import type { Company, SharedJob } from './together.ts'

/**
 * A new file under its temporary name: complete, on the medium, closed; nothing but the change of the name is
 * left to do.
 */
export type TempFile = { readonly path: string; readonly facts: FileFacts }

/**
 * The name of an unfinished file. It is fixed, so that a dead run's leftover is found; the lock of the caller
 * keeps two runs apart.
 */
export function tempPathOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.kvx-new`)
}

/** Removes what a dead run left under the temporary name of `path`. Only the name goes, whatever it points to. */
export async function removeLeftover(path: string): Promise<boolean> {
  try {
    unlinkSync(tempPathOf(path))
    return true
  } catch (error) {
    if (isMissing(error)) return false
    throw fileError(error, 'remove', tempPathOf(path))
  }
}

/**
 * Writes the temporary file of `path` from bytes in memory; otherwise as {@link fillTemp}. Those of a company wait for
 * the medium together, so that no name changes while others are still written.
 */
export async function writeTemp(
  path: string,
  bytes: Uint8Array,
  finish: (fd: number) => Promise<void>,
  company?: Company,
): Promise<TempFile> {
  const sync = company && ((fd: number): Promise<void> => company.share(fsyncAll, fd))
  return fillTemp(path, async (sheet) => sheet.write(bytes), finish, sync)
}

const fsyncAll: SharedJob<number, void> = async (all) => await Promise.allSettled(all.map(fsyncOpen))

/** The open temporary file, for who fills it. */
export type Sheet = {
  readonly path: string
  readonly fd: number
  /** Appends. What it was given may be changed once it has returned. */
  readonly write: (bytes: Uint8Array) => Promise<void>
  /** Counts bytes that threads wrote to the descriptor themselves. */
  readonly wrote: (bytes: number) => void
  /** Sends what is written by now to the medium. A failure is final, like that of the fsync at the end. */
  readonly flush: () => Promise<void>
}

/**
 * Writes the temporary file of `path`: created anew and for nobody else, written whole, finished, fsynced,
 * closed. On any error it is removed again and never fsynced twice: after a failed fsync the system calls the
 * pages clean, so that a second one would succeed over lost bytes.
 * @param fill writes the content, piece by piece or by threads of its own, which have ended when it returns
 * @param finish gives the open file its owner and access
 * @param sync waits for the medium
 */
export async function fillTemp(
  path: string,
  fill: (sheet: Sheet) => Promise<void>,
  finish: (fd: number) => Promise<void>,
  sync = fsyncOpen,
): Promise<TempFile> {
  const temp = tempPathOf(path)
  const fd = openNew(temp) ?? (await openInPlaceOfLeftover(path))
  let written = 0
  let facts: FileFacts
  try {
    try {
      await fill({
        path: temp,
        fd,
        write: async (bytes) => {
          await writeFully(fd, bytes)
          written += bytes.length
        },
        wrote: (bytes) => {
          written += bytes
        },
        flush: async () => whenDone((done) => fdatasync(fd, done)),
      })
      await finish(fd)
      await sync(fd)
      facts = openFacts(fd)
    } catch (error) {
      closeQuietly(fd)
      throw error
    }
    closeSync(fd) // some file systems report a failed write only here
    if (facts.size !== written) {
      throw new KvxError('IO_ERROR', `${shownPath(temp)} has ${facts.size} bytes instead of ${written}`)
    }
  } catch (error) {
    await discard(temp)
    throw error
  }
  return { path: temp, facts }
}

/** Undefined when something has the name. */
function openNew(temp: string): number | undefined {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
  try {
    return openSync(temp, flags, 0o600)
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return undefined
    throw error
  }
}

async function openInPlaceOfLeftover(path: string): Promise<number> {
  await removeLeftover(path)
  const fd = openNew(tempPathOf(path))
  if (fd !== undefined) return fd
  const temp = shownPath(tempPathOf(path))
  throw new KvxError('LOCKED', `another process put ${temp} there at the same moment`, {
    hint: 'run the command again when the other one has ended',
  })
}

/**
 * Facts of the new file under its final name.
 * @throws KvxError UNSAFE_DIRECTORY when it is not the one that was written: somebody else writes there
 */
export async function placedFacts(target: string, temp: TempFile): Promise<FileFacts> {
  const placed = await lstatFacts(target)
  if (placed?.ino === temp.facts.ino && placed.dev === temp.facts.dev) return placed
  throw new KvxError(
    'UNSAFE_DIRECTORY',
    `another file was put at ${shownPath(target)} while it was written`,
    {
      hint: `find out who writes there: \`ls -la ${quotedPath(dirname(target))}\``,
      details: { path: shownPath(target) },
    },
  )
}

/** Removes a temporary file that will not be used. The error that led here matters more than one of this. */
export async function discard(temp: string): Promise<void> {
  try {
    unlinkSync(temp)
  } catch {
    // It stays as a leftover, which the next writer removes.
  }
}

/** A trip to another thread and back takes longer than so many bytes to the cache. */
const smallBytes = 65_536

/**
 * Writes all bytes at the descriptor's position: the kernel may take fewer at a time without an error. Small pieces are
 * written at once.
 */
export async function writeFully(fd: number, bytes: Uint8Array): Promise<void> {
  let offset = 0
  while (offset < bytes.length) {
    const left = bytes.length - offset
    const written =
      left <= smallBytes
        ? writeSync(fd, bytes, offset, left, null)
        : await whenDone<number>((done) => write(fd, bytes, offset, left, null, done))
    if (written === 0) throw new KvxError('IO_ERROR', 'the system writes no more bytes')
    offset += written
  }
}
