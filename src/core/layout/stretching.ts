import * as crypto from 'node:crypto'
import * as noble from '@noble/hashes/argon2.js'
import type { Arguments, Computation } from './computed.ts'
import { data, inOrder, length, named, number, type Named } from './parameters.ts'
import { mismatch } from './values.ts'

// Keys from passphrases. Every cost has a limit.

function pbkdf2(of: string): Named {
  const iterations = number('iterations', { least: 1, most: 10_000_000 })
  const compute = (args: Arguments): Uint8Array =>
    crypto.pbkdf2Sync(
      args.bytes('data'),
      args.bytes('salt'),
      args.number('iterations'),
      args.number('length'),
      of,
    )
  return [`pbkdf2-${of}`, { parameters: [data, named('salt'), iterations, length], compute }]
}

const gib = 2 ** 30

const scrypt: Computation = {
  parameters: [
    data,
    named('salt'),
    number('n', { least: 2, most: 2 ** 20 }),
    number('r', { least: 1, most: 64 }, 8),
    number('p', { least: 1, most: 64 }, 1),
    length,
  ],
  limit(of) {
    if (!Number.isInteger(Math.log2(of('n')))) return 'n is no power of 2'
    if (128 * of('n') * of('r') > gib) return 'n and r together need more than 1 GiB'
    return of('n') * of('r') * of('p') > 2 ** 25 ? 'n, r and p together are more than 2^25' : undefined
  },
  compute(args) {
    const cost = { N: args.number('n'), r: args.number('r'), p: args.number('p'), maxmem: 2 * gib }
    return crypto.scryptSync(args.bytes('data'), args.bytes('salt'), args.number('length'), cost)
  },
}

type Argon2 = 'argon2id' | 'argon2i' | 'argon2d'

const nobleArgon2 = { argon2id: noble.argon2id, argon2i: noble.argon2i, argon2d: noble.argon2d } as const

const argon2 = (name: Argon2): Named => [
  name,
  {
    parameters: [
      data,
      named('salt'),
      number('memory', { least: 8, most: 2 ** 20 }),
      number('passes', { least: 1, most: 64 }),
      number('lanes', { least: 1, most: 64 }, 1),
      number('length', { least: 4, most: 1024 }, 32),
    ],
    limit(of) {
      if (of('memory') < 8 * of('lanes')) return 'memory is less than 8 KiB for each of the lanes'
      return of('memory') * of('passes') > 2 ** 23 ? 'memory times passes is more than 8 GiB' : undefined
    },
    compute(args) {
      const salt = args.bytes('salt')
      if (salt.length < 8) throw mismatch(`the salt of ${name} has fewer than 8 bytes`)
      const [m, t, p] = [args.number('memory'), args.number('passes'), args.number('lanes')]
      const message = args.bytes('data')
      // Node has it since version 24.7.
      if (typeof crypto.argon2Sync !== 'function') {
        return nobleArgon2[name](message, salt, { m, t, p, dkLen: args.number('length'), maxmem: 2 * gib })
      }
      const cost = { memory: m, passes: t, parallelism: p, tagLength: args.number('length') }
      return crypto.argon2Sync(name, { message, nonce: salt, ...cost })
    },
  },
]

/** OpenSSL's EVP_BytesToKey with one round, as CryptoJS and `openssl enc` use it. */
function evpBytesToKey(of: string): Named {
  const compute = (args: Arguments): Uint8Array => {
    const made = new Uint8Array(args.number('length'))
    let block: Uint8Array = new Uint8Array()
    for (let at = 0; at < made.length; at += block.length) {
      const next = crypto
        .createHash(of)
        .update(block)
        .update(args.bytes('data'))
        .update(args.bytes('salt'))
        .digest()
      block.fill(0)
      block = next
      made.set(block.subarray(0, made.length - at), at)
    }
    block.fill(0)
    return made
  }
  const salt = inOrder(named('salt'))
  return [`evp-bytes-to-key-${of}`, { parameters: [data, salt, inOrder(length)], compute }]
}

export const stretching: readonly Named[] = [
  ...['sha1', 'sha256', 'sha384', 'sha512'].map(pbkdf2),
  ['scrypt', scrypt],
  ...(['argon2id', 'argon2i', 'argon2d'] as const).map(argon2),
  ...['md5', 'sha256'].map(evpBytesToKey),
]
