import { createCipheriv, createDecipheriv } from 'node:crypto'
import { KvxError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { PreparedKey } from './prepared-key.ts'

/** AES key wrap: it has neither nonce nor tag nor associated data, and seals nothing but keys. */
export type KeyWrap = {
  readonly name: KeyWrapName
  readonly keyLength: 16 | 24 | 32
  /** Bytes of the initial value that the standard says: 8 for KW, the 4 of the alternative one for KWP. */
  readonly initialValue: Uint8Array
  /**
   * @param initialValue another one than the standard's, for applications that have their own
   * @throws KEY_MALFORMED for a key that the algorithm can't wrap
   */
  wrap(key: PreparedKey, material: Uint8Array, initialValue?: Uint8Array): Uint8Array
  /**
   * The wrapped key, which the caller wipes, or undefined when it does not open.
   * @throws LAYOUT_MISMATCH for a length that no wrapped key has
   */
  unwrap(key: PreparedKey, wrapped: Uint8Array, initialValue?: Uint8Array): Uint8Array | undefined
}

/** `kw`: RFC 3394, NIST SP 800-38F. `kwp`: with padding, RFC 5649. */
export type KeyWrapName = `aes-${128 | 192 | 256}-${'kw' | 'kwp'}`

const initialValues = { kw: 'a6a6a6a6a6a6a6a6', kwp: 'a65959a6' }

function keyWrap(bits: 128 | 192 | 256, kind: 'kw' | 'kwp'): KeyWrap {
  const name: KeyWrapName = `aes-${bits}-${kind}`
  const cipher = `id-aes${bits}-wrap${kind === 'kwp' ? '-pad' : ''}`
  const standard = Uint8Array.from(Buffer.from(initialValues[kind], 'hex'))
  const keyLengths = { 128: 16, 192: 24, 256: 32 } as const
  const least = kind === 'kw' ? 24 : 16
  return {
    name,
    keyLength: keyLengths[bits],
    initialValue: standard,
    wrap(key, material, initialValue = standard) {
      checkInitialValue(name, initialValue, standard.length)
      const possible =
        kind === 'kw' ? material.length >= 16 && material.length % 8 === 0 : material.length > 0
      if (!possible)
        throw new KvxError('KEY_MALFORMED', `${name} can't wrap a key of ${material.length} bytes`)
      // One call does it all: OpenSSL's wrap has nothing left for `final`.
      return createCipheriv(cipher, key.object(name), initialValue).update(material)
    },
    unwrap(key, wrapped, initialValue = standard) {
      checkInitialValue(name, initialValue, standard.length)
      if (wrapped.length < least || wrapped.length % 8 !== 0) {
        throw new KvxError('LAYOUT_MISMATCH', `${name} makes no wrapped key of ${wrapped.length} bytes`)
      }
      const decipher = createDecipheriv(cipher, key.object(name), initialValue)
      try {
        return decipher.update(wrapped)
      } catch {
        return undefined
      }
    },
  }
}

function checkInitialValue(name: KeyWrapName, initialValue: Uint8Array, length: number): void {
  if (initialValue.length === length) return
  throw new KvxError(
    'CONFIG_INVALID',
    `the initial value of ${name} has ${length} bytes, not ${initialValue.length}`,
  )
}

const registry: ReadonlyMap<string, KeyWrap> = new Map(
  ([128, 192, 256] as const)
    .flatMap((bits) => [keyWrap(bits, 'kw'), keyWrap(bits, 'kwp')])
    .map((each) => [each.name, each]),
)

export const keyWrapNames: readonly string[] = [...registry.keys()]

/** @throws CONFIG_INVALID for a name that is not in {@link keyWrapNames} */
export function keyWrapNamed(name: string): KeyWrap {
  const found = registry.get(name)
  if (found !== undefined) return found
  throw new KvxError('CONFIG_INVALID', 'a key wrap has a name that kvx does not know', {
    hint: `use one of ${keyWrapNames.join(', ')}`,
  })
}

/** As `prepareKey` of the AEADs. */
export function prepareWrappingKey(wrap: KeyWrap, material: Secret): PreparedKey {
  return PreparedKey.of({ name: wrap.name, keyLength: wrap.keyLength, native: true }, material)
}
