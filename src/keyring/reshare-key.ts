import { RestoreSession } from '../backup/shares/restore-session.ts'
import type { StoredShareSet } from '../backup/shares/share-sets.ts'
import type { Secret } from '../core/secret.ts'
import { livingSets, meantSet, planOfSet } from './known-set.ts'
import { rebuildFrom, type ShareSource } from './share-source.ts'
import { splitKeyOf, type SplitKeyRequest, type SplitOfKey } from './split-key.ts'
import type { Workspace } from './workspace.ts'

export type ReshareRequest = Omit<SplitKeyRequest, 'name' | 'version'> & {
  /** A set, NAME or NAME@VERSION. */
  readonly subject: string
  /** A quorum of the old set rebuilds the key; the home's own key file is taken when undefined. */
  readonly source: ShareSource | undefined
}

export type Reshared = SplitOfKey & {
  /** The sets that are superseded once the new one is active. */
  readonly replaces: readonly StoredShareSet[]
}

/**
 * Deals the same key anew: other numbers, other people, or fresh shares for the same ones. The old sets go on to
 * count until the new one is active; even then their shares rebuild the key until they are destroyed.
 * @throws as `splitKeyOf`, and BACKUP_UNKNOWN, FINGERPRINT_DIFFERS, BACKUP_UNUSABLE, SHARE_MISSING of the old shares
 */
export async function reshareKeyOf(workspace: Workspace, request: ReshareRequest): Promise<Reshared> {
  const { set } = await meantSet(workspace, request.subject)
  const { name, version } = set
  const replaces = await livingSets(workspace, name, version)
  const { source } = request
  const split = await splitKeyOf(
    workspace,
    { ...request, name, version },
    {
      supersedes: replaces.map(({ set }) => set.set),
      plan: planOfSet(set),
      rebuild: source && (async () => fromQuorum(source, new RestoreSession(set), set.fingerprint)),
    },
  )
  return { ...split, replaces }
}

async function fromQuorum(
  source: ShareSource,
  session: RestoreSession,
  fingerprint: string,
): Promise<Secret> {
  try {
    return (await rebuildFrom(source, session, () => fingerprint)).material
  } finally {
    session.wipe()
  }
}
