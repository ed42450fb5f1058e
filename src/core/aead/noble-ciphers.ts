import { gcmsiv } from '@noble/ciphers/aes.js'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js'
import type { Algorithm, Sealed } from './algorithm.ts'

// noble compares the tag before it decrypts, so there is no unverified plaintext to wipe.

const tagLength = 16

export type NobleCipher = {
  encrypt(plaintext: Uint8Array): Uint8Array
  decrypt(sealed: Uint8Array): Uint8Array
}

type About = Pick<Algorithm, 'name' | 'takesAad' | 'keyLength'> & { readonly nonceLength: 12 | 24 }

function nobleAlgorithm(
  { nonceLength, ...about }: About,
  tagFirst: boolean,
  cipherOf: (key: Uint8Array, nonce: Uint8Array, aad: Uint8Array) => NobleCipher,
): Algorithm {
  return {
    ...about,
    tagLength,
    defaultNonceLength: nonceLength,
    native: false,
    acceptsNonceLength: (length) => length === nonceLength,
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

export function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
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
  { name: 'xchacha20-poly1305', takesAad: true, keyLength: 32, nonceLength: 24 },
  false,
  xchacha20poly1305,
)

/** NaCl's secretbox: a nonce of 24 bytes, the tag before the ciphertext, no associated data. */
export const xsalsa20Poly1305 = nobleAlgorithm(
  { name: 'xsalsa20-poly1305', takesAad: false, keyLength: 32, nonceLength: 24 },
  true,
  (key, nonce) => xsalsa20poly1305(key, nonce),
)

/** RFC 8452: a repeated nonce tells no more than that the same value was sealed again. */
export function gcmSiv(bits: 128 | 256): Algorithm {
  const keyLength = bits === 128 ? 16 : 32
  return nobleAlgorithm(
    { name: `aes-${bits}-gcm-siv`, takesAad: true, keyLength, nonceLength: 12 },
    false,
    gcmsiv,
  )
}
