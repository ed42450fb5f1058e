import type { PreparedKey } from './prepared-key.ts'

/** A ciphertext and its tag. Both are needed to open it. */
export type Sealed = { readonly ct: Uint8Array; readonly tag: Uint8Array }

/** Authenticated encryption with associated data. Lengths are in bytes. */
export type Algorithm = {
  readonly name: string
  readonly keyLength: 16 | 24 | 32
  readonly tagLength: 16
  /** What kvx writes where nothing else was declared. */
  readonly defaultNonceLength: 12 | 24
  /** False for secretbox, which has nowhere to put associated data. */
  readonly takesAad: boolean
  /** True for a cipher of node:crypto. */
  readonly native: boolean
  /** True when a nonce may have this length. */
  acceptsNonceLength(length: number): boolean
  /**
   * The nonce must never have been used with this key: take it from `freshNonce`.
   * @throws LAYOUT_MISMATCH for a nonce of a wrong length, or associated data where there can be none
   */
  seal(key: PreparedKey, nonce: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Sealed
  /**
   * The plaintext, which the caller wipes, or undefined when key, nonce, ciphertext, tag and associated data
   * don't belong together. Plaintext that was not verified is wiped and never returned.
   * @throws LAYOUT_MISMATCH for a nonce or tag of a wrong length: no key can open that
   */
  open(key: PreparedKey, nonce: Uint8Array, sealed: Sealed, aad: Uint8Array): Uint8Array | undefined
}
