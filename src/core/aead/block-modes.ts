import { createCipheriv, createDecipheriv, type CipherCCMTypes, type CipherOCBTypes } from 'node:crypto'
import type { Algorithm } from './algorithm.ts'
import { joined } from './noble-ciphers.ts'

// The two modes of AES whose calls in node:crypto differ from those of GCM: CCM must know the length before it
// begins, and OCB gives its last block by `final`.

const tagLength = 16
const keyLengths = { 128: 16, 192: 24, 256: 32 } as const

type Bits = keyof typeof keyLengths

/** NIST SP 800-38C, RFC 3610. A nonce of 7 to 13 bytes: a shorter one allows for longer values. */
export function ccm(bits: Bits): Algorithm {
  return blockMode(`aes-${bits}-ccm`, keyLengths[bits], { shortest: 7, longest: 13 })
}

/** RFC 7253. A nonce of up to 15 bytes. */
export function ocb(bits: Bits): Algorithm {
  return blockMode(`aes-${bits}-ocb`, keyLengths[bits], { shortest: 1, longest: 15 })
}

function blockMode(
  name: CipherCCMTypes | CipherOCBTypes,
  keyLength: 16 | 24 | 32,
  nonce: { readonly shortest: number; readonly longest: number },
): Algorithm {
  return {
    name,
    keyLength,
    tagLength,
    defaultNonceLength: 12,
    takesAad: true,
    native: true,
    acceptsNonceLength: (length) => length >= nonce.shortest && length <= nonce.longest,
    seal(key, nonce, plaintext, aad) {
      const cipher = createCipheriv(asCcm(name), key.object(name), nonce, { authTagLength: tagLength })
      cipher.setAAD(aad, { plaintextLength: plaintext.length })
      const ct = ended(cipher.update(plaintext), cipher.final())
      return { ct, tag: cipher.getAuthTag() }
    },
    open(key, nonce, { ct, tag }, aad) {
      const decipher = createDecipheriv(asCcm(name), key.object(name), nonce, { authTagLength: tagLength })
      decipher.setAuthTag(tag)
      decipher.setAAD(aad, { plaintextLength: ct.length })
      const plaintext = decipher.update(ct)
      try {
        return ended(plaintext, decipher.final())
      } catch {
        plaintext.fill(0)
        return undefined
      }
    },
  }
}

/** The bytes with the last ones behind them; the pieces are wiped where they were copied. */
export function ended(bytes: Uint8Array, last: Uint8Array): Uint8Array {
  if (last.length === 0) return bytes
  const whole = joined(bytes, last)
  bytes.fill(0)
  last.fill(0)
  return whole
}

// The types of node:crypto know the two modes by different overloads; their calls are the same.
function asCcm(name: string): CipherCCMTypes {
  return name as CipherCCMTypes
}
