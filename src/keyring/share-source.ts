import type { RestoreSession } from '../backup/shares/restore-session.ts'
import { type ShareSet, verifyShareSet } from '../backup/shares/share-set.ts'
import { listShareSets } from '../backup/shares/share-sets.ts'
import { isKvxError, type KvxError } from '../core/errors.ts'
import type { Rebuilt } from '../core/share/recombine.ts'
import type { Workspace } from './workspace.ts'

/** Where shares come from: people at a terminal, or a descriptor. */
export type ShareSource = {
  /** Asks for shares until the session has `count` of them, or nobody gives more. */
  readonly collect: (session: RestoreSession, count: 'enough' | number) => Promise<void>
  /** Told that the shares do not fit while another one could tell which is wrong; undefined to give up. */
  readonly retry: ((why: KvxError) => void) | undefined
}

/**
 * Collects shares until the key is right. With a person there, a mismatch asks for one share more.
 * @param expected the full fingerprint, asked for once the shares are there; undefined where it is not known
 * @throws KvxError FINGERPRINT_DIFFERS, BACKUP_UNUSABLE naming a share, SHARE_MISSING: the session is wiped then
 */
export async function rebuildFrom(
  source: ShareSource,
  session: RestoreSession,
  expected: () => string | undefined,
): Promise<Rebuilt> {
  try {
    for (let count: 'enough' | number = 'enough'; ; count = session.count + 1) {
      const before = session.count
      await source.collect(session, count)
      try {
        return await session.rebuild(expected())
      } catch (error) {
        const isOpen = isKvxError(error, 'FINGERPRINT_DIFFERS') && session.count > before && !session.isAll
        if (!isOpen || source.retry === undefined) throw error
        source.retry(error)
      }
    }
  } catch (error) {
    session.wipe()
    throw error
  }
}

/** Manifests of this home that its own key signed. */
export async function ownSets(workspace: Workspace): Promise<readonly ShareSet[]> {
  const { sets } = await listShareSets(workspace.home.backups)
  return sets.filter((stored) => verifyShareSet(stored, workspace.verify) === 'valid').map(({ set }) => set)
}
