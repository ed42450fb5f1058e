import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { runChild, toolFailed } from './child.ts'
import { monotonicMs } from './clock.ts'
import { fileError, shownPath } from './file-errors.ts'
import { findLockHolder } from './lock-holder.ts'

export type Release = {
  /** Gives the lock back. May be called more than once. */
  release(): void
}

export type Lock = Release & {
  /** Whether this is still the directory that was locked, and not another one under its name. */
  isOf(directory: string): boolean
}

export type LockOptions = {
  /** How long to go on trying; not at all unless told. */
  readonly waitMs?: number
}

/**
 * Locks a directory against other runs of kvx. The lock is the kernel's: it lies on an open descriptor of this
 * process, so that it ends with the process, however that ends, and no lock file stays behind.
 * @param what what it protects, for the message: `the home /var/lib/kvx`
 * @throws KvxError LOCKED that names the process which holds it, as far as the system shows it
 */
export async function acquireLock(directory: string, what: string, options: LockOptions = {}): Promise<Lock> {
  const fd = openDirectory(directory)
  try {
    await lockOpen(fd, what, options.waitMs ?? 0)
  } catch (error) {
    closeSync(fd)
    throw error
  }
  let isOpen = true
  return {
    release() {
      if (!isOpen) return
      isOpen = false
      closeSync(fd)
    },
    isOf(name) {
      const [locked, named] = [fstatSync(fd), statSync(name, { throwIfNoEntry: false })]
      return isOpen && named?.dev === locked.dev && named.ino === locked.ino
    },
  }
}

/**
 * Locks several directories, always in the order of their canonical paths, so that two runs cannot wait for
 * each other. All of them or none.
 */
export async function acquireLocks(
  directories: readonly string[],
  what: string,
  options: LockOptions = {},
): Promise<Release> {
  const canonical = await Promise.all(directories.map(canonicalPath))
  const held: Lock[] = []
  const release = (): void => held.splice(0).forEach((lock) => lock.release())
  try {
    for (const directory of [...new Set(canonical)].sort()) {
      held.push(await acquireLock(directory, what, options))
    }
  } catch (error) {
    release()
    throw error
  }
  return { release }
}

// A bare descriptor, not a FileHandle: those are closed by the garbage collector, and the lock would go with it.
function openDirectory(directory: string): number {
  try {
    return openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  } catch (error) {
    throw fileError(error, 'lock', directory)
  }
}

async function canonicalPath(directory: string): Promise<string> {
  return await realpath(resolve(directory)).catch((error: unknown) => {
    throw fileError(error, 'lock', directory)
  })
}

const conflict = 75
/** A helper that waits outlives a killed command by this time at most. */
const sliceMs = 500

async function lockOpen(fd: number, what: string, waitMs: number): Promise<void> {
  const end = monotonicMs() + waitMs
  if (await tryFlock(fd, what, 0)) return
  for (let left = waitMs; left > 0; left = end - monotonicMs())
    if (await tryFlock(fd, what, Math.min(left, sliceMs))) return
  throw await lockedError(fd, what)
}

/**
 * The helper locks the open file description that it shares with this process, and ends. One that waits stands in the
 * kernel's queue, so that whoever gives the lock back and wants it again comes after it.
 */
async function tryFlock(fd: number, what: string, waitMs: number): Promise<boolean> {
  const patience = waitMs === 0 ? ['-n'] : ['-w', (Math.ceil(waitMs) / 1000).toFixed(3)]
  const args = [...patience, '-x', '-E', String(conflict), '3']
  const { exitCode } = await runChild('flock', args, { fds: [fd], ownSession: true })
  if (exitCode !== 0 && exitCode !== conflict)
    throw toolFailed('flock', exitCode, `locked ${shownPath(what)}`)
  return exitCode === 0
}

async function lockedError(fd: number, what: string): Promise<KvxError> {
  const holder = await findLockHolder(fd).catch(() => undefined)
  if (holder === undefined) {
    return new KvxError('LOCKED', `${shownPath(what)} is locked by another process`, {
      hint: 'run the command again when it has ended; as root kvx can name the process',
    })
  }
  const { pid, command, startedAt } = holder
  return new KvxError(
    'LOCKED',
    `${shownPath(what)} is locked by process ${pid} (${shownPath(command)}), running since ${startedAt}`,
    {
      hint: `wait until it has ended, or look at it with \`ps -fp ${pid}\``,
      details: { pid, command: shownPath(command), startedAt },
    },
  )
}
