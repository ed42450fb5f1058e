import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { CipherOptions } from '../../../src/core/cipher/cipher.ts'
import { cipherNamed, cipherNames } from '../../../src/core/cipher/registry.ts'
import { isKvxError } from '../../../src/core/errors.ts'
import { Secret } from '../../../src/core/secret.ts'

function refusal(name: string, options: CipherOptions = {}): string {
  try {
    cipherNamed(name, options)
  } catch (error) {
    if (isKvxError(error)) return `${error.code} ${error.message}: ${error.hint}`
    throw error
  }
  return 'accepted'
}

function messageOf(make: () => unknown): string {
  try {
    make()
  } catch (error) {
    if (isKvxError(error)) return `${error.code} ${error.message}`
    throw error
  }
  return 'accepted'
}

const none = new Uint8Array()

describe('a name', () => {
  test('that was mistyped is answered with the one that was meant, and not printed', () => {
    expect(refusal('aes-256-gmc')).toBe(
      'CONFIG_INVALID a cipher has a name that kvx does not know: write aes-256-gcm',
    )
    expect(refusal('AES-256-GCM')).toContain('write aes-256-gcm')
    expect(refusal('rot13')).toContain(`use one of ${cipherNames.join(', ')}`)
    expect(refusal('constructor')).toContain('CONFIG_INVALID')
  })

  test('that kvx has stands there once', () => {
    expect(new Set(cipherNames).size).toBe(cipherNames.length)
    expect(cipherNames).toContain('aes-256-gcm')
    for (const name of cipherNames) {
      const cipher = cipherNamed(name, name.includes('-hmac-') ? { mac: 'nonce ct' } : {})
      expect(cipher.name).toBe(name)
    }
  })
})

describe('an option', () => {
  test('that the cipher does not take is refused', () => {
    expect(refusal('aes-256-gcm', { mac: 'nonce ct' })).toBe(
      'CONFIG_INVALID aes-256-gcm has no option mac: leave it out',
    )
    expect(refusal('aes-256-kw', { macKey: 'key' })).toBe(
      'CONFIG_INVALID aes-256-kw has no option macKey: it takes initialValue',
    )
    expect(refusal('fernet', { initialValue: '00' })).toContain('fernet has no option initialValue')
    expect(refusal('aes-256-gcm', { mac: undefined })).toBe('accepted')
  })

  test('that the cipher needs is asked for', () => {
    expect(refusal('aes-256-cbc-hmac-sha256')).toBe(
      'CONFIG_INVALID aes-256-cbc-hmac-sha256 lacks its option mac: write what the MAC covers, e.g. mac: nonce ct',
    )
  })

  test('with an initial value has the digits that the wrap takes', () => {
    const hint = 'write 16 hex digits, or leave it out for that of the standard'
    for (const initialValue of ['', 'a6', 'a6a6a6a6a6a6a6', 'a6a6a6a6a6a6a6xy', 'a6a6a6a6a6a6a6a6a6']) {
      expect(refusal('aes-256-kw', { initialValue })).toContain(hint)
    }
    expect(refusal('aes-256-kwp', { initialValue: 'A65959A6' })).toBe('accepted')
  })

  test('with a mac covers the ciphertext', () => {
    const cipher = 'aes-256-cbc-hmac-sha256'
    expect(refusal(cipher, { mac: 'ct' })).toBe('accepted')
    expect(refusal(cipher, { mac: 'aad nonce' })).toContain(
      `the mac of ${cipher} does not cover the ciphertext`,
    )
    expect(refusal(cipher, { mac: 'nonce ct {org}' })).toContain('a mac covers parts of the value and aad')
    expect(refusal(cipher, { mac: 'nonce ct key' })).toContain('a part named key is not known')
    expect(refusal(cipher, { mac: 'nonce cipertext' })).toContain('write ct')
  })

  test('with a derivation makes keys from the key alone', () => {
    const cipher = 'aes-256-cbc-hmac-sha256'
    const macKey = (source: string): string => refusal(cipher, { mac: 'nonce ct', macKey: source })
    expect(macKey('sha256(key {org})')).toContain(`the macKey of ${cipher} is made from more than the key`)
    expect(macKey('sha256(key salt)')).toContain('made from more than the key')
    expect(macKey('sha256(kye)')).toContain('a part named kye is not known')
    expect(macKey('sha256(key)')).toBe('accepted')
  })
})

describe('a cipher with a mac', () => {
  const options = {
    mac: 'aad 0x00 nonce ct',
    macKey: 'hkdf-sha256(info="mac")',
    cipherKey: 'hkdf-sha256(info="encryption")',
  }

  test('takes keys of any length where both of its keys are derived', () => {
    const cipher = cipherNamed('aes-256-ctr-hmac-sha512', options)
    expect(cipher.keyLengths).toBe('1 or more')
    expect([0, 1, 17, 32].map((length) => cipher.acceptsKeyLength(length))).toEqual([false, true, true, true])
    const material = Secret.take(randomBytes(17))
    const key = cipher.prepare(material)
    const parts = cipher.seal(key, Buffer.from('plain'), new Map([['nonce', randomBytes(16)]]), none)
    material.wipe()
    expect(String(Buffer.from(cipher.open(key, parts, none) ?? []))).toBe('plain')
  })

  test('says so when a derivation gives no key of its length', () => {
    const cipher = cipherNamed('aes-256-cbc-hmac-sha256', { mac: 'nonce ct', cipherKey: 'slice(key, 0, 16)' })
    expect(() => cipher.prepare(Secret.take(randomBytes(32)))).toThrow('the key has 16 bytes')
  })

  test('says so when a derivation can make nothing of a key', () => {
    const cipher = cipherNamed('aes-128-cbc-hmac-sha256', {
      mac: 'nonce ct',
      macKey: 'slice(key, 16, 16)',
      cipherKey: 'slice(key, 0, 16)',
    })
    expect(messageOf(() => cipher.prepare(Secret.take(randomBytes(20))))).toBe(
      "KEY_MALFORMED the macKey of aes-128-cbc-hmac-sha256 can't be made from a key of 20 bytes: " +
        'slice takes bytes 16 to 32, and there are 20',
    )
    expect(messageOf(() => cipher.prepare(Secret.take(randomBytes(8))))).toContain('KEY_MALFORMED')
  })

  test('compares as much of the mac as the value holds, and writes as much again', () => {
    const cipher = cipherNamed('aes-256-cbc-hmac-sha512', { mac: 'nonce ct' })
    const key = cipher.prepare(Secret.take(randomBytes(32)))
    for (const length of [16, 20, 32, 64]) {
      const given = new Map([['nonce', randomBytes(16)] as const, ['mac', randomBytes(length)] as const])
      const parts = cipher.seal(key, Buffer.from('plain'), given, none)
      const mac = parts.get('mac')
      expect(mac instanceof Uint8Array && mac.length).toBe(length)
      expect(String(Buffer.from(cipher.open(key, parts, none) ?? []))).toBe('plain')
      expect(cipher.open(key, new Map(parts).set('mac', randomBytes(length)), none)).toBeUndefined()
    }
    expect(() =>
      cipher.seal(
        key,
        none,
        new Map([
          ['nonce', randomBytes(16)],
          ['mac', randomBytes(15)],
        ]),
        none,
      ),
    ).toThrow('takes no mac of 15 bytes')
  })

  test('is not decrypted before its mac is compared, and refuses aad that the mac leaves out', () => {
    const cipher = cipherNamed('aes-256-cbc-hmac-sha256', { mac: 'nonce ct' })
    const key = cipher.prepare(Secret.take(randomBytes(32)))
    expect(cipher.takesAad).toBe(false)
    const parts = cipher.seal(key, Buffer.from('plain'), new Map([['nonce', randomBytes(16)]]), none)
    expect(() => cipher.open(key, parts, randomBytes(4))).toThrow('does not cover aad')
    expect(() => cipher.open(key, new Map(parts).set('ct', randomBytes(15)), none)).toThrow(
      /no ciphertext of 15/,
    )
  })

  test('of Fernet keeps the time that it is given, and makes none of its own', () => {
    const cipher = cipherNamed('fernet')
    const key = cipher.prepare(Secret.take(randomBytes(32)))
    const given = new Map<string, Uint8Array | bigint>([
      ['nonce', randomBytes(16)],
      ['time', 5n],
    ])
    expect(cipher.seal(key, none, given, none).get('time')).toBe(5n)
    given.delete('time')
    expect(() => cipher.seal(key, none, given, none)).toThrow('time')
  })
})
