import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isKvxError } from '../../src/core/errors.ts'
import {
  decodeKey,
  detectEncoding,
  encodeKey,
  keyEncodings,
  type KeyEncoding,
} from '../../src/core/key-encoding.ts'
import { Secret } from '../../src/core/secret.ts'
import { base64Text, fault, hexText, imports, key, urlText } from './key-samples.ts'

describe('encoding and decoding', () => {
  const random = fc.uint8Array({ minLength: 16, maxLength: 1024 })

  test('give back the same key', () => {
    fc.assert(
      fc.property(random, fc.constantFrom(...keyEncodings), (bytes, encoding) => {
        const material = Secret.copy(encoding === 'ascii' ? bytes.map((code) => 0x21 + (code % 94)) : bytes)
        const text = encodeKey(material, encoding)
        const back = decodeKey(text, encoding, { expectLength: imports })
        expect(back.material.equals(material)).toBe(true)
        expect(back.warnings).toEqual([])
      }),
      { numRuns: 500 },
    )
  })

  test('write what Node writes', () => {
    fc.assert(
      fc.property(random, fc.constantFrom('hex', 'base64', 'base64url'), (bytes, encoding) => {
        expect(Buffer.from(encodeKey(Secret.copy(bytes), encoding)).toString()).toBe(
          Buffer.from(bytes).toString(encoding),
        )
      }),
    )
  })

  test('accept one spelling: a text that is accepted is written again as it was', () => {
    const digits = fc.constantFrom(...'ABCDEFabcdef0123456789+/-_= \n!'.split(''))
    const texts = fc.oneof(
      fc.array(digits, { minLength: 20, maxLength: 100 }).map((some) => some.join('')),
      fc
        .tuple(random, fc.constantFrom('base64', 'base64url', 'hex'), fc.nat(), digits)
        .map(([bytes, encoding, place, digit]) => {
          const text = Buffer.from(bytes).toString(encoding)
          return text.slice(0, place % text.length) + digit + text.slice((place % text.length) + 1)
        }),
    )
    fc.assert(
      fc.property(texts, fc.constantFrom('base64', 'base64url', 'hex'), (text, encoding) => {
        let back
        try {
          back = decodeKey(Buffer.from(text), encoding, { expectLength: { min: 1, max: 2000 } })
        } catch (error) {
          expect(isKvxError(error, 'KEY_MALFORMED')).toBe(true)
          return
        }
        if (back.warnings.length > 0) return
        const again = Buffer.from(encodeKey(back.material, encoding)).toString()
        expect(again).toBe((encoding === 'hex' ? text.toLowerCase() : text).replace(/\n$/, ''))
      }),
      { numRuns: 3000 },
    )
  })

  test('answer random bytes with a key or an error of the catalogue', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 80 }),
        fc.constantFrom(...keyEncodings, 'detect' as const),
        (bytes, encoding) => {
          fault(bytes, encoding, { expectLength: { min: 1, max: 100 } })
        },
      ),
      { numRuns: 2000 },
    )
  })

  test('refuse to write bytes that are not printable as ascii', () => {
    expect(() => encodeKey(Secret.copy(key), 'ascii')).toThrow('character 1 of the key is not ASCII')
  })
})

describe('detecting the encoding', () => {
  test.each<readonly [KeyEncoding, string | Uint8Array]>([
    ['raw', key],
    ['hex', `${hexText}\n`],
    ['hex', hexText.toUpperCase()],
    ['base64', base64Text],
    ['base64', `${Buffer.alloc(32, 1).toString('base64')}\r\n`],
    ['base64url', urlText],
  ])('answers %s', (encoding, bytes) => {
    expect(detectEncoding(Buffer.from(bytes))).toBe(encoding)
  })

  test.each<readonly [string, string | Uint8Array, string]>([
    ['nothing', '', 'INPUT_EMPTY'],
    ['31 raw bytes', key.subarray(1), 'length'],
    ['63 hex digits', hexText.slice(1), 'odd-digits'],
    ['hex with a g', `g${hexText.slice(1)}`, 'character'],
    ['hex with 0x', `0x${hexText}`, 'prefix'],
    ['hex with colons', hexText.replaceAll(/(..)(?!$)/g, '$1:'), 'separators'],
    ['a foreign character', `${base64Text.slice(0, 10)}!${base64Text.slice(11)}`, 'character'],
    ['base64 twice', Buffer.from(base64Text).toString('base64'), 'encoded-twice'],
    ['a passphrase', 'correct horse battery staple 42!', 'passphrase'],
    ['a byte order mark', `\ufeff${base64Text}`, 'byte-order-mark'],
    ['two keys', `${hexText}\n${hexText}\n`, 'two-keys'],
    ['a comment', '# put the key here\n', 'comment'],
    ['an SSH key', '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n', 'ssh-key'],
    ['JSON', '{"kty":"oct","k":"AAAA"}', 'jwk'],
    ['a leading space', ` ${base64Text}`, 'leading-space'],
  ])('explains what is wrong: %s', (_, bytes, kind) => {
    expect(fault(bytes, 'detect')[0]).toBe(kind)
  })
})

test('never takes hex with a mistake for a key in base64', () => {
  for (const text of [hexText.slice(1), `g${hexText.slice(1)}`, `0x${hexText}`, hexText.slice(2)]) {
    if (text.length === 62) expect(detectEncoding(Buffer.from(text), { expectLength: imports })).toBe('hex')
    else expect(fault(text, 'detect', { expectLength: imports })[0]).toMatch(/odd-digits|character|prefix/)
  }
})
