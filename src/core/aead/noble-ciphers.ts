import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js'
import type { Algorithm, Sealed } from './algorithm.ts'

// noble compares the tag before it decrypts, so there is no unverified plaintext to wipe.

const tagLength = 16

type Cipher = { encrypt(plaintext: Uint8Array): Uint8Array; decrypt(sealed: Uint8Array): Uint8Array }

function nobleAlgorithm(
  about: Pick<Algorithm, 'name' | 'takesAad'>,
  tagFirst: boolean,
  cipherOf: (key: Uint8Array, nonce: Uint8Array, aad: Uint8Array) => Cipher,
): Algorithm {
  return {
    ...about,
    keyLength: 32,
    tagLength,
    defaultNonceLength: 24,
    native: false,
    acceptsNonceLength: (length) => length === 24,
    seal(key, nonce, plaintext, aad) {
      const sealed = key.lend(about.name, (bytes) => cipherOf(bytes, nonce, aad).encrypt(plaintext))
      return split(sealed, tagFirst)
    },
    open(key, nonce, { ct, tag }, aad) {
      const sealed = tagFirst ? joined(tag, ct) : joined(ct, tag)
      return key.lend(about.name, (bytes) => {
        const cipher = cipherOf(bytes, nonce, aad)
        try {
          return cipher.decrypt(sealed)
        } catch {
          return undefined
        }
      })
    },
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length)
  both.set(first)
  both.set(second, first.length)
  return both
}

function split(sealed: Uint8Array, tagFirst: boolean): Sealed {
  return tagFirst
    ? { tag: sealed.subarray(0, tagLength), ct: sealed.subarray(tagLength) }
    : { ct: sealed.subarray(0, -tagLength), tag: sealed.subarray(-tagLength) }
}

/** draft-irtf-cfrg-xchacha: a nonce of 24 bytes, long enough to be random for ever. */
export const xchacha20Poly1305 = nobleAlgorithm(
  { name: 'xchacha20-poly1305', takesAad: true },
  false,
  xchacha20poly1305,
)

/** NaCl's secretbox: a nonce of 24 bytes, the tag before the ciphertext, no associated data. */
export const xsalsa20Poly1305 = nobleAlgorithm(
  { name: 'xsalsa20-poly1305', takesAad: false },
  true,
  (key, nonce) => xsalsa20poly1305(key, nonce),
)
