import { createCipheriv, createSecretKey, randomBytes } from 'node:crypto'
import { ghash } from '@noble/ciphers/_polyval.js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { GcmBatch } from '../../../src/core/aead/gcm-batch.ts'
import { openShort } from '../../../src/core/aead/gcm-short.ts'
import type { GcmValue } from '../../../src/core/aead/gcm-value.ts'
import { Ghash } from '../../../src/core/aead/ghash.ts'

const bytes = (least: number, most: number) => fc.uint8Array({ minLength: least, maxLength: most })
const value = fc.record({ nonce: bytes(12, 12), ct: bytes(0, 512), aad: bytes(0, 512) })
const key = fc.constantFrom(16, 24, 32).chain((length) => bytes(length, length))

function sealedByNode(material: Uint8Array, { nonce, ct: plaintext, aad }: GcmValue) {
  const name = `aes-${material.length * 8}-gcm` as 'aes-256-gcm'
  const cipher = createCipheriv(name, createSecretKey(material), nonce, { authTagLength: 16 })
  cipher.setAAD(aad)
  const ct = Buffer.concat([cipher.update(plaintext), cipher.final()])
  return { ct: ct.toString('hex'), tag: cipher.getAuthTag().toString('hex') }
}

const hex = (text: string): Buffer => Buffer.from(text, 'hex')

describe('AES-GCM of many values at once', () => {
  test('gives the answer of test case 16 of the GCM specification', () => {
    const batch = new GcmBatch(createSecretKey(hex('feffe9928665731c6d6a8f9467308308'.repeat(2))))
    const plaintext = hex(
      'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39',
    )
    const aad = hex('feedfacedeadbeeffeedfacedeadbeefabaddad2')
    const [sealed] = batch.seal([{ nonce: hex('cafebabefacedbaddecaf888'), ct: plaintext, aad }])
    expect(Buffer.from(sealed?.ct ?? []).toString('hex')).toBe(
      '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662',
    )
    expect(Buffer.from(sealed?.tag ?? []).toString('hex')).toBe('76fc6ece0f4e1768cddf8853bb2d551b')
  })

  test('seals every value of a batch to the bytes of node:crypto, whatever the lengths', () => {
    fc.assert(
      fc.property(key, fc.array(value, { maxLength: 8 }), (material, values) => {
        const batch = new GcmBatch(createSecretKey(material))
        const sealed = batch.seal(values).map(({ ct, tag }) => ({
          ct: Buffer.from(ct).toString('hex'),
          tag: Buffer.from(tag).toString('hex'),
        }))
        expect(sealed).toEqual(values.map((one) => sealedByNode(material, one)))
      }),
      { numRuns: 400 },
    )
  })

  test('opens what node:crypto opens, and nothing where one bit of it or of the key is another', () => {
    const flipped = fc.constantFrom('ct', 'tag', 'nonce', 'aad', 'key', 'none')
    fc.assert(
      fc.property(key, fc.array(fc.tuple(value, flipped, fc.nat()), { maxLength: 6 }), (material, cases) => {
        const right = new GcmBatch(createSecretKey(material))
        const other = new GcmBatch(createSecretKey(flip(material, 5)))
        const sealed = right.seal(cases.map(([one]) => one))
        cases.forEach(([{ nonce, ct: plaintext, aad }, where, bit], at) => {
          const whole = { nonce, aad, ct: sealed[at]?.ct ?? nonce, tag: sealed[at]?.tag ?? nonce }
          const damaged =
            where === 'key' || where === 'none' ? whole : { ...whole, [where]: flip(whole[where], bit) }
          const [opened] = (where === 'key' ? other : right).open([damaged])
          const same = where === 'none' || (where !== 'key' && whole[where].length === 0)
          expect(opened && Buffer.from(opened)).toEqual(same ? Buffer.from(plaintext) : undefined)
        })
      }),
      { numRuns: 300 },
    )
  })

  test('a batch with one damaged value opens all others', () => {
    const material = randomBytes(32)
    const batch = new GcmBatch(createSecretKey(material))
    const values = Array.from({ length: 300 }, () => ({
      nonce: randomBytes(12),
      ct: randomBytes(32),
      aad: Buffer.alloc(0),
    }))
    const sealed = batch.seal(values).map((one, at) => ({
      ...(values[at] ?? { nonce: material, aad: material }),
      ct: one.ct,
      tag: at === 150 ? randomBytes(16) : one.tag,
    }))
    batch.open(sealed).forEach((opened, at) => {
      expect(opened && Buffer.from(opened)).toEqual(at === 150 ? undefined : values[at]?.ct)
    })
  })

  test('its GHASH is that of the audited implementation', () => {
    fc.assert(
      fc.property(bytes(16, 16), bytes(0, 200), (hashKey, message) => {
        const ours = new Ghash()
        ours.take(hashKey)
        ours.reset()
        ours.update(message)
        const view = Buffer.alloc(16)
        ours.state.forEach((word, at) => view.writeInt32BE(word, at * 4))
        expect(view.toString('hex')).toBe(Buffer.from(ghash(message, hashKey)).toString('hex'))
      }),
      { numRuns: 500 },
    )
  })
})

describe('AES-GCM of one short value under a key of its own', () => {
  test('opens what node:crypto sealed, and nothing where one bit of it or of the key is another', () => {
    const flipped = fc.constantFrom('ct', 'tag', 'nonce', 'aad', 'key', 'none')
    fc.assert(
      fc.property(key, value, flipped, fc.nat(), (material, { nonce, ct: plaintext, aad }, where, bit) => {
        const sealed = sealedByNode(material, { nonce, ct: plaintext, aad })
        const whole = { nonce, aad, ct: hex(sealed.ct), tag: hex(sealed.tag) }
        const used = where === 'key' ? flip(material, bit) : material
        const given =
          where === 'key' || where === 'none' ? whole : { ...whole, [where]: flip(whole[where], bit) }
        const opened = openShort(used, given, given.tag)
        const same = where === 'none' || (where !== 'key' && whole[where].length === 0)
        expect(opened && Buffer.from(opened)).toEqual(same ? Buffer.from(plaintext) : undefined)
      }),
      { numRuns: 2000 },
    )
  })

  test('leaves the key and the value as they were', () => {
    const material = randomBytes(32)
    const given = { nonce: randomBytes(12), ct: randomBytes(40), aad: randomBytes(9) }
    const sealed = sealedByNode(material, given)
    const before = [material, given.nonce, given.aad].map((each) => each.toString('hex'))
    openShort(material, { ...given, ct: hex(sealed.ct) }, hex(sealed.tag))
    expect([material, given.nonce, given.aad].map((each) => each.toString('hex'))).toEqual(before)
  })
})

/** The bytes with one bit turned; none where there are no bytes. */
function flip(original: Uint8Array, bit: number): Uint8Array {
  const copy = new Uint8Array(original)
  const at = bit % Math.max(1, copy.length * 8)
  if (copy.length > 0) copy[at >> 3] = (copy[at >> 3] ?? 0) ^ (1 << (at & 7))
  return copy
}
