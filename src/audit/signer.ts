import { encodePublicKeyPem, publicKeyFingerprint, sign } from '../core/signature.ts'
import type { SigningKey } from '../core/signature.ts'

/** Signs entries, reports and manifests with the home's Ed25519 key. */
export type Signer = {
  /** 32 raw bytes. */
  readonly publicKey: Uint8Array
  /** SHA-256 of the raw public key as 64 hex digits: the anchor that stands on cards and reports. */
  readonly publicKeyFingerprint: string
  readonly publicKeyPem: string
  /** A signature of 64 bytes. */
  readonly sign: (bytes: Uint8Array) => Buffer
}

/** A signer that works until the private key of `key` is wiped. */
export function makeSigner(key: SigningKey): Signer {
  return {
    publicKey: key.publicKey,
    publicKeyFingerprint: publicKeyFingerprint(key.publicKey),
    publicKeyPem: encodePublicKeyPem(key.publicKey),
    sign: (bytes) => sign(key.privateKey, bytes),
  }
}
