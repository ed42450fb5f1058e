import { RestoreSession } from '../backup/shares/restore-session.ts'
import { Secret } from '../core/secret.ts'
import { dealShares } from '../core/share/deal.ts'
import type { Share } from '../core/share/share-text.ts'
import { fingerprintOf } from '../core/fingerprint.ts'
import { randomBytes } from '../platform/random.ts'
import { rebuildFrom, type ShareSource } from './share-source.ts'

/** The set of every training: no real one is likely to have it, and people see what it is. */
const trainingSet = 'exampl'

export type Training = {
  readonly threshold: number
  readonly of: number
  /** Shows a share of the throw-away key; undefined where nobody is there. */
  readonly show: ((share: Share) => Promise<void>) | undefined
  /** Where people type it back; undefined to let the shares rebuild the key by themselves. */
  readonly source: ShareSource | undefined
}

/**
 * A drill with a key that is made for it and thrown away: nothing of the home is read but its numbers, and nothing
 * is written.
 * @throws KvxError as a drill does: that is what is trained
 */
export async function train({ threshold, of, show, source }: Training): Promise<void> {
  const material = Secret.take(randomBytes(32))
  const shares = await dealShares(material, { threshold, of, setId: trainingSet })
  const session = new RestoreSession(undefined)
  try {
    const fingerprint = fingerprintOf(material)
    for (const share of shares.slice(0, threshold)) await show?.(share)
    const byThemselves: ShareSource = {
      collect: async () => giveAll(session, shares.slice(0, threshold)),
      retry: undefined,
    }
    const rebuilt = await rebuildFrom(source ?? byThemselves, session, () => fingerprint)
    rebuilt.material.wipe()
  } finally {
    material.wipe()
    session.wipe()
    for (const { point } of shares) point.wipe()
  }
}

function giveAll(session: RestoreSession, shares: readonly Share[]): void {
  for (const share of shares)
    session.add({ ...share, point: share.point.lend((bytes) => Secret.copy(bytes)) })
}
