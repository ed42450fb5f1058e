import { expect, test } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { compileTemplate } from '../../../src/core/layout/template.ts'
import type { Value } from '../../../src/core/layout/values.ts'

const row: Readonly<Record<string, Value>> = {
  id: 42n,
  org: 'org-ü',
  blob: Uint8Array.of(1, 2),
  uuid: '5B0C0F8E-6f0e-4f4a-9a56-1c2d3e4f5a6b',
  uuidBytes: Uint8Array.from({ length: 16 }, (_, at) => at),
  real: 1.5,
  empty: null,
  digits: '7',
  lone: '\ud800',
  'a name': 'x',
}

function render(source: string): string {
  return Buffer.from(
    compileTemplate(source).render({
      cell: (name) => row[name] ?? null,
      newCell: (name) => (name === 'id' ? 43n : (row[name] ?? null)),
      part: (name) =>
        new Map<string, Uint8Array | bigint>([
          ['nonce', Uint8Array.of(9)],
          ['version', 3n],
        ]).get(name),
    }),
  ).toString('latin1')
}

function refused(source: string): string {
  try {
    return render(source)
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_MISMATCH')) return error.message
    throw error
  }
}

test.each([
  ['"a|" {id} "|" {org}', 'a|42|org-Ã¼'],
  ['{blob} {"a name"}', '\x01\x02x'],
  ["{id} {id'}", '4243'],
  ['lp16({org}) lp32("a" {id})', '\0\x06org-Ã¼\0\0\0\x03a42'],
  ['u8({id}) u16be({id}) u32be({id}) u64be({digits})', '\x2a\0\x2a\0\0\0\x2a\0\0\0\0\0\0\0\x07'],
  ['dec({id}) dec({digits})', '427'],
  [
    'hex(uuid({uuid})) uuid({uuidBytes})',
    '5b0c0f8e6f0e4f4a9a561c2d3e4f5a6b\0\x01\x02\x03\x04\x05\x06\x07\b\t\n\v\f\r\x0e\x0f',
  ],
  ['base64({blob}) hexupper(0xab) base64nopad({blob})', 'AQI=ABAQI'],
  ['utf8({org})', 'org-Ã¼'],
  ['nonce version u32be(version) u8(5)', '\x093\0\0\0\x03\x05'],
  [
    'json({"org": {org}, "id": {id}, "n": number({digits}), "s": "a" {id}, "o": {"t": true}})',
    '{"org":"org-Ã¼","id":42,"n":7,"s":"a42","o":{"t":true}}',
  ],
  ['""', ''],
])('renders %s', (source, expected) => {
  expect(render(source)).toBe(expected)
})

test('knows the columns that it needs, old and new apart', () => {
  const template = compileTemplate('{a} lp16({b} u8({c})) {a\'} json({"x": {d\'}}) nonce')
  expect([...template.columns]).toEqual(['a', 'b', 'c'])
  expect([...template.newColumns]).toEqual(['a', 'd'])
  expect([...template.partNames]).toEqual(['nonce'])
})

test.each([
  ['{empty}', 'column empty is null'],
  ['u8({empty})', 'column empty is null'],
  ['uuid({empty})', 'column empty is null'],
  ["{nothing'}", 'the new value of column nothing is null'],
  ['{real}', 'column real is a real number, whose text is written differently by every language'],
  ['u8({org})', 'column org is not an integer'],
  ['u8({real})', 'column real is not an integer'],
  ['dec({org})', 'column org is not an integer'],
  ['uuid({org})', 'column org is not a UUID'],
  ['uuid({id})', 'column id is not a UUID'],
  ['{lone}', "column lone is text that UTF-8 can't express"],
  ['json({"a": {blob}, "b": 0xff})', "the new bytes of 0xff are not UTF-8, so JSON can't hold them"],
  ['tag', 'part tag is not given'],
  ['nonce:12', 'part nonce has 1 bytes, nonce:12 takes 12'],
])('names what is missing or of another type: %s', (source, message) => {
  expect(refused(source)).toBe(message)
})

test('writes documents as Python does', () => {
  // json.dumps({'a': 'ü😀\x7f\n"', 'b': [1, {}], 'c,:': ',": '}, sort_keys=True)
  const template = compileTemplate(
    'jsonspaced(jsonascii(json({"a": {text}, "b": [1, {}], "c,:": ",\\": "})))',
  )
  const cell = (): string => 'ü😀\u007f\n"'
  expect(Buffer.from(template.render({ cell, newCell: cell })).toString()).toBe(
    '{"a": "\\u00fc\\ud83d\\ude00\\u007f\\n\\"", "b": [1, {}], "c,:": ",\\": "}',
  )
})
