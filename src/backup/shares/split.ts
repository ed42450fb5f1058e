import { join } from 'node:path'
import { checkValueOf, fingerprintOf } from '../../core/fingerprint.ts'
import type { Secret } from '../../core/secret.ts'
import { dealShares } from '../../core/share/deal.ts'
import { alphabet } from '../../core/share/gf32.ts'
import { type Share, shareDigest } from '../../core/share/share-text.ts'
import { isoNow } from '../../platform/clock.ts'
import { makeDirectory } from '../../platform/files.ts'
import { whileLocked } from '../../platform/lingering-lock.ts'
import { randomBytes } from '../../platform/random.ts'
import { createFolder, removeFolder, unfinishedFolders } from '../../platform/whole-folder.ts'
import type { KeyPurpose } from '../plaintext.ts'
import type { CeremonyId } from './ceremony-id.ts'
import type { CheckedCustodian } from './custodians.ts'
import { recoveryKit } from './kit.ts'
import { receiptDigests } from './receipts.ts'
import { byHand, sendShare } from './send-share.ts'
import { type DealtShare, shareSetSchema, type ShareSet, type ShareSigner } from './share-set.ts'
import {
  findShareSet,
  manifestName,
  setFolder,
  sharesFolder,
  type StoredShareSet,
  writeSetFile,
  writeShareSet,
} from './share-sets.ts'

export type SplitRequest = {
  readonly name: string
  readonly version: number
  readonly purpose: KeyPurpose
  /** Lent; stays the caller's. */
  readonly material: Secret
  readonly threshold: number
  /** One share each, in this order. */
  readonly custodians: readonly CheckedCustodian[]
  readonly signer: ShareSigner
  /** Where the backups of the home lie. Made with mode 0700 where it does not exist; its parent must. */
  readonly directory: string
  readonly kvxVersion: string
  /** Marks the shares as those of a rehearsal. */
  readonly rehearsal?: boolean
  readonly ceremony?: CeremonyId
  /** Sets of the same key that this one takes the place of once it is active. */
  readonly supersedes?: readonly string[]
  /**
   * Hands the shares over that are not encrypted to anybody. Called when the set is whole and durable; what it
   * returns is the set as it is then. The shares are lent.
   */
  readonly handOver?: (shares: readonly Share[], stored: StoredShareSet) => Promise<StoredShareSet>
}

/**
 * Splits a key, proves the shares, and writes for each custodian one file that nobody else opens; beside them the
 * recovery kit and the signed manifest. All of it appears in one step, so that nothing can be handed out before
 * every quorum was recombined and the set is whole. The set is `pending` until custodians confirm.
 * @throws KvxError USAGE, READ_BACK_FAILED, RECIPIENT_UNUSABLE, BACKUP_UNUSABLE, LOCKED, or of the files: nothing
 * is left then
 */
export async function splitToCustodians(request: SplitRequest): Promise<StoredShareSet> {
  const root = sharesFolder(request.directory)
  await makeDirectory(request.directory, 0o700)
  await makeDirectory(root, 0o700)
  const { stored, shares } = await dealLocked(request, root)
  try {
    return (await request.handOver?.(shares, stored)) ?? stored
  } finally {
    for (const { point } of shares) point.wipe()
  }
}

type Dealt = { readonly stored: StoredShareSet; readonly shares: readonly Share[] }

async function dealLocked(request: SplitRequest, root: string): Promise<Dealt> {
  return await whileLocked(request.directory, { what: 'the backups', waitMs: lockPatienceMs }, async () => {
    for (const name of await unfinishedFolders(root)) await removeFolder(join(root, name))
    const setId = await newSetId(request.directory)
    const { name, version, threshold, material, custodians } = request
    const shares = await dealShares(material, {
      threshold,
      of: custodians.length,
      setId,
      rehearsal: request.rehearsal === true,
    })
    const folder = setFolder(request.directory, { name, version, set: setId })
    try {
      const set = await createFolder(folder, async (unfinished) =>
        writeSet(shares, { request, setId, folder: unfinished, created: isoNow() }),
      )
      return { stored: { ...set, folder, path: join(folder, manifestName(set.set)) }, shares }
    } catch (error) {
      for (const { point } of shares) point.wipe()
      throw error
    }
  })
}

const lockPatienceMs = 10_000

type Delivery = {
  readonly request: SplitRequest
  readonly setId: string
  readonly folder: string
  readonly created: string
}

async function writeSet(shares: readonly Share[], delivery: Delivery): Promise<StoredShareSet> {
  const { request, folder } = delivery
  const dealt: DealtShare[] = []
  for (const share of shares) dealt.push(await deliver(share, delivery))
  for (const { name, bytes } of await recoveryKit(request.signer.publicKeyFingerprint))
    await writeSetFile(folder, name, bytes)
  return await writeShareSet(folder, pendingSet(delivery, dealt), request.signer)
}

async function newSetId(directory: string): Promise<string> {
  for (;;) {
    const id = String.fromCharCode(...randomBytes(6).map((byte) => alphabet[byte & 31] ?? 0))
    if ((await findShareSet(directory, id)) === undefined) return id
  }
}

async function deliver(share: Share, delivery: Delivery): Promise<DealtShare> {
  const { request, folder, created } = delivery
  const custodian = request.custodians[share.index - 1]
  if (custodian === undefined) throw new TypeError('every share has a custodian')
  const fingerprint = fingerprintOf(request.material)
  const facts = {
    ...request,
    ceremony: request.ceremony?.id,
    fingerprint,
    created,
    custodian: custodian.name,
  }
  const sent =
    custodian.recipient === undefined ? byHand : await sendShare(share, facts, custodian.recipient, folder)
  return {
    index: share.index,
    custodian: custodian.name,
    ...sent,
    digest: shareDigest(share),
    receipts: receiptDigests(share),
    confirmations: [],
  }
}

function pendingSet({ request, setId, created }: Delivery, dealt: DealtShare[]): ShareSet {
  const { name, version, purpose, threshold, signer, kvxVersion, supersedes } = request
  const fingerprint = fingerprintOf(request.material)
  return {
    schema: shareSetSchema,
    set: setId,
    name,
    version,
    purpose,
    fingerprint,
    checkValue: checkValueOf(fingerprint),
    threshold,
    of: dealt.length,
    created,
    ...(request.ceremony === undefined ? {} : { ceremony: { ...request.ceremony } }),
    state: 'pending',
    activated: null,
    supersedes: [...(supersedes ?? [])],
    shares: dealt,
    accepted: null,
    kvxVersion,
    auditPublicKey: signer.publicKeyPem,
    auditKeyFingerprint: signer.publicKeyFingerprint,
  }
}
