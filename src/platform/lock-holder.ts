import { fstatSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'

export type LockHolder = {
  readonly pid: number
  /** The command as a person typed it, shortened; kvx takes no secret there. */
  readonly command: string
  /** UTC to the second. */
  readonly startedAt: string
}

/**
 * The process that holds a `flock` on the same file as this open descriptor. `/proc/locks` names the helper that
 * took the lock and is dead; the lock shows in `fdinfo` of every descriptor that carries it (proc_pid_fdinfo(5)).
 * Without root only the own user's processes can be seen.
 */
export async function findLockHolder(fd: number): Promise<LockHolder | undefined> {
  const wanted = fstatSync(fd, { bigint: true })
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    if (await holdsLock(pid, wanted)) return await describe(Number(pid))
  }
  return undefined
}

async function holdsLock(pid: string, wanted: { dev: bigint; ino: bigint }): Promise<boolean> {
  const descriptors = await readdir(`/proc/${pid}/fdinfo`).catch(() => [])
  for (const descriptor of descriptors) {
    const info = await readFile(`/proc/${pid}/fdinfo/${descriptor}`, 'latin1').catch(() => '')
    if (!/^lock:\s.*\bFLOCK\b/m.test(info)) continue
    const found = await stat(`/proc/${pid}/fd/${descriptor}`, { bigint: true }).catch(() => undefined)
    if (found?.dev === wanted.dev && found.ino === wanted.ino) return true
  }
  return false
}

async function describe(pid: number): Promise<LockHolder | undefined> {
  try {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8')
    const command = asTyped(line.split('\0')).join(' ').trim().slice(0, 200)
    const startedAt = new Date(await startTime(pid)).toISOString().slice(0, 19)
    return { pid, command: command === '' ? 'unknown' : command, startedAt: `${startedAt}Z` }
  } catch {
    return undefined // it ended in between
  }
}

/** The interpreter and its options, which the launcher adds, tell nobody who is at work. */
function asTyped(words: readonly string[]): readonly string[] {
  const at = words.findIndex((word) => /(?:^|\/)(?:kvx|kvcrypt)(?:\.cjs)?$/.test(word))
  const name = words[at]?.replace(/^.*\//, '').replace(/\.cjs$/, '')
  return name === undefined ? words : [name, ...words.slice(at + 1)]
}

/** Field 22 of /proc/PID/stat counts ticks since boot, 100 a second on every Linux; the name may hold blanks. */
async function startTime(pid: number): Promise<number> {
  const line = await readFile(`/proc/${pid}/stat`, 'latin1')
  const ticks = Number(line.slice(line.lastIndexOf(')') + 2).split(' ')[19])
  const boot = Number(/^btime (\d+)$/m.exec(await readFile('/proc/stat', 'latin1'))?.[1])
  return (boot + ticks / 100) * 1000
}
