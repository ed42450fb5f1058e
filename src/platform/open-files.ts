import { readFileSync } from 'node:fs'

/** What Linux gives a process that nobody gave another limit. */
const usual = 1024

/** How many files this process may have open at once (Node has taken the hard limit already when it starts). */
export function openFilesLimit(): number {
  try {
    const [, soft] = /^Max open files +(\d+) /m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? []
    return soft === undefined ? usual : Number(soft)
  } catch {
    return usual
  }
}
