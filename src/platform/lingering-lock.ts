import { monotonicMs } from './clock.ts'
import { acquireLock, type Lock } from './lock.ts'
import { isLoneCommand } from './lone-command.ts'

/** How long a lock that was given back stays with this process, in case its next step takes it again. */
const lingerMs = 25
/** From when on it goes back at once, so that others who wait for it get their turn. */
const longestMs = 250

/** A lock that nobody in this process uses now. */
type Idle = { readonly lock: Lock; readonly since: number; readonly timer: NodeJS.Timeout }

const idle = new Map<string, Idle>()
/** Steps of this process that wait for the lock of a directory. */
const waiting = new Map<string, number>()

/**
 * Holds the lock of a directory for `work`, and waits for who has it. For short steps of which one command takes many:
 * in a process that does one command the lock stays for some milliseconds afterwards, as taking it means to start
 * another program. It is the lock of `acquireLock` all the while, and ends with the process.
 * @throws KvxError LOCKED after `waitMs`, naming the process that holds it
 */
export async function whileLocked<T>(
  directory: string,
  { what, waitMs }: { readonly what: string; readonly waitMs: number },
  work: () => Promise<T>,
): Promise<T> {
  const { lock, since } = takeIdle(directory) ?? (await take(directory, what, waitMs))
  try {
    return await work()
  } finally {
    giveBack(directory, lock, since)
  }
}

type Held = Pick<Idle, 'lock' | 'since'>

function takeIdle(directory: string): Held | undefined {
  const found = idle.get(directory)
  if (found === undefined) return undefined
  forget(directory, found)
  if (found.lock.isOf(directory)) return found
  found.lock.release() // the directory was replaced meanwhile
  return undefined
}

async function take(directory: string, what: string, waitMs: number): Promise<Held> {
  waiting.set(directory, (waiting.get(directory) ?? 0) + 1)
  try {
    return { lock: await acquireLock(directory, what, { waitMs }), since: monotonicMs() }
  } finally {
    const left = (waiting.get(directory) ?? 1) - 1
    if (left === 0) waiting.delete(directory)
    else waiting.set(directory, left)
  }
}

function giveBack(directory: string, lock: Lock, since: number): void {
  const isDue = monotonicMs() - since > longestMs
  if (!isLoneCommand() || isDue || waiting.has(directory) || idle.has(directory)) {
    lock.release()
    return
  }
  const timer = setTimeout(releaseIdle, lingerMs, directory).unref()
  if (idle.size === 0) process.prependListener('beforeExit', releaseAll)
  idle.set(directory, { lock, since, timer })
}

function releaseIdle(directory: string): void {
  const found = idle.get(directory)
  if (found === undefined) return
  forget(directory, found)
  found.lock.release()
}

function releaseAll(): void {
  for (const directory of idle.keys()) releaseIdle(directory)
}

function forget(directory: string, { timer }: Idle): void {
  clearTimeout(timer)
  idle.delete(directory)
  if (idle.size === 0) process.removeListener('beforeExit', releaseAll)
}
