import { aessiv } from '@noble/ciphers/aes.js'
import { joined } from '../aead/noble-ciphers.ts'
import { PreparedKey } from '../aead/prepared-key.ts'
import { prepared } from './aead-cipher.ts'
import type { Cipher } from './cipher.ts'
import { bytesIn, wrongKey, wrongLength } from './sealed-bytes.ts'

const name = 'aes-siv'
const tagLength = 16
const keyLengths = [32, 48, 64]

/** RFC 5297 names no nonce apart: equal values under equal associated data give equal bytes. */
export const sivCipher: Cipher = {
  name,
  kind: 'aead',
  parts: ['tag', 'ct'],
  takesAad: true,
  nonceLength: 0,
  acceptsKeyLength: (length) => keyLengths.includes(length),
  keyLengths: '32, 48 or 64',
  prepare(material) {
    if (!keyLengths.includes(material.length)) throw wrongKey(name, material.length, '32, 48 or 64')
    return PreparedKey.of({ name, keyLength: material.length, native: false }, material)
  },
  open(key, parts, aad) {
    const tag = bytesIn(parts, 'tag')
    if (tag.length !== tagLength) throw wrongLength(name, 'tag', tag.length)
    const sealed = joined(tag, bytesIn(parts, 'ct'))
    return prepared(name, key).lend(name, (bytes) => {
      try {
        return aessiv(bytes, ...components(aad)).decrypt(sealed)
      } catch {
        return undefined
      }
    })
  },
  seal(key, plaintext, given, aad) {
    const sealed = prepared(name, key).lend(name, (bytes) =>
      aessiv(bytes, ...components(aad)).encrypt(plaintext),
    )
    return new Map(given).set('tag', sealed.subarray(0, tagLength)).set('ct', sealed.subarray(tagLength))
  },
}

/** Libraries leave associated data out where there is none, which is not the same as an empty component. */
function components(aad: Uint8Array): readonly Uint8Array[] {
  return aad.length === 0 ? [] : [aad]
}
