import { closeSync, constants, openSync, readFileSync } from 'node:fs'

/** O_PATH, for which Node has no name: holds what has a name without a permission or a side effect, and reads nothing. */
export const pathOnly = 0o10000000

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

/**
 * Our table of open files as an open directory, for a program that finds them in it under their numbers.
 * @param use gets the directory's own descriptor
 */
export async function withOpenFiles<T>(use: (table: number) => Promise<T>): Promise<T> {
  const table = openSync('/proc/self/fd', constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    return await use(table)
  } finally {
    closeSync(table)
  }
}
