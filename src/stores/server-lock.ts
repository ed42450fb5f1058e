import { KvxError } from '../core/errors.ts'
import { describeTarget, type ServerTarget } from './server-errors.ts'

/** What keeps other runs away from a database server. It ends with the process, however that ends. */
export type ServerLock = {
  /** @throws STORE_UNAVAILABLE when the server or the network ended it */
  requireHeld(): void
  /** Gives the lock back. May be called more than once. */
  release(): void
}

type Session = { readonly target: ServerTarget; readonly isLost: boolean; close(): Promise<void> }

/**
 * The lock that a session holds, as long as the session lives.
 * @param own locks of this very process, by the server's name for their sessions
 */
export function lockOf(session: Session, own: Set<string>, name: string): ServerLock {
  own.add(name)
  return {
    requireHeld: () => {
      if (!session.isLost) return
      throw new KvxError(
        'STORE_UNAVAILABLE',
        `${describeTarget(session.target)} ended the session that keeps other runs away`,
        { hint: '`kvx run resume` goes on when the server is up.' },
      )
    },
    release: () => {
      own.delete(name)
      void session.close()
    },
  }
}
