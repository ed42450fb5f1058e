import { z } from 'zod'
import { canonicalJson } from '../../core/canonical-json.ts'
import { KvxError } from '../../core/errors.ts'
import { checkValueOf } from '../../core/fingerprint.ts'
import { receiptSlots } from '../../core/share/receipt.ts'
import { highestOf, setIdForm } from '../../core/share/share-text.ts'
import { parsePublicKeysPem, publicKeyFingerprint, verify } from '../../core/signature.ts'
import type { SignatureVerdict, Signer, Verifier } from '../manifest.ts'
import { isKeyName } from '../plaintext.ts'
import { ceremonyIdForm, nonceForm } from './ceremony-id.ts'

/**
 * The public manifest of a share set: what everybody may know. It lies in the home and travels with every share.
 * Times are UTC, digests and the key's fingerprint lower-case hex.
 */
export const shareSetSchema = 'kvx.share-set/1'

const hex64 = z.string().regex(/^[0-9a-f]{64}$/)
const openpgp = z.string().regex(/^[0-9A-F]{40}$/)
const time = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
const line = z.string().regex(/^[^\p{Cc}]{1,200}$/u)
const slot = z.int().min(1).max(receiptSlots)
const fileName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/)

const confirmation = z.strictObject({
  at: time,
  by: line,
  slot,
  /** The receipt that the custodian signed, which lies beside the manifest; not there for a code that was read out. */
  signed: z.strictObject({ by: line, file: fileName, signature: fileName, sha256: hex64 }).optional(),
})

const dealtShare = z.strictObject({
  index: z.int().min(1).max(highestOf),
  custodian: line,
  openpgp: openpgp.nullable(),
  /** Fingerprint of the subkey that the file is encrypted to. */
  subkey: z
    .string()
    .regex(/^[0-9A-F]{40,64}$/)
    .nullable(),
  expires: time.nullable(),
  /** `SHA-256("kvx/share/v1\0" ‖ text)`: a share has 256 random bits, so that its digest tells nothing. */
  digest: hex64,
  /** The encrypted file beside the manifest, and its SHA-256. */
  file: fileName.nullable(),
  sha256: hex64.nullable(),
  /** A program took the file, to hand it over. That it arrived, only a receipt tells. */
  delivered: z.strictObject({ at: time, program: line }).optional(),
  /** SHA-256 of the possession receipts of slots 1 to 8. */
  receipts: z.array(hex64).length(receiptSlots),
  /** Each receipt that was read back, oldest first; a slot counts once. */
  confirmations: z.array(confirmation).max(receiptSlots),
  /** The custodian said that this share of a superseded set is destroyed. */
  destroyed: z.strictObject({ at: time, by: line }).optional(),
})

const shareSet = z.strictObject({
  schema: z.literal(shareSetSchema),
  set: z.string().regex(setIdForm),
  name: z.string().refine(isKeyName),
  version: z.int().min(1),
  purpose: z.enum(['kek', 'data', 'vault']),
  fingerprint: hex64,
  checkValue: z.string().regex(/^[0-9A-F]{10}$/),
  threshold: z.int().min(2).max(highestOf),
  of: z.int().min(2).max(highestOf),
  created: time,
  /** The ceremony in which it was dealt; not there in sets of an older kvx. */
  ceremony: z
    .strictObject({ id: z.string().regex(ceremonyIdForm), nonce: z.string().regex(nonceForm) })
    .optional(),
  state: z.enum(['pending', 'active', 'superseded', 'closed', 'aborted']),
  activated: time.nullable(),
  /** Sets that this one takes the place of once it is active. */
  supersedes: z.array(z.string().regex(setIdForm)).max(64),
  shares: z.array(dealtShare).min(2).max(highestOf),
  /** Custodians without whose confirmation the set became active, and why. */
  accepted: z
    .strictObject({ shares: z.array(z.int().min(1).max(highestOf)).min(1), reason: line, at: time, by: line })
    .nullable(),
  kvxVersion: line,
  /** The public key that signed this, and its SHA-256, which also stands in reports and in the recovery kit. */
  auditPublicKey: z.string().max(200),
  auditKeyFingerprint: hex64,
})

export type ShareSet = Readonly<z.output<typeof shareSet>>
export type DealtShare = ShareSet['shares'][number]
export type SignedShareSet = { readonly set: ShareSet; readonly signature: Uint8Array | undefined }

/** The home's audit key with its public half, which the manifest carries. */
export type ShareSigner = Signer & { readonly publicKeyPem: string }

/** The id as people see it. */
export function shownSet(set: { readonly set: string }): string {
  return set.set.toUpperCase()
}

/** Shares that nobody confirmed yet. */
export function unconfirmed(set: ShareSet): readonly DealtShare[] {
  return set.shares.filter(({ confirmations }) => confirmations.length === 0)
}

/** True when every custodian confirmed, or somebody accepted by name that these did not. */
export function isComplete(set: ShareSet): boolean {
  return unconfirmed(set).every(({ index }) => set.accepted?.shares.includes(index) === true)
}

/** Shares of a superseded set that may still lie in the world. */
export function outstanding(set: ShareSet): readonly DealtShare[] {
  return set.shares.filter(({ destroyed }) => destroyed === undefined)
}

/** Signs a share set and returns the bytes of its file. */
export function encodeShareSet(set: ShareSet, signer: ShareSigner): Buffer {
  const signed: ShareSet = {
    ...set,
    auditPublicKey: signer.publicKeyPem,
    auditKeyFingerprint: signer.publicKeyFingerprint,
  }
  const signature = Buffer.from(signer.sign(canonicalJson(signed))).toString('base64')
  return Buffer.from(`${JSON.stringify({ ...signed, signature }, undefined, 2)}\n`)
}

/**
 * Parses the file of a share set. Members that are not known are refused: they would not be signed.
 * @param named the file, for messages
 * @throws KvxError DAMAGED
 */
export function parseShareSet(bytes: Uint8Array, named: string): SignedShareSet {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw damaged(named, 'it is not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw damaged(named, 'it is no object')
  const { signature, ...fields }: Record<string, unknown> = { ...value }
  const parsed = shareSet.safeParse(fields)
  if (!parsed.success) {
    const at = parsed.error.issues[0]?.path.filter((part) => /^[A-Za-z0-9]{1,20}$/.test(String(part))) ?? []
    throw damaged(named, `its member ${at.map(String).join('.')} is not as it must be`)
  }
  requireConsistent(parsed.data, named)
  if (signature === undefined) return { set: parsed.data, signature: undefined }
  if (typeof signature === 'string' && /^[A-Za-z0-9+/]{85}[AQgw]==$/.test(signature)) {
    return { set: parsed.data, signature: Buffer.from(signature, 'base64') }
  }
  throw damaged(named, 'its signature is none')
}

function requireConsistent(set: ShareSet, named: string): void {
  const isRight =
    checkValueOf(set.fingerprint) === set.checkValue &&
    set.threshold <= set.of &&
    set.shares.length === set.of &&
    set.shares.every(({ index }, at) => index === at + 1) &&
    set.shares.every(({ confirmations }) => isUnique(confirmations.map(({ slot }) => slot))) &&
    isUnique(set.shares.map(({ digest }) => digest))
  if (!isRight) throw damaged(named, 'its members contradict each other')
  if (set.state === 'active' && !isComplete(set)) {
    throw damaged(named, 'it says active, and not every custodian confirmed')
  }
  if (set.state === 'closed' && outstanding(set).length > 0) {
    throw damaged(named, 'it says closed, and not every share is destroyed')
  }
}

function isUnique(values: readonly unknown[]): boolean {
  return new Set(values).size === values.length
}

/** Whether a known key signed the set. Without `known` the verdict is at best `unknown`. */
export function verifyShareSet(signed: SignedShareSet, known: Verifier | undefined): SignatureVerdict {
  if (signed.signature === undefined) return 'unsigned'
  if (!isWhole(signed)) return 'invalid'
  if (known === undefined) return 'unknown'
  return known(canonicalJson(signed.set), signed.signature, signed.set.auditKeyFingerprint)
}

/** True when the public key that the set carries signed it: nobody changed it since. Whose key it is, this does not tell. */
export function isWhole({ set, signature }: SignedShareSet): boolean {
  if (signature === undefined) return false
  try {
    const [key, ...others] = parsePublicKeysPem(set.auditPublicKey)
    if (key === undefined || others.length > 0) return false
    const isNamed = publicKeyFingerprint(key) === set.auditKeyFingerprint
    return isNamed && verify(key, canonicalJson(set), signature)
  } catch {
    return false
  }
}

function damaged(named: string, why: string): KvxError {
  return new KvxError('DAMAGED', `cannot read the share set ${named}: ${why}`, {
    hint: 'take another copy: every custodian got one; the shares themselves still rebuild the key without it',
  })
}
