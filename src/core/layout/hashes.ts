import { createHash, createHmac, hkdfSync } from 'node:crypto'
import { blake2b, blake2s } from '@noble/hashes/blake2.js'
import { blake3 } from '@noble/hashes/blake3.js'
import type { Arguments, Computation, Parameter } from './computed.ts'
import { data, inOrder, length, named, number, written, type Named } from './parameters.ts'
import { mismatch } from './values.ts'

function hash(name: string): Named {
  return [
    name,
    { parameters: [data], compute: (args) => createHash(name).update(args.bytes('data')).digest() },
  ]
}

function shake(name: string): Named {
  const compute = (args: Arguments): Uint8Array =>
    createHash(name, { outputLength: args.number('length') })
      .update(args.bytes('data'))
      .digest()
  return [name, { parameters: [data, inOrder(length)], compute }]
}

function hmac(of: string): Named {
  const compute = (args: Arguments): Uint8Array =>
    createHmac(of, args.bytes('key')).update(args.bytes('data')).digest()
  return [`hmac-${of}`, { parameters: [written, named('key', 'key')], compute }]
}

/** OpenSSL's limit. */
const longestInfo = 1024

function hkdf(of: string): Named {
  const compute = (args: Arguments): Uint8Array => {
    const info = args.bytes('info')
    if (info.length > longestInfo) throw mismatch(`the info of hkdf-${of} has more than ${longestInfo} bytes`)
    return new Uint8Array(hkdfSync(of, args.bytes('data'), args.bytes('salt'), info, args.number('length')))
  }
  return [`hkdf-${of}`, { parameters: [data, named('salt', 'none'), named('info', 'none'), length], compute }]
}

type Blake2 = (
  data: Uint8Array,
  options: { dkLen: number; key?: Uint8Array; salt?: Uint8Array; personalization?: Uint8Array },
) => Uint8Array

/** `most` is the longest result and key; salt and personalization are filled with zeros, as libsodium does. */
function blake2(name: string, most: 32 | 64, of: Blake2): Named {
  const extra = most / 4
  return [
    name,
    {
      parameters: [
        data,
        digestLength(most),
        named('key', 'none'),
        named('salt', 'none'),
        named('person', 'none'),
      ],
      compute(args) {
        const [key, salt, personalization] = [args.bytes('key'), args.bytes('salt'), args.bytes('person')]
        checkLength(name, 'key', key, most)
        checkLength(name, 'salt', salt, extra)
        checkLength(name, 'person', personalization, extra)
        return of(args.bytes('data'), {
          dkLen: args.number('length'),
          ...(key.length > 0 ? { key } : {}),
          ...(salt.length > 0 ? { salt: filled(salt, extra) } : {}),
          ...(personalization.length > 0 ? { personalization: filled(personalization, extra) } : {}),
        })
      },
    },
  ]
}

const blake3Keyed: Computation = {
  parameters: [data, digestLength(1024), named('key', 'none')],
  compute(args) {
    const key = args.bytes('key')
    const dkLen = args.number('length')
    if (!args.given('key')) return blake3(args.bytes('data'), { dkLen })
    if (key.length !== 32) throw mismatch(`blake3 takes no key of ${key.length} bytes`)
    return blake3(args.bytes('data'), { dkLen, key })
  },
}

function digestLength(most: number): Parameter {
  return inOrder(number('length', { least: 1, most }, 32))
}

function checkLength(name: string, what: string, bytes: Uint8Array, most: number): void {
  if (bytes.length > most) throw mismatch(`${name} takes no ${what} of ${bytes.length} bytes`)
}

function filled(bytes: Uint8Array, length: number): Uint8Array {
  const whole = new Uint8Array(length)
  whole.set(bytes)
  return whole
}

const shas = ['sha1', 'sha256', 'sha384', 'sha512'] as const

export const hashes: readonly Named[] = [
  ...[...shas, 'md5', 'sha3-256', 'sha3-512'].map(hash),
  ...['shake128', 'shake256'].map(shake),
  ...shas.map(hmac),
  ...shas.map(hkdf),
  blake2('blake2b', 64, (bytes, options) => blake2b(bytes, options)),
  blake2('blake2s', 32, (bytes, options) => blake2s(bytes, options)),
  ['blake3', blake3Keyed],
]
