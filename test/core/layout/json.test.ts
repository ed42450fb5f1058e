import { describe, expect, test } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { compileLayout } from '../../../src/core/layout/layout.ts'

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))
const text = (value: Uint8Array): string => Buffer.from(value).toString()

function mismatch(source: string, value: string | Uint8Array): string {
  try {
    compileLayout(source).parse(typeof value === 'string' ? bytes(value) : value)
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_MISMATCH')) return error.message
    throw error
  }
  return 'accepted'
}

describe('json', () => {
  const layout = compileLayout(
    'json({"v": number(version), "h": {"iv": hex(nonce:2), ...}, "p": base64(ct), ...})',
  )
  const document =
    '\ufeff{ "p" : "AAEC",\n\t"x": [1.50, {"deep": null}], "h":{"k":"\\u00e9","iv":"0a0b"}, "v":3 }\n'.slice(
      1,
    )

  test('finds the parts in members of any order', () => {
    const parts = layout.parse(bytes(document))
    expect(parts.get('ct')).toEqual(Uint8Array.of(0, 1, 2))
    expect(parts.get('nonce')).toEqual(Uint8Array.of(10, 11))
    expect(parts.get('version')).toBe(3n)
  })

  test('changes the members that hold parts and no other byte', () => {
    const parts = layout.parse(bytes(document))
    expect(text(layout.render(parts))).toBe(document)
    const changed = new Map([...parts, ['ct', Uint8Array.of(255)], ['version', 14n]] as const)
    expect(text(layout.render(changed))).toBe(document.replace('AAEC', '/w==').replace('"v":3 ', '"v":14 '))
  })

  test('writes a new document where there was none', () => {
    const parts = new Map<string, Uint8Array | bigint>([
      ['version', 1n],
      ['nonce', Uint8Array.of(1, 2)],
      ['ct', Uint8Array.of(3)],
    ])
    expect(text(layout.render(parts))).toBe('{"v":1,"h":{"iv":"0102"},"p":"Aw=="}')
  })

  test('keeps escapes that need not be, and uses them for new text', () => {
    const slashes = compileLayout('json({"ct": base64(ct)})')
    const parts = slashes.parse(bytes('{"ct":"\\/\\u002B\\/\\u002b"}'))
    expect(parts.get('ct')).toEqual(Uint8Array.from(Buffer.from('/+/+', 'base64')))
    expect(text(slashes.render(parts))).toBe('{"ct":"\\/\\u002B\\/\\u002b"}')
    const changed = new Map([...parts, ['ct', Uint8Array.from(Buffer.from('/+AA', 'base64'))]] as const)
    expect(text(slashes.render(changed))).toBe('{"ct":"\\/\\u002bAA"}')
  })

  test('requires constants to be what they are', () => {
    const constants = 'json({"a": 1, "b": true, "c": null, "d": "", "e": "x", "f": number(7)})'
    expect(mismatch(constants, '{"a":1,"b":true,"c":null,"d":"","e":"x","f":7}')).toBe('accepted')
    expect(mismatch(constants, '{"a":1.0,"b":true,"c":null,"d":"","e":"x","f":7}')).toBe(
      'the value does not match 1 at offset 5: another value stands there',
    )
    expect(mismatch(constants, '{"a":1,"b":true,"c":null,"d":"","e":"y","f":7}')).toBe(
      'the value does not match "x" at offset 37: other bytes stand there',
    )
  })

  test.each([
    [
      '{"a":"00"',
      'the value does not match json({"a": hex(ct)}) at offset 9: a comma or the closing bracket is missing',
    ],
    [
      '{"a":"00",}',
      'the value does not match json({"a": hex(ct)}) at offset 10: a member does not begin with a quote',
    ],
    ['{"a":"00"}{}', 'the value does not match json({"a": hex(ct)}) at offset 10: bytes follow the document'],
    [
      '{"a":"00","a":"00"}',
      'the value does not match json({"a": hex(ct)}) at offset 10: a member occurs twice',
    ],
    [
      '{"a":"00","\\u0061":"00"}',
      'the value does not match json({"a": hex(ct)}) at offset 10: a member occurs twice',
    ],
    [
      '{"a":"00","b":"11"}',
      'the value does not match {"a": hex(ct)} at offset 14: a member is there that is not named (add ... to allow others)',
    ],
    ['{"b":"00"}', 'the value does not match {"a": hex(ct)} at offset 0: the member "a" is missing'],
    ['{"a":1}', 'the value does not match hex(ct) at offset 5: this is no string'],
    [
      '{"a":"0x"}',
      'the value does not match hex(ct) at offset 7: this byte is none of the lower-case hex digits',
    ],
    [
      '{"a":"\\u0030x"}',
      'the value does not match hex(ct) at byte 1 of what the string at offset 5 decodes to: this byte is none of the lower-case hex digits',
    ],
    [
      '{"a":"\\ud800"}',
      "the value does not match hex(ct) at offset 5: this string has characters that UTF-8 can't express",
    ],
    ['["00"]', 'the value does not match {"a": hex(ct)} at offset 0: this is no object'],
    ['', 'the value does not match json({"a": hex(ct)}) at offset 0: the value ends too early'],
    ['nonsense', 'the value does not match json({"a": hex(ct)}) at offset 0: this is not JSON'],
    [
      '{"a":"0\n0"}',
      'the value does not match json({"a": hex(ct)}) at offset 7: a string contains a control character',
    ],
    [
      '{"a":"\\x00"}',
      'the value does not match json({"a": hex(ct)}) at offset 7: a string contains an unknown escape',
    ],
    [
      '{"a":"\\u00g0"}',
      'the value does not match json({"a": hex(ct)}) at offset 10: an escape lacks hex digits',
    ],
    ['{"a":"00', 'the value does not match json({"a": hex(ct)}) at offset 5: a string has no end'],
    ['{"a" "00"}', 'the value does not match json({"a": hex(ct)}) at offset 5: a colon is missing'],
    ['{"a":01}', 'the value does not match json({"a": hex(ct)}) at offset 5: this is not JSON'],
    ['\ufeff{"a":"00"}', 'the value does not match json({"a": hex(ct)}) at offset 0: this is not JSON'],
  ])('refuses %s', (value, message) => {
    expect(mismatch('json({"a": hex(ct)})', value)).toBe(message)
  })

  test('refuses a duplicate member however deep, numbers that are no version, and what is not UTF-8', () => {
    expect(mismatch('json({"a": hex(ct), ...})', '{"a":"","b":[{"c":1,"c":2}]}')).toMatch(
      /a member occurs twice/,
    )
    for (const number of ['-1', '1.0', '1e3', '18446744073709551616', '"1"']) {
      expect(mismatch('json({"v": number(version)})', `{"v":${number}}`)).toMatch(
        /this is no number from 0 to 2\^64-1/,
      )
    }
    expect(mismatch('json({"a": hex(ct)})', Uint8Array.from(Buffer.from('{"a":"\xff"}', 'latin1')))).toMatch(
      /not UTF-8/,
    )
  })

  test('refuses a document that is nested without end', () => {
    expect(mismatch('json({"a": hex(ct), ...})', '['.repeat(100_000))).toMatch(/more than 64 levels deep/)
  })

  test('takes a big document in time that grows with its size', () => {
    const members = Array.from({ length: 20_000 }, (_, at) => `"m${at}":"${'x'.repeat(50)}"`).join(',')
    const big = compileLayout('json({"a": hex(ct), ...})')
    const value = bytes(`{${members},"a":"00"}`)
    const start = performance.now()
    expect(big.render(big.parse(value))).toEqual(value)
    expect(performance.now() - start).toBeLessThan(5000)
  })
})

describe('an array', () => {
  const layout = compileLayout(
    'json({"v": [1, base64(nonce:2), {"ct": base64(ct)}, ...], "n": [number(version)]})',
  )
  const document = '{"v": [1, "AQI=" , {"ct":"AA=="}, null],"n":[ 3 ]}'

  test('holds parts by position, and every other byte stays', () => {
    const parts = layout.parse(bytes(document))
    expect(parts.get('nonce')).toEqual(Uint8Array.of(1, 2))
    expect(parts.get('version')).toBe(3n)
    expect(text(layout.render(parts))).toBe(document)
    const changed = new Map([...parts, ['ct', Uint8Array.of(255)], ['version', 4n]] as const)
    expect(text(layout.render(changed))).toBe(document.replace('AA==', '/w==').replace('[ 3 ]', '[ 4 ]'))
  })

  test('can be the document itself, and is written compact where there was none', () => {
    const compact = compileLayout('json(["v1", hex(nonce:1), hex(ct), []])')
    const parts = new Map([['nonce', Uint8Array.of(1)] as const, ['ct', Uint8Array.of(2)] as const])
    expect(text(compact.render(parts))).toBe('["v1","01","02",[]]')
    expect(text(compact.render(compact.parse(bytes(' ["v1" ,"01","02",[]]'))))).toBe(' ["v1" ,"01","02",[]]')
  })

  test('of another length or kind is refused', () => {
    expect(mismatch('json([hex(ct)])', '["00","01"]')).toBe(
      'the value does not match [hex(ct)] at offset 0: 2 elements stand there, 1 are described',
    )
    expect(mismatch('json([hex(ct), ...])', '[]')).toContain('0 elements stand there')
    expect(mismatch('json({"a": [hex(ct)]})', '{"a":{}}')).toContain('this is no array')
    expect(mismatch('json([hex(ct)])', '[1]')).toContain('this is no string')
  })
})

describe('a document in a string of another', () => {
  const layout = compileLayout('json({"data": json({"iv": hex(nonce:1), "ct": base64(ct), ...}), ...})')
  const document = '{"id":7,"data":"{\\"iv\\": \\"0a\\", \\"ct\\":\\"AQID\\",\\"x\\":1}"}'

  test('changes inside and keeps every other byte', () => {
    const parts = layout.parse(bytes(document))
    expect(parts.get('nonce')).toEqual(Uint8Array.of(10))
    expect(text(layout.render(parts))).toBe(document)
    const changed = new Map([...parts, ['ct', Uint8Array.of(0)] as const])
    expect(text(layout.render(changed))).toBe(document.replace('AQID', 'AA=='))
  })
})

describe('a document before other bytes', () => {
  const layout = compileLayout('json({"kid": utf8(keyid), ...}) "\\n" nonce:2 ct')

  test('ends with its own bracket', () => {
    const value = Buffer.concat([bytes(' {"kid":"é}","x":[1]}\n'), Buffer.from('0102ff7d00ff', 'hex')])
    const parts = layout.parse(value)
    expect(parts.get('nonce')).toEqual(Uint8Array.of(1, 2))
    expect(parts.get('ct')).toEqual(Uint8Array.of(255, 125, 0, 255))
    expect(Buffer.from(layout.render(parts)).equals(value)).toBe(true)
    const source = 'json({"kid": utf8(keyid), ...}) "\\n" nonce:2 ct'
    for (const bad of ['{"kid":"x"', '{"kid":"x"}', '{"kid":"x"} \nabc', '', 'x\nabc', '{"\\ud800":1']) {
      expect(mismatch(source, bad)).toContain('the value does not match')
    }
  })
})
