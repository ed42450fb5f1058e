import { withIntent } from '../audit/with-intent.ts'
import { type CardFacts } from '../backup/cards/card.ts'
import { cardFacts } from '../backup/cards/card-facts.ts'
import { confirmShare, openSet, type ShareHome } from '../backup/shares/confirm-share.ts'
import type { CheckedCustodian } from '../backup/shares/custodians.ts'
import { shareReceipt } from '../backup/shares/receipts.ts'
import { type DealtShare, type ShareSet, shownSet } from '../backup/shares/share-set.ts'
import { type StoredShareSet, writeShareSet } from '../backup/shares/share-sets.ts'
import type { Share } from '../core/share/share-text.ts'
import { whileLocked } from '../platform/lingering-lock.ts'
import { refreshCopy } from './keyring.ts'
import type { Workspace } from './workspace.ts'

/** One card for one person. The share is lent. */
export type Handing = {
  readonly share: Share
  readonly set: ShareSet
  readonly custodian: string
  readonly facts: CardFacts
}

/**
 * Gives a card to its custodian, and has it read back while everybody is in the room.
 * @returns true when the custodian entered this very share again; false for later
 * @throws KvxError CANCELLED and others: no further card is handed out
 */
export type HandOver = (handing: Handing) => Promise<boolean>

const patienceMs = 10_000

/**
 * Hands the cards of a set over, one custodian at a time. A card that was read back confirms its share.
 * When it ends early the set is aborted: shares that were not handed over are gone, so that it can never count.
 */
export async function handOverCards(
  workspace: Workspace,
  dealt: {
    readonly stored: StoredShareSet
    readonly shares: readonly Share[]
    readonly custodians: readonly CheckedCustodian[]
  },
  how: { readonly handOver: HandOver; readonly discreet: boolean; readonly by: string },
): Promise<StoredShareSet> {
  let { stored } = dealt
  try {
    for (const [at, share] of dealt.shares.entries()) {
      const custodian = dealt.custodians[at]
      if (custodian?.byHand !== true) continue
      const { set } = stored
      const facts = await cardFacts(set, { index: share.index, discreet: how.discreet })
      const isBack = await how.handOver({ share, set, custodian: custodian.name, facts })
      if (isBack) stored = await confirmed(workspace, stored, share, how.by)
    }
    return stored
  } catch (error) {
    await aborted(workspace, stored)
    throw error
  }
}

async function confirmed(
  workspace: Workspace,
  { set }: StoredShareSet,
  share: Share,
  by: string,
): Promise<StoredShareSet> {
  const intent = { action: 'backup.confirm', data: { set: shownSet(set), index: share.index } }
  return withBackupsLocked(workspace, async () =>
    withIntent(workspace.audit, intent, async () =>
      confirmShare(shareHomeOf(workspace), set.set, {
        index: share.index,
        receipt: shareReceipt(share, nextSlot(set, share.index)),
        by,
      }),
    ),
  )
}

/** The first receipt of a share that did not count yet. */
function nextSlot(set: ShareSet, index: number): number {
  const used: DealtShare['confirmations'] =
    set.shares.find((share) => share.index === index)?.confirmations ?? []
  for (let slot = 1; ; slot++) if (!used.some((one) => one.slot === slot)) return slot
}

async function aborted(workspace: Workspace, { set, folder }: StoredShareSet): Promise<void> {
  await withBackupsLocked(workspace, async () => {
    const { set: now } = await openSet(shareHomeOf(workspace), set.set)
    await writeShareSet(folder, { ...now, state: 'aborted' }, workspace.signer)
  })
  await refreshCopy(workspace.home)
}

export function shareHomeOf(workspace: Workspace): ShareHome {
  return { directory: workspace.home.backups, signer: workspace.signer, verify: workspace.verify }
}

/** Changes of manifests are made one at a time. */
export async function withBackupsLocked<T>(workspace: Workspace, work: () => Promise<T>): Promise<T> {
  return await whileLocked(workspace.home.backups, { what: 'the backups', waitMs: patienceMs }, work)
}
