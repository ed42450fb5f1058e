import { describe, expect, test } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { compileLayout } from '../../../src/core/layout/layout.ts'
import type { Parts } from '../../../src/core/layout/values.ts'

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))
const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))

/** What the operator reads when a value does not match. */
function mismatch(source: string, value: Uint8Array): string {
  try {
    compileLayout(source).parse(value)
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_MISMATCH')) return error.message
    throw error
  }
  return 'accepted'
}

function rendered(source: string, parts: Parts): string {
  return Buffer.from(compileLayout(source).render(parts)).toString('latin1')
}

describe('a layout', () => {
  test('finds parts before and behind the one without a length', () => {
    const parts = compileLayout('nonce:2 ct tag:3').parse(hex('0102aabbccdd030405'))
    expect(parts).toEqual(
      new Map([
        ['nonce', hex('0102')],
        ['ct', hex('aabbccdd')],
        ['tag', hex('030405')],
      ]),
    )
  })

  test('accepts an empty ciphertext', () => {
    expect(compileLayout('nonce:2 ct tag:2').parse(hex('01020304')).get('ct')).toEqual(hex(''))
    expect(compileLayout('hex(nonce:1) ":" hex(ct) ":" hex(tag:1)').parse(bytes('01::02')).get('ct')).toEqual(
      hex(''),
    )
  })

  test('knows its parts and its length', () => {
    const layout = compileLayout('0x01 dek.nonce:12 skip:4 base64(nonce:12) u32be(version)')
    expect([...layout.partNames]).toEqual(['dek.nonce', 'nonce', 'version'])
    expect(layout.fixedLength).toBe(1 + 12 + 4 + 16 + 4)
    expect(compileLayout('nonce:12 ct').fixedLength).toBeUndefined()
  })

  test('reads numbers as integers and writes them again', () => {
    const source = 'u8(version) u16be(keyid) u32be(dek.version) u64be(dek.keyid) "v" dec(salt)'
    const value = Buffer.concat([hex('ff0102deadbeefffffffffffffffff'), bytes('v18446744073709551615')])
    const parts = compileLayout(source).parse(value)
    expect([...parts.values()]).toEqual([255n, 258n, 0xdeadbeefn, 2n ** 64n - 1n, 2n ** 64n - 1n])
    expect(rendered(source, parts)).toBe(value.toString('latin1'))
  })

  test('reads what a length prefix says', () => {
    const source = 'lp16(keyid) lp32(nonce:2) ct'
    const parts = compileLayout(source).parse(hex('00036b657900000002010299'))
    expect(parts.get('keyid')).toEqual(bytes('key'))
    expect(parts.get('ct')).toEqual(hex('99'))
  })

  test('reads the bytes of a UUID as its text', () => {
    const parts = compileLayout('uuid(keyid) ct').parse(hex('5b0c0f8e6f0e4f4a9a561c2d3e4f5a6b00'))
    expect(parts.get('keyid')).toEqual(bytes('5b0c0f8e-6f0e-4f4a-9a56-1c2d3e4f5a6b'))
  })

  test('ends a text where the whole delimiter first occurs', () => {
    const parts = compileLayout('utf8(keyid) "::" ct').parse(bytes('a:b::c::d'))
    expect(parts.get('keyid')).toEqual(bytes('a:b'))
    expect(parts.get('ct')).toEqual(bytes('c::d'))
  })

  test('keeps the bytes of skip, and everything that is not replaced', () => {
    const layout = compileLayout('skip:2 nonce:2 "-" skip')
    const parts = layout.parse(bytes('abNN-rest'))
    expect(layout.render(new Map([...parts, ['nonce', bytes('XY')]]))).toEqual(bytes('abXY-rest'))
  })

  test('copies nothing that lies in the value as it is, so that nothing else is to be wiped', () => {
    const value = bytes('ab6364')
    const parts = compileLayout('nonce:2 hex(ct)').parse(value)
    value.fill(0)
    expect(parts.get('nonce')).toEqual(bytes('\0\0'))
    expect(parts.get('ct')).toEqual(bytes('cd'))
  })

  test('takes escapes and hex in literals', () => {
    expect(rendered('"a\\n\\r\\t\\"\\\\\\xff" 0x00Ff ct', new Map([['ct', hex('')]]))).toBe(
      'a\n\r\t"\\\xff\x00\xff',
    )
    expect(rendered('"ü" ct', new Map([['ct', hex('')]]))).toBe('Ã¼')
  })
})

describe('a value that does not match', () => {
  test.each([
    ['"v1:" ct', 'v2:abc', 'the value does not match "v1:" at offset 0: other bytes stand there'],
    ['"v1:" ct', 'v1', 'the value does not match "v1:" at offset 0: the value ends too early'],
    [
      'nonce:12 ct tag:16',
      'short',
      'the value does not match nonce:12 at offset 0: the value ends too early',
    ],
    ['nonce:2 ct tag:2', 'abc', 'the value does not match tag:2 at offset 2: the value ends too early'],
    [
      'nonce:2 tag:2',
      'abcde',
      'the value does not match nonce:2 tag:2 at offset 0: 5 bytes stand there, 4 are described',
    ],
    [
      'hex(nonce:2) ":" hex(ct)',
      '00fF:00',
      'the value does not match hex(nonce:2) at offset 3: this byte is none of the lower-case hex digits',
    ],
    [
      'hex(nonce:2) ":" hex(ct)',
      '00ff:000',
      'the value does not match hex(ct) at offset 8: the number of characters is not possible for lower-case hex digits',
    ],
    [
      'hex(nonce) ":" hex(ct)',
      '00ff00',
      'the value does not match ":" at offset 6: the value ends too early',
    ],
    [
      'hex(nonce) ":" hex(ct)',
      '00ff;00',
      'the value does not match ":" at offset 4: other bytes stand there',
    ],
    [
      'base64(ct)',
      'AAB=',
      'the value does not match base64(ct) at offset 2: the last character has bits that no encoder writes in base64 digits with + and /, padded with =',
    ],
    [
      'base64(ct)',
      'AAA',
      'the value does not match base64(ct) at offset 3: the padding is not that of base64 digits with + and /, padded with =',
    ],
    [
      'base64(ct)',
      'AA==AAAA',
      'the value does not match base64(ct) at offset 2: the padding is not that of base64 digits with + and /, padded with =',
    ],
    [
      'base64(ct)',
      'AA_A',
      'the value does not match base64(ct) at offset 2: this byte is none of the base64 digits with + and /, padded with =',
    ],
    [
      'base64url(ct)',
      'AA==',
      'the value does not match base64url(ct) at offset 2: the padding is not that of base64 digits with - and _, without =',
    ],
    [
      'nonce:1 base64("x" ct)',
      'nAAAA',
      'the value does not match "x" at byte 0 of what base64("x" ct) at offset 1 decodes to: other bytes stand there',
    ],
    [
      '"v:" base64(hex(ct))',
      'v:MDBx',
      'the value does not match hex(ct) at byte 2 of what base64(hex(ct)) at offset 2 decodes to: this byte is none of the lower-case hex digits',
    ],
    [
      'dec(version) ":" ct',
      '01:x',
      'the value does not match dec(version) at offset 0: this is no decimal number below 2^64 without leading zeros',
    ],
    [
      'dec(version) ":" ct',
      ':x',
      'the value does not match dec(version) at offset 0: something else stands there',
    ],
    [
      'dec(version)',
      '18446744073709551616',
      'the value does not match dec(version) at offset 0: this is no decimal number below 2^64 without leading zeros',
    ],
    [
      'lp16(nonce:2) ct',
      '\0\x03ab',
      'the value does not match lp16(nonce:2) at offset 0: the length prefix does not say 2',
    ],
    [
      'lp16(keyid) ct',
      '\0\x05ab',
      'the value does not match lp16(keyid) at offset 0: the value ends too early',
    ],
    ['lp16(keyid) ct', '\0', 'the value does not match lp16(keyid) at offset 0: the value ends too early'],
    [
      'lp16(keyid)',
      '\0\x01ab',
      'the value does not match lp16(keyid) at offset 3: 1 byte more than is described',
    ],
    ['u8(5) ct', '\x06', 'the value does not match u8(5) at offset 0: other bytes stand there'],
  ])('names the place and the offset: %s', (source, value, message) => {
    expect(mismatch(source, bytes(value))).toBe(message)
  })

  test('refuses integers and lengths of variable width that are longer than they need be', () => {
    expect(mismatch('lpv(keyid) ct', hex('81006b'))).toBe(
      'the value does not match lpv(keyid) at offset 0: the length prefix is not in its shortest spelling',
    )
    expect(mismatch('lpv(keyid) ct', hex('808080'))).toContain('the value ends too early')
    expect(mismatch('uvarint(version) ct', hex('8100'))).toBe(
      'the value does not match uvarint(version) at offset 0: this is no integer below 2^64 in its shortest spelling',
    )
    expect(mismatch('uvarint(version) ct', hex('ffffffffffffffffff02'))).toContain('the value ends too early')
    expect(mismatch('uvarint(version)', hex('ffffffffffffffffff01'))).toBe('accepted')
    expect(mismatch('uvarint(version)', hex('80'))).toContain('the value ends too early')
  })

  test('refuses text that is not UTF-8', () => {
    expect(mismatch('utf8(keyid) ":" ct', hex('ff3a00'))).toBe(
      'the value does not match utf8(keyid) at offset 0: these bytes are not UTF-8',
    )
  })

  test('says the same for programs', () => {
    try {
      compileLayout('"v:" base64(nonce:12)').parse(bytes('v:AAAA*AAAAAAAAAAA'))
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({
        code: 'LAYOUT_MISMATCH',
        details: { place: 'base64(nonce:12)', offset: 6 },
      })
    }
  })
})

function refused(source: string, parts: Parts): string {
  try {
    compileLayout(source).render(parts)
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_MISMATCH')) return error.message
    throw error
  }
  return 'accepted'
}

describe('rendering', () => {
  test.each<readonly [string, readonly (readonly [string, Uint8Array | bigint])[], string]>([
    ['nonce:12 ct', [['ct', hex('')]], 'part nonce is not given'],
    [
      'nonce:2 ct',
      [
        ['nonce', hex('01')],
        ['ct', hex('')],
      ],
      'part nonce has 1 bytes, nonce:2 takes 2',
    ],
    [
      'skip:2 ct',
      [['ct', hex('')]],
      'the bytes of skip:2 are not known: take them from a value that was parsed',
    ],
    ['version ":"', [['version', 3n]], 'part version is a number, not bytes'],
    ['u8(version)', [['version', 256n]], 'part version is too large for the 1 byte of u8(version)'],
    ['u8(version)', [['version', -1n]], "part version is negative, u8(version) can't say that"],
    ['u8(version)', [['version', hex('01')]], 'part version is not an integer'],
    ['dec(version)', [['version', 2n ** 64n]], 'part version is 2^64 or more'],
    [
      'utf8(keyid) ":" ct',
      [
        ['keyid', bytes('a:b')],
        ['ct', hex('')],
      ],
      'the new bytes of utf8(keyid) contain the delimiter that follows it',
    ],
    [
      'utf8(keyid) "::" ct',
      [
        ['keyid', bytes('a:')],
        ['ct', hex('')],
      ],
      'the new bytes of utf8(keyid) contain the delimiter that follows it',
    ],
    [
      'utf8(keyid) ":" ct',
      [
        ['keyid', hex('ff')],
        ['ct', hex('')],
      ],
      'the new bytes of utf8(keyid) are not UTF-8',
    ],
    ['lp16(ct)', [['ct', new Uint8Array(65_536)]], "lp16(ct) can't hold 65536 bytes"],
    ['uuid(keyid)', [['keyid', bytes('no uuid')]], 'part keyid is not a UUID'],
  ])('refuses what could not be read back: %s', (source, parts, message) => {
    expect(refused(source, new Map(parts))).toBe(message)
  })
})
