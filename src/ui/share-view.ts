import { digestLines, digestOfHex } from '../ceremony/digest.ts'
import type { BackupWarning } from '../backup/errors.ts'
import type { CheckedCustodian } from '../backup/shares/custodians.ts'
import { outstanding, type ShareSet, shownSet, unconfirmed } from '../backup/shares/share-set.ts'
import type { ShareSetList, StoredShareSet } from '../backup/shares/share-sets.ts'
import { pgpWords } from '../core/pgp-words.ts'
import type { Share } from '../core/share/share-text.ts'
import type { Recreated } from '../keyring/recreate-share.ts'
import type { Reshared } from '../keyring/reshare-key.ts'
import type { RestoredForeign } from '../keyring/restore-foreign.ts'
import type { RestoredFromShares } from '../keyring/restore-shares.ts'
import type { SplitOfKey } from '../keyring/split-key.ts'
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
    ceremony: set.ceremony ?? null,
    shares: set.shares.map(
      ({ index, custodian, openpgp, expires, file, confirmations, delivered, destroyed }) => ({
        index,
        custodian,
        openpgp,
        expires,
        file: file === null ? null : join(folder, file),
        deliveredAt: delivered?.at ?? null,
        confirmed: confirmations.length > 0,
        confirmedAt: confirmations.at(-1)?.at ?? null,
        signedBy: confirmations.at(-1)?.signed?.by ?? null,
        destroyedAt: destroyed?.at ?? null,
      }),
    ),
    state: set.state,
    accepted: set.accepted,
    supersedes: set.supersedes.map((id) => shownSet({ set: id })),
    manifest: path,
  }
}

/** `data` of a split that a dry run only plans. */
export function plannedSplitData({ plan, custodians }: SplitOfKey): object {
  const shares = custodians.map(({ name }, at) => ({ index: at + 1, custodian: name, file: null }))
  return { set: null, threshold: plan.threshold, of: plan.of, shares, state: null, manifest: null }
}

/** `data` of `kvx.backup.reshare/1`. */
export function resharedData(reshared: Reshared): object {
  const split = reshared.stored === undefined ? plannedSplitData(reshared) : shareSetData(reshared.stored)
  return { ...split, supersedes: reshared.replaces.map(({ set }) => shownSet(set)) }
}

export function resharedLines({ subject, plan, custodians, stored, replaces }: Reshared): readonly string[] {
  const old = replaces.map(({ set }) => shownSet(set)).join(', ')
  if (stored === undefined) {
    return [
      `${subject} would be dealt anew: any ${plan.threshold} of ${plan.of} shares rebuild it; then ${old} is superseded`,
      ...custodianLines(custodians),
      'dry run: nothing was written',
    ]
  }
  return [
    ...splitLines(stored, custodians),
    `Then ${old} is superseded. Its shares still open this key until they are destroyed: collect a word for each, kvx backup confirm ${old.split(', ')[0] ?? ''} --destroyed I,J`,
    `If enough of them could be in wrong hands: kvx rotate ${stored.set.name}`,
  ]
}

/** `data` of `kvx.backup.recreate-share/1`. */
export function recreatedData({ stored, share, changed, recipient }: Recreated): object {
  return {
    set: shownSet(stored.set),
    index: share.index,
    custodian: share.custodian,
    digest: share.digest,
    file: changed && recipient !== undefined ? join(stored.folder, share.file ?? '') : null,
    openpgp: recipient?.fingerprint ?? null,
    done: changed,
  }
}

export function recreatedLines(recreated: Recreated, pdf: string | undefined): readonly string[] {
  const { stored, share, changed, recipient } = recreated
  const named = `share ${share.index} of set ${shownSet(stored.set)} for ${share.custodian}`
  if (!changed) return [`${named} would be made again`, 'dry run: nothing was written']
  const where = recipient === undefined ? (pdf ?? 'a card') : join(stored.folder, share.file ?? '')
  return [
    `${named} is made again, byte for byte the one that was dealt: ${where}`,
    ...(pdf === undefined ? [] : [`Print it, then remove it: lp -o media=A5 ${pdf} && rm ${pdf}`]),
    `Let ${share.custodian} verify it: kvx share verify --manifest ${shownSet(stored.set)}.json`,
  ]
}

function stateText(set: ShareSet): string {
  const missing = unconfirmed(set).length
  if (set.state === 'superseded') return `superseded (${outstanding(set).length} of ${set.of} not destroyed)`
  if (set.state !== 'pending') return set.accepted === null ? set.state : `${set.state} (${missing} accepted)`
  return `pending (${set.of - missing} of ${set.of} confirmed)`
}

export function custodianLines(custodians: readonly CheckedCustodian[]): readonly string[] {
  return columns(
    custodians.map(({ name, recipient, byHand, deliver }, at) => [
      String(at + 1),
      name,
      recipient?.fingerprint ?? 'no OpenPGP key',
      expiryText(recipient),
      [byHand ? 'by card' : '', deliver === undefined ? '' : `by ${deliver.command[0] ?? ''}`]
        .filter((way) => way !== '')
        .join(', '),
    ]),
    '  ',
  )
}

/** Deliveries that failed, besides the first, which is the failure of the command. */
export function undeliveredWarnings({
  undelivered,
}: Pick<SplitOfKey, 'undelivered'>): readonly BackupWarning[] {
  return undelivered.slice(1).map(({ code, message }) => ({ code, message }))
}

function expiryText(recipient: CheckedCustodian['recipient']): string {
  if (recipient === undefined) return ''
  return recipient.expires === null ? 'does not expire' : `expires ${recipient.expires.slice(0, 10)}`
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
    'fingerprint of the key, to be read aloud and written down:',
    ...digestLines(digestOfHex(set.fingerprint)),
    `Next: give each custodian the .asc file with their number, ${shownSet(set)}.json, and the recovery kit that lies beside them: README.txt says what it is.`,
    `Each runs \`gpg --decrypt FILE | kvx share verify --share-fd 0 --manifest ${shownSet(set)}.json\` and reads the receipt out; then kvx backup confirm ${shownSet(set)} --index I`,
    `It counts as a backup once all ${set.of} are confirmed.`,
  ]
}

export function confirmedLines({ set }: StoredShareSet, index: number | undefined): readonly string[] {
  const head = index === undefined ? [] : [`share ${index} of set ${shownSet(set)} is confirmed`]
  const left = unconfirmed(set).map(({ index, custodian }) => `${index} (${custodian})`)
  if (set.state === 'pending') return [...head, `still missing: ${left.join(', ')}`]
  const without = left.length === 0 ? '' : `, although nobody confirmed ${left.join(', ')}`
  const old = set.supersedes.map((id) => shownSet({ set: id }))
  const superseded =
    old.length === 0
      ? []
      : [
          `${old.join(', ')} ${old.length === 1 ? 'is' : 'are'} superseded; its shares still open the key until they are destroyed`,
          ...old.map((id) => `Next: kvx backup confirm ${id} --destroyed I,J`),
        ]
  return [
    ...head,
    `set ${shownSet(set)} of ${set.name}@${set.version} is ${set.state}${without}`,
    ...superseded,
  ]
}

export function destroyedLines({ set }: StoredShareSet): readonly string[] {
  const left = outstanding(set).map(({ index, custodian }) => `${index} (${custodian})`)
  const head = `set ${shownSet(set)} of ${set.name}@${set.version} is ${set.state}`
  return left.length === 0
    ? [`${head}: every share of it is destroyed`]
    : [
        head,
        `its shares still open the key: ${left.join(', ')} ${left.length === 1 ? 'is' : 'are'} not destroyed`,
      ]
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

/** A receipt that was signed and written. */
export type WrittenReceipt = {
  readonly file: string
  readonly signature: string
  readonly fingerprint: string
}

export function receiptLines(written: WrittenReceipt | undefined): readonly string[] {
  if (written === undefined) return []
  const { file, signature, fingerprint } = written
  return [
    `signed by ${fingerprint}`,
    `wrote  ${file}`,
    `wrote  ${signature}`,
    'Or send both files: kvx backup confirm SET --receipt-file FILE',
  ]
}

/** `data` of `kvx.share.verify/1`. */
export function verifiedData(
  { share, set, custodian, receipt, slot }: VerifiedShare,
  written: WrittenReceipt | undefined,
): object {
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
    receiptFile: written?.file ?? null,
    receiptSignature: written?.signature ?? null,
    receiptSignedBy: written?.fingerprint ?? null,
  }
}

/** What a custodian saw and noted before the key was divided. */
function ceremonyLines({ ceremony }: ShareSet): readonly string[] {
  if (ceremony === undefined) return []
  return [`dealt in the ceremony ${ceremony.id}, nonce: ${pgpWords(ceremony.nonce).join(' ')}`]
}

export function verifiedLines(verified: VerifiedShare): readonly string[] {
  const { share, set, custodian, receipt, slot } = verified
  const head = `share ${share.index} of ${share.of} in set ${share.setId.toUpperCase()} is intact; ${share.threshold} shares rebuild the key with the check value ${share.checkValue}`
  const dealt =
    set === undefined
      ? ['no manifest was given: nothing proves that this is the share that was dealt']
      : [
          `it is exactly the share that was dealt to ${custodian ?? ''}; the set is ${set.state}`,
          ...ceremonyLines(set),
          `the manifest is as the key ${set.auditKeyFingerprint.slice(0, 16)} signed it; the recovery kit names that key`,
        ]
  return [
    ...(share.rehearsal === true ? ['REHEARSAL: this share is for practice; no key is in it'] : []),
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

/** `data` of `kvx.restore/1` for shares of another program. */
export function foreignData(restored: RestoredForeign): object {
  const { warnings: _, ...data } = restored
  return data
}

export function foreignLines(restored: RestoredForeign, dryRun: boolean): readonly string[] {
  return restoredLines({ ...restored, set: restored.source, suspects: [] }, dryRun)
}

export function restoredLines(
  restored: Omit<RestoredFromShares, 'warnings'>,
  dryRun: boolean,
): readonly string[] {
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
