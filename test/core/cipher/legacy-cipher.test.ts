import { createCipheriv, randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cipherNamed, cipherNames } from '../../../src/core/cipher/registry.ts'
import { isKvxError } from '../../../src/core/errors.ts'
import { Secret } from '../../../src/core/secret.ts'

const none = new Uint8Array()
const hex = (text: string): Buffer => Buffer.from(text, 'hex')
const names = cipherNames.filter((name) => !name.includes('-hmac-') && cipherNamed(name).kind === 'legacy')

// NIST SP 800-38A, appendix F: the first block, and for CFB8 the first 18 bytes.
const key256 = '603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4'
const key128 = '2b7e151628aed2a6abf7158809cf4f3c'
const counting = '000102030405060708090a0b0c0d0e0f'

test.each([
  ['aes-256-cbc-nopad', key256, counting, 'f58c4c04d6e5f1ba779eabfb5f7bfbd6'],
  ['aes-128-cbc-nopad', key128, counting, '7649abac8119b246cee98e9b12e9197d'],
  ['aes-256-ctr', key256, 'f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '601ec313775789a5b7a7f504bbf3d228'],
  ['aes-128-ctr', key128, 'f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '874d6191b620e3261bef6864990db6ce'],
  ['aes-256-cfb', key256, counting, 'dc7e84bfda79164b7ecd8486985d3860'],
  ['aes-256-ofb', key256, counting, 'dc7e84bfda79164b7ecd8486985d3860'],
  ['aes-256-cfb8', key256, counting, 'dc1f1a8520a64db55fcc8ac554844e88'],
  ['aes-256-ecb-nopad', key256, '', 'f3eed1bdb5d2a03c064b5a7e3db181f8'],
  ['aes-128-ecb-nopad', key128, '', '3ad77bb40d7a3660a89ecaf32466ef97'],
])('%s opens what SP 800-38A sealed', (name, key, nonce, ct) => {
  const cipher = cipherNamed(name)
  const parts = new Map([
    ['nonce', hex(nonce)],
    ['ct', hex(ct)],
  ])
  const opened = cipher.open(cipher.prepare(Secret.copy(hex(key))), parts, none)
  expect(Buffer.from(opened ?? []).toString('hex')).toBe('6bc1bee22e409f96e93d7e117393172a')
})

describe.each(names)('%s', (name) => {
  const cipher = cipherNamed(name)
  const algorithm = name.replace('-nopad', '')
  const padded = algorithm === name
  const length = Number(cipher.keyLengths)
  const block = algorithm.startsWith('des') ? 8 : /-(?:cbc|ecb)$/.test(algorithm) ? 16 : 1

  test('opens what OpenSSL sealed', () => {
    fc.assert(
      fc.property(fc.nat({ max: 100 }), (size) => {
        const key = randomBytes(length)
        const nonce = randomBytes(cipher.nonceLength)
        const plaintext = randomBytes(padded ? size : block * size)
        const sealing = createCipheriv(algorithm, key, nonce).setAutoPadding(padded)
        const ct = Buffer.concat([sealing.update(plaintext), sealing.final()])
        const parts = new Map([
          ['nonce', nonce],
          ['ct', ct],
        ])
        const opened = cipher.open(cipher.prepare(Secret.copy(key)), parts, none)
        expect(plaintext.equals(opened ?? randomBytes(300))).toBe(true)
      }),
      { numRuns: 30 },
    )
  })

  test('is never written, and refuses lengths that it can not have', () => {
    const key = cipher.prepare(Secret.take(randomBytes(length)))
    const nonce = randomBytes(cipher.nonceLength)
    const open = (ct: Uint8Array, iv: Uint8Array = nonce, aad = none): unknown =>
      cipher.open(key, new Map([['nonce', iv] as const, ['ct', ct] as const]), aad)
    expect(() => cipher.seal(key, none, new Map([['nonce', nonce]]), none)).toThrow(/writes nothing under it/)
    if (block > 1) expect(() => open(randomBytes(2 * block - 1))).toThrow(/takes no ciphertext of/)
    if (padded && block > 1) expect(() => open(none)).toThrow(/takes no ciphertext of 0 bytes/)
    if (nonce.length > 0) expect(() => open(randomBytes(32), nonce.subarray(1))).toThrow(/takes no nonce of/)
    expect(() => open(randomBytes(32), nonce, randomBytes(3))).toThrow(/no associated data/)
    expect(() => cipher.prepare(Secret.take(randomBytes(length + 1)))).toThrow(/takes/)
  })
})

test('wrong padding is a wrong key', () => {
  const cipher = cipherNamed('aes-256-cbc')
  let refused = 0
  for (let run = 0; run < 60; run++) {
    const key = cipher.prepare(Secret.take(randomBytes(32)))
    const parts = new Map([
      ['nonce', randomBytes(16)],
      ['ct', randomBytes(64)],
    ])
    if (cipher.open(key, parts, none) === undefined) refused++
  }
  expect(refused).toBeGreaterThan(50)
})

test('an error of a legacy cipher names lengths and nothing else', () => {
  const cipher = cipherNamed('aes-256-cbc')
  const key = cipher.prepare(Secret.take(randomBytes(32)))
  try {
    cipher.open(key, new Map([['nonce', randomBytes(16)] as const, ['ct', randomBytes(17)] as const]), none)
    expect.unreachable()
  } catch (error) {
    expect(isKvxError(error, 'LAYOUT_MISMATCH') && error.message).toBe(
      'aes-256-cbc takes no ciphertext of 17 bytes',
    )
  }
})
