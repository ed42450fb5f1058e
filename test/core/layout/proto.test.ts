import { describe, expect, test } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { compileLayout } from '../../../src/core/layout/layout.ts'
import { compileTemplate } from '../../../src/core/layout/template.ts'

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const digits = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function mismatch(source: string, value: string): string {
  try {
    compileLayout(source).parse(hex(value))
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_MISMATCH')) return error.message
    throw error
  }
  return 'accepted'
}

function refusal(source: string): string {
  try {
    compileLayout(source)
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_INVALID')) return `${error.message}\n${error.hint}`
    throw error
  }
  return 'accepted'
}

describe('proto', () => {
  // 5: 300 · 1: "key" · 9: fixed32 · 3: { 2: 0a0b · 7: 1 · 3: c1c2c3 } · 12: fixed64
  const value = hex('28ac02 0a036b6579 4d01020304 1a0b 12020a0b 3801 1a03c1c2c3 61 0102030405060708')
  const layout = compileLayout(
    'proto({1: utf8(keyid), 3: {2: nonce:2, 3: ct, ...}, 5: varint(version), ...})',
  )

  test('finds the parts in fields of any order and depth', () => {
    const parts = layout.parse(value)
    expect(parts.get('keyid')).toEqual(hex('6b6579'))
    expect(parts.get('nonce')).toEqual(hex('0a0b'))
    expect(parts.get('ct')).toEqual(hex('c1c2c3'))
    expect(parts.get('version')).toBe(300n)
    expect(digits(layout.render(parts))).toBe(digits(value))
  })

  test('changes the fields that hold parts, their lengths, and no other byte', () => {
    const parts = new Map([
      ...layout.parse(value),
      ['ct', new Uint8Array(200).fill(7)],
      ['version', 1n],
    ] as const)
    expect(digits(layout.render(parts))).toBe(
      `2801 0a036b6579 4d01020304 1ad101 12020a0b 3801 1ac801 ${'07'.repeat(200)} 61 0102030405060708`.replaceAll(
        ' ',
        '',
      ),
    )
  })

  test('keeps spellings that are longer than they need be, unless their field changes', () => {
    const one = compileLayout('proto({1: utf8(keyid)})')
    const padded = hex('8a00 8300 6b6579')
    expect(digits(one.render(one.parse(padded)))).toBe(digits(padded))
    const changed = new Map([...one.parse(padded), ['keyid', hex('61')] as const])
    expect(digits(one.render(changed))).toBe('0a0161')
  })

  test('writes a new message in the order of the layout', () => {
    const parts = new Map<string, Uint8Array | bigint>([
      ['keyid', hex('6b')],
      ['nonce', hex('0102')],
      ['ct', hex('')],
      ['version', 128n],
    ])
    expect(digits(layout.render(parts))).toBe('0a016b 1a06 12020102 1a00 288001'.replaceAll(' ', ''))
    const template = compileTemplate('proto({1: {org}, 2: varint({id}), 3: 7})')
    const cell = (name: string): string | bigint => (name === 'org' ? 'acme' : 300n)
    expect(digits(template.render({ cell, newCell: cell }))).toBe('0a0461636d6510ac021807')
  })

  test('requires numbers to be what they are', () => {
    expect(mismatch('proto({1: 7, 2: varint(8)})', '0807 1008')).toBe('accepted')
    expect(mismatch('proto({1: 7})', '0808')).toBe(
      'the value does not match 7 at offset 1: another number stands there',
    )
  })

  test.each([
    ['proto({1: ct})', '', 'field 1 is missing'],
    ['proto({1: ct})', '0a0161 0a0162', 'field 1 occurs more than once'],
    [
      'proto({1: ct})',
      '0a0161 1001',
      'at offset 3: field 2 is there and not named (add ... to allow others)',
    ],
    ['proto({1: ct, ...})', '0801', 'at offset 0: field 1 is no bytes'],
    ['proto({1: varint(version), ...})', '0a0161', 'at offset 0: field 1 is no integer'],
    ['proto({1: ct, ...})', '0a0561', 'at offset 0: this field of protobuf ends too early'],
    ['proto({1: ct, ...})', '0a0161 0b', 'at offset 3: this is no tag of protobuf'],
    ['proto({1: ct, ...})', '0a0161 00', 'at offset 3: this is no tag of protobuf'],
    ['proto({1: ct, ...})', '0a0161 10', 'at offset 4: this is no integer of protobuf'],
    ['proto({1: ct, ...})', '0a0161 10ffffffffffffffffffff01', 'at offset 4: this is no integer of protobuf'],
    ['proto({1: ct, ...})', '0a0161 3d000000', 'ends too early'],
    ['proto({1: {2: nonce:2}})', '0a03120101', 'at offset 4'],
    ['0xff proto({1: hex(ct)})', 'ff0a0161', 'the value does not match hex(ct) at offset 4'],
  ])('names the place and the offset: %s %s', (source, value, message) => {
    expect(mismatch(source, value)).toContain(message)
  })

  test('explains what a message can not be', () => {
    expect(refusal('proto({"a": ct})')).toMatchInlineSnapshot(`
      "layout, line 1, column 8: a field of protobuf begins with its number
        proto({"a": ct})
               ^
      write proto({1: nonce:12, 3: ct tag:16, ...})"
    `)
    expect(refusal('proto({0: ct})')).toMatchInlineSnapshot(`
      "layout, line 1, column 8: a field of protobuf begins with its number
        proto({0: ct})
               ^
      write proto({1: nonce:12, 3: ct tag:16, ...})"
    `)
    expect(refusal('proto({1: ct, 1: tag})')).toMatchInlineSnapshot(`
      "layout, line 1, column 15: this member stands here a second time
        proto({1: ct, 1: tag})
                      ^^^^^^
      an object has each member once"
    `)
    expect(refusal('proto(ct)')).toMatchInlineSnapshot(`
      "layout, line 1, column 7: proto takes the fields of one message
        proto(ct)
              ^^
      write proto({1: nonce:12, 3: ct tag:16, ...})"
    `)
    expect(refusal('varint(version) ct')).toMatchInlineSnapshot(`
      "layout, line 1, column 1: varint stands as a field of a message only
        varint(version) ct
        ^^^^^^^^^^^^^^^
      write proto({1: varint(version), ...}), or uvarint(version) elsewhere"
    `)
    expect(refusal('proto({1: number(version)})')).toMatchInlineSnapshot(`
      "layout, line 1, column 11: number stands as a member of an object only
        proto({1: number(version)})
                  ^^^^^^^^^^^^^^^
      write json({"member": number(version), ...})"
    `)
    expect(refusal('json({1: ct})')).toMatchInlineSnapshot(`
      "layout, line 1, column 7: a member begins with its name in quotes
        json({1: ct})
              ^
      write members as {"name": base64(ct), ...}"
    `)
    expect(refusal('proto({1: ct}) tag')).toMatchInlineSnapshot(`
      "layout, line 1, column 16: proto({1: ct}) and tag stand next to each other and neither has a length, so nobody can tell where proto({1: ct}) ends
        proto({1: ct}) tag
                       ^^^
      give one of them its length, e.g. tag:16, or put the delimiter that the value has behind proto({1: ct})"
    `)
    expect(refusal('proto({1: nonce ct})')).toMatchInlineSnapshot(`
      "layout, line 1, column 17: nonce and ct stand next to each other and neither has a length, so nobody can tell where nonce ends
        proto({1: nonce ct})
                        ^^
      give one of them its length, e.g. tag:16, or put the delimiter that the value has behind nonce"
    `)
  })
})
