import { isKvxError } from '../core/errors.ts'
import type { Home } from '../keyring/home.ts'
import type { WaitingVersion } from '../keyring/rebuild.ts'
import { Journal } from './journal.ts'

/**
 * The versions that unfinished rotations made and that have not sealed yet, by their key. A journal that cannot be
 * read tells of none: it may lie on the disk that took the keyring.
 */
export function waitingRotations(home: Home): ReadonlyMap<string, WaitingVersion> {
  try {
    const journal = Journal.open(home, { look: true })
    try {
      const waiting = journal
        .unfinished()
        .filter(
          ({ id, kind, direction }) =>
            kind === 'rotate' && direction === 'forward' && !journal.hasStep(id, 'activated'),
        )
      return new Map(waiting.map(({ id, key, toVersion }) => [key, { version: toVersion, run: id }]))
    } finally {
      journal.close()
    }
  } catch (error) {
    if (!isKvxError(error)) throw error
    return new Map()
  }
}
