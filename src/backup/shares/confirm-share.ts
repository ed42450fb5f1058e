import { join } from 'node:path'
import { KvxError } from '../../core/errors.ts'
import { isoNow } from '../../platform/clock.ts'
import { writeState } from '../../platform/state-file.ts'
import { findBackup, sha256Hex } from '../backups.ts'
import type { Verifier } from '../manifest.ts'
import { slotOfReceipt } from './receipts.ts'
import {
  type DealtShare,
  isComplete,
  outstanding,
  type ShareSet,
  type ShareSigner,
  shownSet,
  unconfirmed,
} from './share-set.ts'
import { verifyShareSet } from './share-set.ts'
import { findShareSet, listShareSets, type StoredShareSet, writeShareSet } from './share-sets.ts'

/** Where the backups lie, and the audit key that signs their state. */
export type ShareHome = {
  readonly directory: string
  readonly signer: ShareSigner
  readonly verify: Verifier
  /** Look, and write nothing. */
  readonly dryRun?: boolean
}

/**
 * Records that the custodian of a share read its possession receipt out. Each of the 8 codes counts once. When
 * the last share is confirmed, the set becomes active. The caller holds the lock of the home.
 * @throws KvxError FINGERPRINT_DIFFERS for a code that is not of this share, or one that was used; USAGE for no
 * code or no such index; BACKUP_UNKNOWN, DAMAGED (manifest changed), STATE_TRANSITION (set is over)
 */
export async function confirmShare(
  home: ShareHome,
  setId: string,
  answer: {
    readonly index: number
    readonly receipt: string
    readonly by: string
    /** The receipt as the custodian signed it, judged already: it is kept beside the manifest. */
    readonly signed?: SignedCode | undefined
  },
): Promise<StoredShareSet> {
  const caughtUp = await catchUp(home)
  const stored = await openSet(home, setId)
  const { set } = stored
  const share = set.shares.find(({ index }) => index === answer.index)
  if (share === undefined) {
    throw new KvxError('USAGE', `set ${shownSet(set)} has shares 1 to ${set.of}`, {
      hint: 'name one with `--index I`',
    })
  }
  // It was killed after the receipt counted: given again it has done the rest, which is what was asked for.
  if (caughtUp && isCounted(share, answer.receipt)) return stored
  const slot = freeSlot(set, share, answer.receipt)
  const signed = answer.signed && (await keepReceipt(home, stored, answer.signed, `${answer.index}-${slot}`))
  const confirmation = {
    at: isoNow(),
    by: oneLine(answer.by),
    slot,
    ...(signed === undefined ? {} : { signed }),
  }
  const shares = set.shares.map((one) =>
    one === share ? { ...one, confirmations: [...one.confirmations, confirmation] } : one,
  )
  return await writeActivated(home, stored, { ...set, shares })
}

/** A receipt and its detached signature, as bytes. */
export type SignedCode = {
  /** Fingerprint of the key that signed. */
  readonly by: string
  readonly kind: 'openpgp' | 'ssh'
  readonly statement: Uint8Array
  readonly signature: Uint8Array
}

/** Before the manifest names it: what is left of a confirmation that was killed is written over. */
async function keepReceipt(
  home: ShareHome,
  { set, folder }: StoredShareSet,
  { by, kind, statement, signature }: SignedCode,
  number: string,
): Promise<NonNullable<DealtShare['confirmations'][number]['signed']>> {
  const file = `${shownSet(set)}-receipt-${number}.json`
  const beside = `${file}.${kind === 'openpgp' ? 'asc' : 'sig'}`
  if (home.dryRun !== true) {
    await writeState(join(folder, file), statement)
    await writeState(join(folder, beside), signature)
  }
  return { by, file, signature: beside, sha256: sha256Hex(statement) }
}

/**
 * Makes a set active although custodians did not confirm: they are named, with a reason, in the signed manifest.
 * @throws KvxError USAGE when others than the missing ones are named, and when fewer confirmed than rebuild the
 * key; otherwise as `confirmShare`
 */
export async function acceptUnconfirmed(
  home: ShareHome,
  setId: string,
  decision: { readonly indices: readonly number[]; readonly reason: string; readonly by: string },
): Promise<StoredShareSet> {
  await catchUp(home)
  const stored = await openSet(home, setId)
  const { set } = stored
  const missing = unconfirmed(set).map(({ index }) => index)
  const named = [...new Set(decision.indices)].sort((a, b) => a - b)
  if (missing.join() !== named.join()) {
    throw new KvxError('USAGE', `the shares that nobody confirmed are ${missing.join(', ') || 'none'}`, {
      hint: `name exactly these: \`--accept-unconfirmed ${missing.join(',')} --reason TEXT\``,
    })
  }
  if (set.of - missing.length < set.threshold) {
    throw new KvxError(
      'USAGE',
      `fewer than ${set.threshold} custodians confirmed: these shares are no backup`,
      {
        hint: `let at least ${set.threshold} of ${set.of} confirm first`,
      },
    )
  }
  const accepted = { shares: named, reason: oneLine(decision.reason), at: isoNow(), by: oneLine(decision.by) }
  return await writeActivated(home, stored, { ...set, accepted })
}

/**
 * Records that custodians destroyed their shares of a superseded set. With the last one the set is closed.
 * @throws KvxError USAGE for no such index; STATE_TRANSITION for a set that still counts; otherwise as `confirmShare`
 */
export async function attestDestroyed(
  home: ShareHome,
  setId: string,
  statement: { readonly indices: readonly number[]; readonly by: string },
): Promise<StoredShareSet> {
  await catchUp(home)
  const stored = await openSet(home, setId, ['superseded', 'closed'])
  const { set } = stored
  const unknown = statement.indices.find((index) => !set.shares.some((share) => share.index === index))
  if (unknown !== undefined || statement.indices.length === 0) {
    throw new KvxError('USAGE', `set ${shownSet(set)} has shares 1 to ${set.of}`, {
      hint: 'name them: `--destroyed 1,3`',
    })
  }
  const destroyed = { at: isoNow(), by: oneLine(statement.by) }
  const shares = set.shares.map((share) =>
    share.destroyed === undefined && statement.indices.includes(share.index)
      ? { ...share, destroyed }
      : share,
  )
  const state = outstanding({ ...set, shares }).length === 0 ? 'closed' : set.state
  return await write(home, stored, { ...set, shares, state })
}

/**
 * A set that is complete becomes active, and only then the sets that it takes the place of are superseded. Killed
 * in between, both are active, and the next command that confirms anything makes up for it, the same one too.
 */
async function writeActivated(
  home: ShareHome,
  stored: StoredShareSet,
  set: ShareSet,
): Promise<StoredShareSet> {
  const written = await write(home, stored, activated(set))
  await catchUp(home)
  return written
}

async function catchUp(home: ShareHome): Promise<boolean> {
  return home.dryRun !== true && (await supersedeReplaced(home)) > 0
}

async function write(home: ShareHome, stored: StoredShareSet, set: ShareSet): Promise<StoredShareSet> {
  return home.dryRun === true ? { ...stored, set } : writeShareSet(stored.folder, set, home.signer)
}

/** @returns how many sets it marked */
async function supersedeReplaced(home: ShareHome): Promise<number> {
  const { sets } = await listShareSets(home.directory)
  const own = sets.filter((one) => verifyShareSet(one, home.verify) === 'valid')
  const replaced = own.flatMap(({ set }) => (set.state === 'active' ? set.supersedes : []))
  const late = own.filter(
    ({ set }) => replaced.includes(set.set) && (set.state === 'active' || set.state === 'pending'),
  )
  for (const { folder, set } of late)
    await writeShareSet(folder, { ...set, state: 'superseded' }, home.signer)
  return late.length
}

/**
 * A set of which a new state may be signed: nobody changed its manifest, and it is in one of these states.
 * @throws KvxError BACKUP_UNKNOWN, USAGE for an OpenPGP backup, DAMAGED, STATE_TRANSITION
 */
export async function openSet(
  home: ShareHome,
  setId: string,
  states: readonly ShareSet['state'][] = ['pending', 'active'],
): Promise<StoredShareSet> {
  const stored = await findShareSet(home.directory, setId)
  if (stored === undefined) {
    await findBackup(home.directory, setId) // throws BACKUP_UNKNOWN, with the same words as for other backups
    throw new KvxError('USAGE', 'this is an OpenPGP backup, which has no shares', {
      hint: `confirm it with \`kvx backup confirm ${setId.slice(0, 8).replaceAll(/[^0-9A-Za-z]/g, '?')}\``,
    })
  }
  const { set } = stored
  if (verifyShareSet(stored, home.verify) !== 'valid') {
    throw new KvxError('DAMAGED', `the manifest of set ${shownSet(set)} is not as kvx signed it`, {
      hint: `put a custodian's copy of it back, or split again: \`kvx backup split ${set.name}@${set.version}\``,
    })
  }
  if (states.includes(set.state)) return stored
  throw new KvxError('STATE_TRANSITION', `set ${shownSet(set)} is ${set.state}`, {
    hint: states.includes('superseded')
      ? `only a set that another one took the place of is destroyed: \`kvx backup reshare ${set.name}@${set.version}\``
      : '`kvx backup list` shows the sets that count',
  })
}

function isCounted(share: DealtShare, receipt: string): boolean {
  const slot = slotOfReceipt(receipt, share.receipts)
  return share.confirmations.some((confirmation) => confirmation.slot === slot)
}

function freeSlot(set: ShareSet, share: DealtShare, receipt: string): number {
  const slot = slotOfReceipt(receipt, share.receipts)
  if (slot === undefined) {
    const other = set.shares.find(({ receipts }) => slotOfReceipt(receipt, receipts) !== undefined)
    const whose = other === undefined ? '' : `; it is one of share ${other.index}`
    throw new KvxError(
      'FINGERPRINT_DIFFERS',
      `the code is no receipt of share ${share.index} of set ${shownSet(set)}${whose}`,
      { hint: `have ${share.custodian} read it again: \`kvx share verify\`` },
    )
  }
  const used = share.confirmations.find((confirmation) => confirmation.slot === slot)
  if (used === undefined) return slot
  const next =
    share.receipts.findIndex((_, at) => !share.confirmations.some((one) => one.slot === at + 1)) + 1
  throw new KvxError(
    'FINGERPRINT_DIFFERS',
    `receipt ${slot} of share ${share.index} was used on ${used.at}`,
    {
      hint:
        next === 0
          ? 'all its receipts are used up: split the key again'
          : `ask for the next one: \`kvx share verify --slot ${next}\``,
      details: { slot, index: share.index },
    },
  )
}

function activated(set: ShareSet): ShareSet {
  if (set.state !== 'pending' || !isComplete(set)) return set
  return { ...set, state: 'active', activated: isoNow() }
}

function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?').slice(0, 200)
}
