import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { errnoOf, fileError, shownPath } from './file-errors.ts'
import { openFacts } from './file-facts.ts'
import { fsyncDirectory, requireRegular } from './files.ts'
import { writeFully } from './temp-file.ts'

/** An open file that only grows. After a failed call it takes nothing more: close it and look at the file. */
export type Appender = {
  /** Appends all bytes. Not durable before `sync`. On failure the file is cut back to its length before. */
  append(bytes: Uint8Array): Promise<void>
  /** Takes back everything after this length, for a file that is no record of what was done. */
  cut(length: number): Promise<void>
  /** Makes everything appended so far survive a power cut. */
  sync(): Promise<void>
  close(): Promise<void>
  /** Length of the file in bytes, with everything that was appended. */
  readonly length: number
}

/**
 * Appends bytes durably: they are on the medium when this returns.
 * @returns the new length of the file in bytes
 * @throws KvxError; the file is then as long as before, as far as the system lets it be cut back
 */
export async function appendDurable(path: string, bytes: Uint8Array): Promise<number> {
  const appender = await openAppender(path)
  try {
    await appender.append(bytes)
    await appender.sync()
    return appender.length
  } finally {
    await appender.close()
  }
}

/**
 * Opens a file of kvx's own for appending; a new one gets mode 0600. One writer at a time: hold a lock.
 * @throws KvxError UNSAFE_FILE_TYPE for links and for anything but a regular file
 */
export async function openAppender(path: string): Promise<Appender> {
  const target = resolve(path)
  try {
    const { handle, isNew } = await openOrCreate(target)
    try {
      if (isNew) await handle.chmod(0o600)
      const facts = openFacts(handle.fd)
      requireRegular(target, facts, 'append to')
      // Before the first byte: whoever finds bytes in the file then knows that its name is durable too.
      if (facts.size === 0) await fsyncDirectory(dirname(target))
      return appenderOf(handle, target, facts.size)
    } catch (error) {
      await handle.close().catch(() => undefined)
      throw error
    }
  } catch (error) {
    throw fileError(error, 'append to', path)
  }
}

const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK

async function openOrCreate(path: string): Promise<{ handle: FileHandle; isNew: boolean }> {
  try {
    return { handle: await open(path, flags), isNew: false }
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
  return { handle: await open(path, flags | constants.O_CREAT | constants.O_EXCL, 0o600), isNew: true }
}

function appenderOf(handle: FileHandle, path: string, size: number): Appender {
  let length = size
  let durable = size
  let failed = false

  /** What was appended but not acknowledged must not be taken for durable by a later reader. */
  async function giveUp(cause: unknown, keep: number): Promise<never> {
    failed = true
    await handle.truncate(keep).catch(() => undefined)
    length = keep
    throw fileError(cause, 'append to', path)
  }

  function requireUsable(): void {
    if (failed)
      throw new KvxError('IO_ERROR', `cannot append to ${shownPath(path)}: writing it failed before`)
  }

  return {
    async append(bytes) {
      requireUsable()
      try {
        await writeFully(handle.fd, bytes)
      } catch (error) {
        await giveUp(error, length)
      }
      length += bytes.length
    },
    async cut(to) {
      requireUsable()
      try {
        await handle.truncate(to)
      } catch (error) {
        await giveUp(error, length)
      }
      length = to
      durable = Math.min(durable, to)
    },
    async sync() {
      requireUsable()
      try {
        await handle.sync()
      } catch (error) {
        await giveUp(error, durable)
      }
      durable = length
    },
    async close() {
      await handle.close().catch((error: unknown) => {
        if (!failed) throw fileError(error, 'close', path)
      })
    },
    get length() {
      return length
    },
  }
}
