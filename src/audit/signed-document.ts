import { canonicalJson } from '../core/canonical-json.ts'
import { KvxError } from '../core/errors.ts'
import { encodePublicKeyPem, parsePublicKeysPem, publicKeyFingerprint, verify } from '../core/signature.ts'
import type { Signer } from './signer.ts'

export type DocumentSignature = {
  readonly algorithm: 'ed25519'
  /** SPKI PEM. */
  readonly publicKey: string
  /** SHA-256 of the 32 raw public bytes as hex. */
  readonly publicKeyFingerprint: string
  /** 64 bytes in base64, over the canonical JSON of the document without its field `signature`. */
  readonly value: string
}

/**
 * The document with a `signature` that anyone verifies offline with the public key alone.
 * @throws BUG when the document has a signature already; TypeError for what canonical JSON can't hold
 */
export function signDocument<T extends object>(
  document: T,
  signer: Signer,
): T & { readonly signature: DocumentSignature } {
  if ('signature' in document) throw new KvxError('BUG', 'the document has a signature already')
  const signature: DocumentSignature = {
    algorithm: 'ed25519',
    publicKey: signer.publicKeyPem,
    publicKeyFingerprint: signer.publicKeyFingerprint,
    value: signer.sign(canonicalJson(document)).toString('base64'),
  }
  return { ...document, signature }
}

export type VerifiedDocument = {
  /** The document without its signature. */
  readonly document: Readonly<Record<string, unknown>>
  readonly publicKeyFingerprint: string
  /**
   * True when the fingerprint is the expected one. Without an expected one a valid signature proves only that
   * the document is whole, not whose it is.
   */
  readonly proven: boolean
}

/**
 * Verifies a document that is not trusted by the public key it carries.
 * @param expectedFingerprint 64 hex digits, from a card, a kit, or another report
 * @throws DAMAGED when it is not signed or was changed; FINGERPRINT_DIFFERS when another key signed it
 */
export function verifyDocument(signed: unknown, expectedFingerprint?: string): VerifiedDocument {
  const { signature, document } = parseSigned(signed)
  const publicKey = parsePublicKey(signature.publicKey)
  const fingerprint = publicKeyFingerprint(publicKey)
  if (fingerprint !== signature.publicKeyFingerprint) {
    throw damaged('the public key of the document is not the one that its fingerprint names')
  }
  const value = Buffer.from(signature.value, 'base64')
  const exact = value.toString('base64') === signature.value
  if (!exact || !verify(publicKey, documentBytes(document), value)) {
    throw damaged('the signature does not fit the document: it was changed after it was signed')
  }
  if (expectedFingerprint !== undefined && expectedFingerprint.toLowerCase() !== fingerprint) {
    throw new KvxError('FINGERPRINT_DIFFERS', 'the document is signed by another key than expected', {
      hint: 'compare the fingerprint with the recovery kit and with the first entries of `kvx audit show`',
      details: { publicKeyFingerprint: fingerprint, expectedFingerprint: expectedFingerprint.toLowerCase() },
    })
  }
  return { document, publicKeyFingerprint: fingerprint, proven: expectedFingerprint !== undefined }
}

function parseSigned(signed: unknown): {
  signature: DocumentSignature
  document: Readonly<Record<string, unknown>>
} {
  if (typeof signed !== 'object' || signed === null || Array.isArray(signed)) {
    throw damaged('the document is not a JSON object')
  }
  const { signature, ...document }: Record<string, unknown> = { ...signed }
  if (!isSignature(signature)) throw damaged('the document has no Ed25519 signature')
  return { signature, document }
}

function isSignature(value: unknown): value is DocumentSignature {
  if (typeof value !== 'object' || value === null) return false
  const fields: Readonly<Record<string, unknown>> = { ...value }
  return (
    fields['algorithm'] === 'ed25519' &&
    Object.keys(fields).length === 4 &&
    ['publicKey', 'publicKeyFingerprint', 'value'].every((name) => typeof fields[name] === 'string')
  )
}

function parsePublicKey(pem: string): Buffer {
  const [publicKey, ...others] = publicKeysOf(pem)
  if (publicKey === undefined || others.length > 0 || encodePublicKeyPem(publicKey) !== pem) {
    throw damaged('the public key of the document is not one Ed25519 key in PEM')
  }
  return publicKey
}

function publicKeysOf(pem: string): readonly Buffer[] {
  try {
    return parsePublicKeysPem(pem)
  } catch {
    return []
  }
}

function documentBytes(document: object): Buffer {
  try {
    return canonicalJson(document)
  } catch {
    throw damaged('the document holds values that kvx never signs')
  }
}

function damaged(message: string): KvxError {
  return new KvxError('DAMAGED', message, {
    hint: 'take another copy of the document, and verify the log with `kvx audit verify`',
  })
}
