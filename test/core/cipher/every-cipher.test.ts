import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Cipher, SealedParts } from '../../../src/core/cipher/cipher.ts'
import { cipherNamed, cipherNames } from '../../../src/core/cipher/registry.ts'
import { isKvxError, type ErrorCode } from '../../../src/core/errors.ts'
import { Secret } from '../../../src/core/secret.ts'

const none = new Uint8Array()

function made(name: string): Cipher {
  return cipherNamed(name, name.includes('-hmac-') ? { mac: 'lp32(aad) nonce ct' } : {})
}

function keyFor(cipher: Cipher): Secret {
  const length = [16, 24, 32, 48, 64, 96].find((each) => cipher.acceptsKeyLength(each)) ?? 0
  return Secret.take(randomBytes(length))
}

function freshFor(cipher: Cipher): SealedParts {
  return new Map<string, Uint8Array | bigint>([
    ...(cipher.nonceLength === 0 ? [] : [['nonce', randomBytes(cipher.nonceLength)] as const]),
    ...(cipher.parts.includes('time') ? [['time', 1_700_000_000n] as const] : []),
  ])
}

function flipped(parts: SealedParts, name: string, bit: number): SealedParts {
  const value = parts.get(name)
  if (typeof value === 'bigint') return new Map(parts).set(name, value ^ (1n << BigInt(bit % 32)))
  const bytes = Uint8Array.from(value ?? [])
  const at = (bit >> 3) % bytes.length
  bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7))
  return new Map(parts).set(name, bytes)
}

function codeOf(make: () => unknown): ErrorCode | 'accepted' {
  try {
    make()
  } catch (error) {
    if (isKvxError(error)) return error.code
    throw error
  }
  return 'accepted'
}

const authenticated = cipherNames.filter((name) => made(name).kind !== 'legacy')

describe.each(authenticated)('%s', (name) => {
  const cipher = made(name)
  const lengths = cipher.kind === 'key-wrap' ? fc.constantFrom(16, 24, 32, 64) : fc.nat({ max: 200 })
  const plaintexts = lengths.map((length) => randomBytes(length))
  const aads = fc.uint8Array({ maxLength: 40 }).map((some) => (cipher.takesAad ? some : none))

  test('opens what it sealed, and nothing in which a bit differs or under another key', () => {
    const key = cipher.prepare(keyFor(cipher))
    const other = cipher.prepare(keyFor(cipher))
    fc.assert(
      fc.property(plaintexts, aads, fc.nat(), (plaintext, aad, bit) => {
        const parts = cipher.seal(key, plaintext, freshFor(cipher), aad)
        expect(cipher.parts.every((part) => parts.has(part))).toBe(true)
        expect(plaintext.equals(cipher.open(key, parts, aad) ?? randomBytes(300))).toBe(true)
        expect(cipher.open(other, parts, aad)).toBeUndefined()
        for (const part of cipher.parts) {
          const value = parts.get(part)
          if (value instanceof Uint8Array && value.length === 0) continue
          expect(cipher.open(key, flipped(parts, part, bit), aad)).toBeUndefined()
        }
        if (cipher.takesAad) {
          expect(cipher.open(key, parts, Buffer.concat([aad, Buffer.from('x')]))).toBeUndefined()
        }
      }),
      { numRuns: 40 },
    )
  })

  test('keeps what it does not make, and asks for a part that is missing', () => {
    const key = cipher.prepare(keyFor(cipher))
    const given = new Map<string, Uint8Array | bigint>([
      ...freshFor(cipher),
      ['version', 7n],
      ['#1 skip', none],
    ])
    const parts = cipher.seal(key, randomBytes(32), given, none)
    expect(parts.get('version')).toBe(7n)
    expect(parts.get('#1 skip')).toBe(none)
    expect(parts.get('nonce')).toBe(given.get('nonce'))
    for (const part of cipher.parts.filter((each) => each !== 'time')) {
      const less = new Map([...parts].filter(([each]) => each !== part))
      expect(codeOf(() => cipher.open(key, less, none))).toBe('LAYOUT_MISMATCH')
      expect(codeOf(() => cipher.open(key, new Map(less).set(part, 5n), none))).toBe('LAYOUT_MISMATCH')
    }
  })

  test('takes keys of its length only, and none that was wiped or prepared for another cipher', () => {
    const accepted = Array.from({ length: 130 }, (_, length) => length).filter((length) =>
      cipher.acceptsKeyLength(length),
    )
    expect(cipher.keyLengths).toBe(
      accepted.length === 1
        ? String(accepted[0])
        : `${accepted.slice(0, -1).join(', ')} or ${accepted.at(-1)}`,
    )
    expect(codeOf(() => cipher.prepare(Secret.take(randomBytes(15))))).toBe('KEY_MALFORMED')
    const key = cipher.prepare(keyFor(cipher))
    const parts = cipher.seal(key, randomBytes(32), freshFor(cipher), none)
    expect(`${inspect(key)} ${JSON.stringify(key)}`).toMatch(/^\[secret for .*\] "\[secret\]"$/)
    key.wipe()
    key.wipe()
    expect(() => cipher.open(key, parts, none)).toThrow(TypeError)
    for (const other of ['aes-256-gcm', 'fernet'].filter((each) => each !== name)) {
      const foreign = cipherNamed(other).prepare(Secret.take(randomBytes(32)))
      expect(() => cipher.open(foreign, parts, none)).toThrow(TypeError)
    }
  })

  test('has LAYOUT_MISMATCH for lengths that no key opens', () => {
    const key = cipher.prepare(keyFor(cipher))
    const parts = cipher.seal(key, randomBytes(32), freshFor(cipher), none)
    for (const part of cipher.parts.filter((each) => each === 'tag' || each === 'mac')) {
      const value = parts.get(part)
      const bytes = value instanceof Uint8Array ? value : none
      for (const wrong of [bytes.subarray(0, 15), bytes.subarray(0, 4), none, randomBytes(65)]) {
        expect(codeOf(() => cipher.open(key, new Map(parts).set(part, wrong), none))).toBe('LAYOUT_MISMATCH')
      }
    }
    if (cipher.nonceLength > 0) {
      const long = new Map(parts).set('nonce', randomBytes(65))
      expect(codeOf(() => cipher.open(key, long, none))).toBe('LAYOUT_MISMATCH')
      expect(codeOf(() => cipher.seal(key, none, long, none))).toBe('LAYOUT_MISMATCH')
    }
    if (!cipher.takesAad) {
      expect(codeOf(() => cipher.open(key, parts, Buffer.from('x')))).toBe('LAYOUT_MISMATCH')
      expect(codeOf(() => cipher.seal(key, randomBytes(32), parts, Buffer.from('x')))).toBe('LAYOUT_MISMATCH')
    }
  })
})
