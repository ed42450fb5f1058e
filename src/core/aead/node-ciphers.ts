import { createCipheriv, createDecipheriv, type CipherGCMTypes } from 'node:crypto'
import type { Algorithm } from './algorithm.ts'
import { openShort } from './gcm-short.ts'
import { shortGcm } from './gcm-value.ts'

// authTagLength is set on every call: without it Node opens values whose tag was cut down to 4 bytes.
const tagLength = 16

/** AES in Galois/counter mode. Nonces of 8 to 64 bytes, because applications use 12, 16 and 32. */
export function gcm(bits: 128 | 192 | 256): Algorithm {
  const lengths = { 128: 16, 192: 24, 256: 32 } as const
  return nodeAlgorithm(`aes-${bits}-gcm`, lengths[bits], { shortest: 8, longest: 64 })
}

/** RFC 8439: a nonce of 12 bytes. */
export const chacha20Poly1305 = nodeAlgorithm('chacha20-poly1305', 32, { shortest: 12, longest: 12 })

function nodeAlgorithm(
  name: CipherGCMTypes | 'chacha20-poly1305',
  keyLength: 16 | 24 | 32,
  nonce: { readonly shortest: number; readonly longest: number },
): Algorithm {
  const isGcm = name !== 'chacha20-poly1305'
  return {
    name,
    keyLength,
    tagLength,
    defaultNonceLength: 12,
    takesAad: true,
    native: true,
    acceptsNonceLength: (length) => length >= nonce.shortest && length <= nonce.longest,
    seal(key, nonce, plaintext, aad) {
      const cipher = createCipheriv(asGcm(name), key.object(name), nonce, { authTagLength: tagLength })
      if (aad.length > 0) cipher.setAAD(aad)
      const ct = cipher.update(plaintext)
      cipher.final()
      return { ct, tag: cipher.getAuthTag() }
    },
    open(key, nonce, { ct, tag }, aad) {
      const value = { nonce, ct, aad }
      if (key.lends && isGcm && shortGcm(value))
        return key.lend(name, (bytes) => openShort(bytes, value, tag))
      const decipher = createDecipheriv(asGcm(name), key.object(name), nonce, { authTagLength: tagLength })
      if (aad.length > 0) decipher.setAAD(aad)
      decipher.setAuthTag(tag)
      const plaintext = decipher.update(ct)
      try {
        decipher.final()
        return plaintext
      } catch {
        plaintext.fill(0)
        return undefined
      }
    },
  }
}

// The types of node:crypto know the two kinds by different overloads; their calls are the same.
function asGcm(name: string): CipherGCMTypes {
  return name as CipherGCMTypes
}
