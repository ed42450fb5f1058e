import { prepareWrappingKey, type KeyWrap } from '../aead/key-wrap.ts'
import { KvxError } from '../errors.ts'
import { prepared } from './aead-cipher.ts'
import type { Cipher } from './cipher.ts'
import { bytesIn } from './sealed-bytes.ts'

/**
 * AES key wrap: one part, no nonce, no associated data.
 * @param digits hex digits of another initial value than the standard's
 */
export function keyWrapCipher(wrap: KeyWrap, digits: string | undefined): Cipher {
  const initialValue = digits === undefined ? wrap.initialValue : initialValueOf(wrap, digits)
  return {
    name: wrap.name,
    kind: 'key-wrap',
    parts: ['ct'],
    takesAad: false,
    nonceLength: 0,
    acceptsKeyLength: (length) => length === wrap.keyLength,
    keyLengths: String(wrap.keyLength),
    prepare: (material) => prepareWrappingKey(wrap, material),
    open(key, parts, aad) {
      refuseAad(wrap.name, aad)
      return wrap.unwrap(prepared(wrap.name, key), bytesIn(parts, 'ct'), initialValue)
    },
    seal(key, plaintext, given, aad) {
      refuseAad(wrap.name, aad)
      return new Map(given).set('ct', wrap.wrap(prepared(wrap.name, key), plaintext, initialValue))
    },
  }
}

function initialValueOf(wrap: KeyWrap, digits: string): Uint8Array {
  const { length } = wrap.initialValue
  if (/^(?:[0-9a-fA-F]{2})+$/.test(digits) && digits.length === 2 * length) {
    return Uint8Array.from(Buffer.from(digits, 'hex'))
  }
  throw new KvxError(
    'CONFIG_INVALID',
    `the initial value of ${wrap.name} is not ${length} bytes of hex digits`,
    {
      hint: `write ${2 * length} hex digits, or leave it out for that of the standard`,
    },
  )
}

function refuseAad(name: string, aad: Uint8Array): void {
  if (aad.length > 0) throw new KvxError('LAYOUT_MISMATCH', `${name} has no associated data`)
}
