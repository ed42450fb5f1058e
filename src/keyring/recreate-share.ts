import { withIntent } from '../audit/with-intent.ts'
import { openSet } from '../backup/shares/confirm-share.ts'
import type { BackupWarning } from '../backup/errors.ts'
import { type Recipient, resolveRecipients } from '../backup/recipients.ts'
import { RestoreSession } from '../backup/shares/restore-session.ts'
import { sendShare } from '../backup/shares/send-share.ts'
import { type DealtShare, type ShareSet, shownSet } from '../backup/shares/share-set.ts'
import { type StoredShareSet, writeShareSet } from '../backup/shares/share-sets.ts'
import { KvxError } from '../core/errors.ts'
import { recreateShare } from '../core/share/recreate.ts'
import type { Share } from '../core/share/share-text.ts'
import { deliverShares } from './deliver.ts'
import { shareHomeOf, withBackupsLocked } from './hand-over.ts'
import { refreshCopy } from './keyring.ts'
import { meantSet, subjectOf } from './known-set.ts'
import { rebuildFrom, type ShareSource } from './share-source.ts'
import type { Workspace } from './workspace.ts'

export type RecreateRequest = {
  /** A set, NAME or NAME@VERSION. */
  readonly subject: string
  readonly index: number
  readonly source: ShareSource
  /** Hands the share over; undefined to encrypt it to the custodian's OpenPGP key. */
  readonly card: ((share: Share, set: ShareSet) => Promise<void>) | undefined
  /** Another OpenPGP key of the same custodian. */
  readonly openpgp: string | undefined
  readonly keyFiles: readonly string[]
  readonly dryRun: boolean
}

export type Recreated = {
  readonly stored: StoredShareSet
  readonly share: DealtShare
  readonly recipient: Recipient | undefined
  readonly changed: boolean
  /** Why a program did not take the new file; it lies in the folder of the set. */
  readonly undelivered: KvxError | undefined
  readonly warnings: readonly BackupWarning[]
}

/**
 * Makes a lost share once more, byte for byte as it was dealt, for the same custodian: no further share comes into
 * the world. The quorum must rebuild the key with its full fingerprint, and the digest of the share must be the
 * one in the manifest that this home signed.
 * @throws KvxError USAGE (no such share, nobody to encrypt to), BACKUP_UNKNOWN, DAMAGED, STATE_TRANSITION,
 * BACKUP_UNUSABLE, FINGERPRINT_DIFFERS, SHARE_MISSING, READ_BACK_FAILED, RECIPIENT_UNUSABLE
 */
export async function recreateShareOf(workspace: Workspace, request: RecreateRequest): Promise<Recreated> {
  const stored = await meantSet(workspace, request.subject)
  const { set } = stored
  const lost = set.shares.find(({ index }) => index === request.index)
  if (lost === undefined) {
    throw new KvxError('USAGE', `set ${shownSet(set)} has shares 1 to ${set.of}`, {
      hint: 'name one with `--index I`',
    })
  }
  const { recipient, warnings } = await recipientOf(lost, request)
  const planned = { stored, share: lost, recipient, warnings }
  if (request.dryRun) return { ...planned, changed: false, undelivered: undefined }
  const share = await recreated(set, lost, request.source)
  try {
    const data = {
      set: shownSet(set),
      index: lost.index,
      custodian: lost.custodian,
      by: recipient === undefined ? 'card' : 'openpgp',
    }
    const intent = { action: 'backup.recreate-share', subject: subjectOf(set), data }
    const written = await withIntent(workspace.audit, intent, async () =>
      delivered(workspace, planned, { share, request }),
    )
    const { stored: now, failed } = await deliverShares(workspace, written, [
      { index: lost.index, deliver: recipient && programOf(workspace, written.set, lost) },
    ])
    await refreshCopy(workspace.home)
    const again = now.set.shares[lost.index - 1] ?? lost
    return { ...planned, stored: now, share: again, changed: true, undelivered: failed[0] }
  } finally {
    share.point.wipe()
  }
}

/** What delivers to this custodian now, as kvx.yaml says. */
function programOf({ config }: Workspace, { name }: ShareSet, { custodian }: DealtShare) {
  const people = config.keys[name]?.backup?.shares?.custodians
  return people?.find((one) => one.name === custodian)?.deliver
}

async function recipientOf(
  lost: DealtShare,
  request: RecreateRequest,
): Promise<{ readonly recipient: Recipient | undefined; readonly warnings: readonly BackupWarning[] }> {
  if (request.card !== undefined) return { recipient: undefined, warnings: [] }
  const fingerprint = request.openpgp ?? lost.openpgp
  if (fingerprint === null) {
    throw new KvxError('NO_TERMINAL', `${lost.custodian} has no OpenPGP key to encrypt the share to`, {
      hint: 'Make a card at a terminal: `--card`, or `--out FILE` in memory. Or name a key: `--openpgp FINGERPRINT`. Nothing was read.',
    })
  }
  const { recipients, warnings } = await resolveRecipients([fingerprint], { keyFiles: request.keyFiles })
  return { recipient: recipients[0], warnings }
}

/** The lost share, out of exactly those that rebuilt the key. */
async function recreated(set: ShareSet, lost: DealtShare, source: ShareSource): Promise<Share> {
  const session = new RestoreSession(set)
  try {
    const { material, used } = await rebuildFrom(source, session, () => set.fingerprint)
    material.wipe()
    if (session.has(lost.index)) {
      throw new KvxError('USAGE', `share ${lost.index} is among those that were given: it is not lost`, {
        hint: 'print it again: `kvx share print`',
      })
    }
    const share = await recreateShare(session.quorum(used), lost.index, lost.digest)
    if (share !== undefined) return share
    throw new KvxError(
      'READ_BACK_FAILED',
      `these shares do not give share ${lost.index} with the digest that was dealt`,
      {
        hint: `deal new ones: \`kvx backup reshare ${shownSet(set)}\``,
      },
    )
  } finally {
    session.wipe()
  }
}

async function delivered(
  workspace: Workspace,
  { stored, share: lost, recipient }: Pick<Recreated, 'stored' | 'share' | 'recipient'>,
  { share, request }: { readonly share: Share; readonly request: RecreateRequest },
): Promise<StoredShareSet> {
  const { set, folder } = stored
  await request.card?.(share, set)
  return withBackupsLocked(workspace, async () => {
    // A card says nothing of a file that the custodian may still have: it holds the same share.
    const sent =
      recipient === undefined
        ? {}
        : await sendShare(
            share,
            { ...set, custodian: lost.custodian, created: set.created, ceremony: set.ceremony?.id },
            recipient,
            folder,
          )
    // Read again: somebody may have confirmed a share meanwhile.
    const { set: now } = await openSet(shareHomeOf(workspace), set.set)
    const shares = now.shares.map((one) => (one.index === lost.index ? { ...one, ...sent } : one))
    return writeShareSet(folder, { ...now, shares }, workspace.signer)
  })
}
