import type { Secret } from '../secret.ts'

/** The parts of one sealed value by name: `nonce`, `ct`, `tag`, `mac`, … Numbers are those of the layout. */
export type SealedParts = ReadonlyMap<string, Uint8Array | bigint>

/** A key made ready for one cipher. `wipe` ends its use and may be called more than once. */
export type CipherKey = { wipe(): void }

/**
 * How an application seals: an AEAD, a composition of a cipher and a MAC, a key wrap, or a legacy cipher without
 * authentication, which kvx opens and never writes. Lengths are in bytes.
 */
export type Cipher = {
  readonly name: string
  readonly kind: 'aead' | 'key-wrap' | 'legacy'
  /** The parts that it makes and takes, each of which a layout must have: `['nonce', 'ct', 'tag']`. */
  readonly parts: readonly string[]
  readonly takesAad: boolean
  /** How long a nonce kvx writes where the layout leaves it open; 0 where there is none. */
  readonly nonceLength: number
  acceptsKeyLength(length: number): boolean
  /** The length that keys have, in words for people: `32`, `16, 24 or 32`. */
  readonly keyLengths: string
  /**
   * @param use `'few'` for a key that opens the values of one record, and is wiped then
   * @throws KEY_MALFORMED for a length that the cipher does not take. The material is copied and stays the caller's
   */
  prepare(material: Secret, use?: 'few'): CipherKey
  /**
   * The plaintext, which the caller wipes, or undefined when this key did not seal these parts with this
   * associated data. A legacy cipher answers with whatever comes out, undefined only for wrong padding.
   * @param parts all parts of the value, those of its layout that are none of the cipher's included
   * @throws LAYOUT_MISMATCH for parts of an impossible length: no key opens them
   */
  open(key: CipherKey, parts: SealedParts, aad: Uint8Array): Uint8Array | undefined
  /**
   * The parts of a new value: `given` with those of the cipher replaced.
   * @param given what is there already: a fresh `nonce` where the cipher takes one, and what stays as it was
   * @throws TypeError for a legacy cipher, KEY_MALFORMED for material that a key wrap cannot hold
   */
  seal(key: CipherKey, plaintext: Uint8Array, given: SealedParts, aad: Uint8Array): SealedParts
  /** Missing where one after the other is as good. */
  readonly many?: ManyAtOnce
}

/** One of several values under one key, as `take` made it ready: to seal it, its plaintext is its `ct`. */
export type OneOfMany = {
  readonly nonce: Uint8Array
  readonly ct: Uint8Array
  readonly tag: Uint8Array
  readonly aad: Uint8Array
}

/** Opens and seals many short values under one key for less than one after the other costs. */
export type ManyAtOnce = {
  /**
   * A value with its parts as `open` takes them, or to be sealed with its plaintext as `seal` does. Undefined for
   * one that is no better off among many.
   */
  take(parts: SealedParts, aad: Uint8Array, plaintext?: Uint8Array): OneOfMany | undefined
  /** As `open` of the cipher, of each. */
  open(key: CipherKey, values: readonly OneOfMany[]): readonly (Uint8Array | undefined)[]
  /** As `seal` of the cipher, of each, without what was given. */
  seal(key: CipherKey, values: readonly OneOfMany[]): readonly SealedParts[]
}

/** What a declaration says of its cipher beyond the name. */
export type CipherOptions = {
  /** Of a key wrap: hex digits of another initial value than the standard's. */
  readonly initialValue?: string | undefined
  /** Of a cipher with a MAC: a template of the parts (and `aad`) that the MAC covers. */
  readonly mac?: string | undefined
  /** Of a cipher with a MAC: derivations of its two keys from `key`. */
  readonly macKey?: string | undefined
  readonly cipherKey?: string | undefined
}
