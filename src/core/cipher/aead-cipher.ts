import { aeadNamed, aeadNames, checked, prepareKey } from '../aead/aead.ts'
import type { Algorithm } from '../aead/algorithm.ts'
import { ccm, ocb } from '../aead/block-modes.ts'
import { gcmSiv } from '../aead/noble-ciphers.ts'
import { PreparedKey } from '../aead/prepared-key.ts'
import type { Cipher, CipherKey } from './cipher.ts'
import { bytesIn, foreignKey } from './sealed-bytes.ts'

const bits = [128, 192, 256] as const

/** Authenticated encryption with a nonce: parts nonce, ct and tag. */
export const aeadCiphers: readonly Cipher[] = [
  ...aeadNames.map((name) => aeadCipher(aeadNamed(name))),
  ...[...bits.map(ccm), ...bits.map(ocb), gcmSiv(128), gcmSiv(256)].map((each) => aeadCipher(checked(each))),
]

function aeadCipher(aead: Algorithm): Cipher {
  return {
    name: aead.name,
    kind: 'aead',
    parts: ['nonce', 'ct', 'tag'],
    takesAad: aead.takesAad,
    nonceLength: aead.defaultNonceLength,
    acceptsKeyLength: (length) => length === aead.keyLength,
    keyLengths: String(aead.keyLength),
    prepare: (material) => prepareKey(aead, material),
    open(key, parts, aad) {
      const sealed = { ct: bytesIn(parts, 'ct'), tag: bytesIn(parts, 'tag') }
      return aead.open(prepared(aead.name, key), bytesIn(parts, 'nonce'), sealed, aad)
    },
    seal(key, plaintext, given, aad) {
      const { ct, tag } = aead.seal(prepared(aead.name, key), bytesIn(given, 'nonce'), plaintext, aad)
      return new Map(given).set('ct', ct).set('tag', tag)
    },
  }
}

export function prepared(cipher: string, key: CipherKey): PreparedKey {
  if (key instanceof PreparedKey) return key
  throw foreignKey(cipher)
}
