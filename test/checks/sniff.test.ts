import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { entropyOf, sniff } from '../../src/checks/sniff.ts'

const none = { openPgp: () => undefined, vault: () => undefined }

function kindOf(bytes: Uint8Array | string, isWhole = true): string {
  return sniff(Buffer.from(bytes), isWhole, none).kind
}

describe('the entropy of bytes', () => {
  test('is 0 for one value, 1 for two, 8 for all of them', () => {
    expect(entropyOf(Buffer.alloc(50, 7))).toBe(0)
    expect(entropyOf(Buffer.from('abababab'))).toBe(1)
    expect(entropyOf(Buffer.from(Array.from({ length: 256 }, (_, at) => at)))).toBe(8)
  })
})

test('random bytes are never taken for a message, a database or a text', () => {
  const kinds = new Set(Array.from({ length: 3000 }, (_, at) => kindOf(randomBytes(33 + (at % 200)))))
  expect([...kinds]).toEqual(['binary'])
})

test('every random 32 bytes are a key', () => {
  const kinds = new Set(Array.from({ length: 2000 }, () => kindOf(randomBytes(32))))
  expect([...kinds]).toEqual(['key'])
})

test('sealed values of every length look sealed, repeated texts do not', () => {
  for (let size = 28; size < 300; size++) {
    if (size === 32) continue
    const { kind, facts } = sniff(Buffer.from(randomBytes(size).toString('base64')), true, none)
    expect([kind, facts['looksSealed'], facts['bytes']]).toEqual(['encoded-value', true, size])
    const text = Buffer.from('the same words again '.repeat(20).slice(0, size + 60)).toString('base64')
    expect(sniff(Buffer.from(text), true, none).facts['looksSealed']).toBe(false)
  }
})

test('the beginning of a large file is not taken for the whole', () => {
  expect(kindOf(randomBytes(32).toString('hex'), false)).toBe('text')
  expect(kindOf(`{"kty":"oct"}`, false)).toBe('text')
})

test('a message is told by the look that was handed in', () => {
  const found = sniff(Buffer.from('anything at all'), true, {
    ...none,
    openPgp: () => ({ kind: 'openpgp-message', facts: {} }),
  })
  expect(found.kind).toBe('openpgp-message')
})
