import { whileLocked } from '../platform/lingering-lock.ts'
import type { Home } from './home.ts'

/** A change takes milliseconds, so a second command waits for the first instead of refusing. */
const homeWaitMs = 10_000

/**
 * Holds the lock of the home for a change of its files.
 * @throws LOCKED when another command has it for ten seconds
 */
export async function whileHomeLocked<T>({ path }: Pick<Home, 'path'>, work: () => Promise<T>): Promise<T> {
  return await whileLocked(path, { what: 'the keyring', waitMs: homeWaitMs }, work)
}
