import type { CheckedCustodian } from '../backup/shares/custodians.ts'
import { type ShareSet, shownSet, unconfirmed } from '../backup/shares/share-set.ts'
import type { ShareSetList, StoredShareSet } from '../backup/shares/share-sets.ts'
import type { Share } from '../core/share/share-text.ts'
import type { RestoredFromShares } from '../keyring/restore-shares.ts'
import { columns } from './columns.ts'
import { join } from 'node:path'

/** `data` of `kvx.backup.split/1`, and of one entry of `shareSets` in `kvx.backup.list/1`. */
export function shareSetData({ set, path, folder }: StoredShareSet): object {
  return {
    set: shownSet(set),
    name: set.name,
    version: set.version,
    threshold: set.threshold,
    of: set.of,
    fingerprint: set.fingerprint,
    checkValue: set.checkValue,
    created: set.created,
    shares: set.shares.map(({ index, custodian, openpgp, expires, file, confirmations }) => ({
      index,
      custodian,
      openpgp,
      expires,
      file: file === null ? null : join(folder, file),
      confirmed: confirmations.length > 0,
      confirmedAt: confirmations.at(-1)?.at ?? null,
    })),
    state: set.state,
    accepted: set.accepted,
    manifest: path,
  }
}

function stateText(set: ShareSet): string {
  const missing = unconfirmed(set).length
  if (set.state !== 'pending') return set.accepted === null ? set.state : `${set.state} (${missing} accepted)`
  return `pending (${set.of - missing} of ${set.of} confirmed)`
}

export function custodianLines(custodians: readonly CheckedCustodian[]): readonly string[] {
  return columns(
    custodians.map(({ name, recipient }, at) => [
      String(at + 1),
      name,
      recipient.fingerprint,
      recipient.expires === null ? 'does not expire' : `expires ${recipient.expires.slice(0, 10)}`,
    ]),
    '  ',
  )
}

export function splitLines(
  stored: StoredShareSet,
  custodians: readonly CheckedCustodian[],
): readonly string[] {
  const { set, folder } = stored
  return [
    `set ${shownSet(set)} of ${set.name}@${set.version} (check value ${set.checkValue}): any ${set.threshold} of ${set.of} shares rebuild the key; ${stateText(set)}`,
    ...custodianLines(custodians),
    `  ${folder}`,
    `Next: give each custodian the .asc file with their number, and ${shownSet(set)}.json, recover.py and README.txt.`,
    `Each runs \`gpg --decrypt FILE | kvx share verify --share-fd 0 --manifest ${shownSet(set)}.json\` and reads the receipt out; then kvx backup confirm ${shownSet(set)} --index I`,
    `It counts as a backup once all ${set.of} are confirmed.`,
  ]
}

export function confirmedLines({ set }: StoredShareSet, index: number | undefined): readonly string[] {
  const head = index === undefined ? [] : [`share ${index} of set ${shownSet(set)} is confirmed`]
  const left = unconfirmed(set).map(({ index, custodian }) => `${index} (${custodian})`)
  if (set.state === 'pending') return [...head, `still missing: ${left.join(', ')}`]
  const without = left.length === 0 ? '' : `, although nobody confirmed ${left.join(', ')}`
  return [...head, `set ${shownSet(set)} of ${set.name}@${set.version} is ${set.state}${without}`]
}

export function shareSetTable(list: ShareSetList): readonly string[] {
  if (list.sets.length === 0) return []
  return columns([
    ['share set', 'key', 'state', 'check value', 'made', 'shares'],
    ...list.sets.map(({ set }) => [
      shownSet(set),
      `${set.name}@${set.version}`,
      stateText(set),
      set.checkValue,
      set.created.slice(0, 10),
      `${set.threshold} of ${set.of}`,
    ]),
  ])
}

export type VerifiedShare = {
  readonly share: Share
  readonly set: ShareSet | undefined
  readonly custodian: string | undefined
  readonly receipt: string
  readonly slot: number
}

/** `data` of `kvx.share.verify/1`. */
export function verifiedData({ share, set, custodian, receipt, slot }: VerifiedShare): object {
  return {
    set: share.setId.toUpperCase(),
    index: share.index,
    of: share.of,
    threshold: share.threshold,
    checkValue: share.checkValue,
    dealt: set === undefined ? null : true,
    state: set?.state ?? null,
    custodian: custodian ?? null,
    key: set === undefined ? null : `${set.name}@${set.version}`,
    signedBy: set?.auditKeyFingerprint ?? null,
    receipt,
    slot,
  }
}

export function verifiedLines(verified: VerifiedShare): readonly string[] {
  const { share, set, custodian, receipt, slot } = verified
  const head = `share ${share.index} of ${share.of} in set ${share.setId.toUpperCase()} is intact; ${share.threshold} shares rebuild the key with the check value ${share.checkValue}`
  const dealt =
    set === undefined
      ? ['no manifest was given: nothing proves that this is the share that was dealt']
      : [
          `it is exactly the share that was dealt to ${custodian ?? ''}; the set is ${set.state}`,
          `the manifest is as the key ${set.auditKeyFingerprint.slice(0, 16)} signed it; the recovery kit names that key`,
        ]
  return [
    head,
    ...dealt,
    `receipt ${slot}: ${receipt}`,
    'Read the receipt out, nothing else. It is no secret.',
  ]
}

export function restoredData(restored: RestoredFromShares): object {
  const { warnings: _, ...data } = restored
  return { ...data, source: 'shares' }
}

export function restoredLines(restored: RestoredFromShares, dryRun: boolean): readonly string[] {
  const subject = restored.name === null ? 'the key' : `${restored.name}@${restored.version ?? ''}`
  const label = restored.proven
    ? 'proven'
    : 'UNPROVEN: compare the fingerprint with one from elsewhere before you rely on it'
  return [
    `${subject}  check value ${restored.checkValue}  ${label}`,
    `fingerprint  ${restored.fingerprint}`,
    `rebuilt from shares ${restored.used.join(', ')} of set ${restored.set}`,
    restored.changed
      ? `written to ${restored.path}`
      : `${restored.path} ${dryRun ? 'would be written' : 'holds it already; nothing to do'}`,
  ]
}
