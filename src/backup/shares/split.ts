import { join } from 'node:path'
import { KvxError } from '../../core/errors.ts'
import { checkValueOf, fingerprintOf } from '../../core/fingerprint.ts'
import type { Secret } from '../../core/secret.ts'
import { dealShares } from '../../core/share/deal.ts'
import { alphabet } from '../../core/share/gf32.ts'
import { type Share, shareDigest } from '../../core/share/share-text.ts'
import { isoNow } from '../../platform/clock.ts'
import { shownPath } from '../../platform/file-errors.ts'
import { makeDirectory, removeFile } from '../../platform/files.ts'
import { randomBytes } from '../../platform/random.ts'
import { sha256Hex } from '../backups.ts'
import { readBackup } from '../gpg.ts'
import type { KeyPurpose } from '../plaintext.ts'
import { encryptToRecipients } from '../seal.ts'
import type { CheckedCustodian } from './custodians.ts'
import { recoveryKit } from './kit.ts'
import { receiptDigests } from './receipts.ts'
import { encodeLetter } from './share-letter.ts'
import { type DealtShare, shareSetSchema, type ShareSet, type ShareSigner } from './share-set.ts'
import {
  findShareSet,
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
}

/**
 * Splits a key, proves the shares, and writes for each custodian one file that nobody else opens; beside them the
 * recovery kit and, last, the signed manifest. The set is `pending` until custodians confirm.
 * @throws KvxError USAGE, READ_BACK_FAILED, RECIPIENT_UNUSABLE, BACKUP_UNUSABLE, or of the files: nothing that
 * counts is left then
 */
export async function splitToCustodians(request: SplitRequest): Promise<StoredShareSet> {
  const setId = await newSetId(request.directory)
  const { name, version, threshold, material, custodians } = request
  const shares = await dealShares(material, { threshold, of: custodians.length, setId })
  const folder = setFolder(request.directory, { name, version, set: setId })
  const written: string[] = []
  try {
    await makeDirectory(request.directory, 0o700)
    await makeDirectory(sharesFolder(request.directory), 0o700)
    await makeDirectory(folder, 0o700)
    const created = isoNow()
    const dealt: DealtShare[] = []
    for (const share of shares) dealt.push(await deliver(share, { request, folder, created, written }))
    for (const { name, bytes } of await recoveryKit()) {
      written.push(await writeSetFile(folder, name, bytes))
    }
    return await writeShareSet(folder, pendingSet(request, { setId, created, dealt }), request.signer)
  } catch (error) {
    for (const path of written) await removeFile(path).catch(() => undefined)
    throw error
  } finally {
    for (const { point } of shares) point.wipe()
  }
}

async function newSetId(directory: string): Promise<string> {
  for (;;) {
    const id = String.fromCharCode(...randomBytes(6).map((byte) => alphabet[byte & 31] ?? 0))
    if ((await findShareSet(directory, id)) === undefined) return id
  }
}

type Delivery = {
  readonly request: SplitRequest
  readonly folder: string
  readonly created: string
  readonly written: string[]
}

/** One file for one person: encrypted to exactly one key, read back. */
async function deliver(share: Share, delivery: Delivery): Promise<DealtShare> {
  const { request, folder, created, written } = delivery
  const custodian = request.custodians[share.index - 1]
  if (custodian === undefined) throw new TypeError('every share has a custodian')
  const { name, recipient } = custodian
  const fingerprint = fingerprintOf(request.material)
  const letter = encodeLetter(share, { ...request, fingerprint, created, custodian: name })
  const sealed = await encryptToRecipients(letter, [recipient]).finally(() => letter.fill(0))
  const file = `${share.setId.toUpperCase()}-share-${share.index}.asc`
  const path = join(folder, file)
  await writeSetFile(folder, file, sealed)
  written.push(path)
  if (!(await readBackup(path)).equals(sealed)) {
    throw new KvxError('READ_BACK_FAILED', `${shownPath(path)} does not hold what was written`, {
      hint: 'look at `dmesg | tail` and at the disk',
    })
  }
  return {
    index: share.index,
    custodian: name,
    openpgp: recipient.fingerprint,
    subkey: recipient.subkey,
    expires: recipient.expires,
    digest: shareDigest(share),
    file,
    sha256: sha256Hex(sealed),
    receipts: receiptDigests(share),
    confirmations: [],
  }
}

function pendingSet(
  request: SplitRequest,
  made: { readonly setId: string; readonly created: string; readonly dealt: DealtShare[] },
): ShareSet {
  const { name, version, purpose, threshold, signer, kvxVersion } = request
  const fingerprint = fingerprintOf(request.material)
  return {
    schema: shareSetSchema,
    set: made.setId,
    name,
    version,
    purpose,
    fingerprint,
    checkValue: checkValueOf(fingerprint),
    threshold,
    of: made.dealt.length,
    created: made.created,
    state: 'pending',
    activated: null,
    supersedes: [],
    shares: made.dealt,
    accepted: null,
    kvxVersion,
    auditPublicKey: signer.publicKeyPem,
    auditKeyFingerprint: signer.publicKeyFingerprint,
  }
}
