import { aeadNamed, aeadNames, checked, prepareKey } from '../aead/aead.ts'
import type { Algorithm } from '../aead/algorithm.ts'
import { ccm, ocb } from '../aead/block-modes.ts'
import { gcmSiv } from '../aead/noble-ciphers.ts'
import { PreparedKey } from '../aead/prepared-key.ts'
import { shortGcm } from '../aead/gcm-value.ts'
import type { Cipher, CipherKey, ManyAtOnce } from './cipher.ts'
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
    prepare: (material, use) => prepareKey(aead, material, use),
    open(key, parts, aad) {
      const sealed = { ct: bytesIn(parts, 'ct'), tag: bytesIn(parts, 'tag') }
      return aead.open(prepared(aead.name, key), bytesIn(parts, 'nonce'), sealed, aad)
    },
    seal(key, plaintext, given, aad) {
      const { ct, tag } = aead.seal(prepared(aead.name, key), bytesIn(given, 'nonce'), plaintext, aad)
      return new Map(given).set('ct', ct).set('tag', tag)
    },
    ...(/^aes-\d+-gcm$/.test(aead.name) ? { many: manyOf(aead.name) } : {}),
  }
}

const noTag = new Uint8Array(0)

function manyOf(name: string): ManyAtOnce {
  return {
    take: (parts, aad, plaintext) => {
      const nonce = parts.get('nonce')
      const ct = plaintext ?? parts.get('ct')
      const tag = plaintext === undefined ? parts.get('tag') : noTag
      if (!(nonce instanceof Uint8Array && ct instanceof Uint8Array && tag instanceof Uint8Array))
        return undefined
      const value = { nonce, ct, tag, aad }
      return (tag === noTag || tag.length === 16) && shortGcm(value) ? value : undefined
    },
    open: (key, values) => prepared(name, key).batch(name).open(values),
    seal: (key, values) =>
      prepared(name, key)
        .batch(name)
        .seal(values)
        .map(({ ct, tag }) => new Map<string, Uint8Array>().set('ct', ct).set('tag', tag)),
  }
}

export function prepared(cipher: string, key: CipherKey): PreparedKey {
  if (key instanceof PreparedKey) return key
  throw foreignKey(cipher)
}
