import { randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { weaknessOf } from '../../src/core/key-strength.ts'
import { Secret } from '../../src/core/secret.ts'

const filled = (length: number, byteAt: (at: number) => number): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => byteAt(at))
const rule = (bytes: Uint8Array): string | undefined => weaknessOf(Secret.copy(bytes))?.rule

test.each([
  ['zeros', filled(32, () => 0), 'all-equal'],
  ['all 0xff', filled(32, () => 0xff), 'all-equal'],
  ['all 0x41, 16 bytes', filled(16, () => 0x41), 'all-equal'],
  ['00 to 1f', filled(32, (at) => at), 'counter'],
  ['1f to 00', filled(32, (at) => 31 - at), 'counter'],
  ['a counter that wraps', filled(32, (at) => 250 + at), 'counter'],
  ['steps of 17', filled(32, (at) => at * 17), 'counter'],
  ['two values', filled(32, (at) => ((at * at * 7) % 3 === 0 ? 0 : 0xff)), 'few-distinct'],
  ['deadbeef', filled(32, (at) => [0xde, 0xad, 0xbe, 0xef][at % 4] ?? 0), 'few-distinct'],
  ['a block of 16 twice', filled(32, (at) => ((at % 16) + 3) ** 3 % 251), 'repeated-pattern'],
  ['a block of 12, not whole at the end', filled(32, (at) => ((at % 12) + 3) ** 3 % 251), 'repeated-pattern'],
  ['a passphrase', Buffer.from('correct horse battery staple 42!'), 'printable'],
  ['hex as characters', Buffer.from('3f5a0c9b1e7d8246f0a1b2c3d4e5f607'), 'printable'],
])('finds %s', (_, bytes, expected) => {
  expect(rule(bytes)).toBe(expected)
})

test('says what is wrong without a byte of the key', () => {
  expect(weaknessOf(Secret.copy(filled(32, () => 0xab)))?.message).toBe(
    'all 32 bytes of the key are the same',
  )
  expect(weaknessOf(Secret.copy(filled(32, (at) => (at % 2) * 9)))?.message).toBe(
    'the 32 bytes of the key have 2 different values',
  )
})

test('finds nothing in random keys', () => {
  for (let run = 0; run < 20_000; run++) expect(rule(randomBytes(16 + (run % 48)))).toBeUndefined()
  expect(rule(randomBytes(1024))).toBeUndefined()
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void rule(bytes)))
})
