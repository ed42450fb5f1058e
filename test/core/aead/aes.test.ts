import { createCipheriv } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Aes } from '../../../src/core/aead/aes.ts'

const hex = (text: string): Buffer => Buffer.from(text, 'hex')

describe('AES', () => {
  // FIPS 197, appendix C.
  test.each([
    ['000102030405060708090a0b0c0d0e0f', '69c4e0d86a7b0430d8cdb78070b4c55a'],
    ['000102030405060708090a0b0c0d0e0f1011121314151617', 'dda97ca4864cdfe06eaf70a0ec0d7191'],
    ['000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', '8ea2b7ca516745bfeafc49904b496089'],
  ])('gives the answer of the standard for the key %s', (key, expected) => {
    const aes = new Aes()
    const block = hex('00112233445566778899aabbccddeeff')
    aes.take(hex(key))
    aes.encrypt(block)
    expect(block.toString('hex')).toBe(expected)
  })

  test('encrypts every block to the bytes of node:crypto, one key after the other', () => {
    const aes = new Aes()
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
    fc.assert(
      fc.property(
        fc.constantFrom(16, 24, 32).chain(bytes),
        fc.array(bytes(16), { minLength: 1, maxLength: 4 }),
        (key, blocks) => {
          const cipher = createCipheriv(`aes-${key.length * 8}-ecb`, key, null).setAutoPadding(false)
          const expected = blocks.map((block) => cipher.update(block).toString('hex'))
          aes.take(key)
          for (const block of blocks) aes.encrypt(block)
          expect(blocks.map((block) => Buffer.from(block).toString('hex'))).toEqual(expected)
          aes.wipe()
        },
      ),
    )
  })

  test('after it was wiped nothing of the key is in what it makes', () => {
    const aes = new Aes()
    const made = [hex('11'.repeat(32)), hex('22'.repeat(32))].map((key) => {
      aes.take(key)
      aes.wipe()
      const block = Buffer.alloc(16)
      aes.encrypt(block)
      return block.toString('hex')
    })
    expect(made[0]).toBe(made[1])
  })
})
