import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { compileEach } from '../../../src/core/layout/json-each.ts'

const bytes = (text: string): Buffer => Buffer.from(text)

function paths(pattern: string, document: string): readonly (readonly [string, string, string])[] {
  return compileEach(pattern)
    .split(bytes(document))
    .map(({ path, bytes, kind }) => [path, Buffer.from(bytes).toString(), kind] as const)
}

function joined(pattern: string, document: string, changes: Readonly<Record<string, string>>): string {
  const replacements = new Map(Object.entries(changes).map(([path, text]) => [path, bytes(text)]))
  return Buffer.from(compileEach(pattern).join(bytes(document), replacements)).toString()
}

function fault(make: () => unknown, code: 'CONFIG_INVALID' | 'LAYOUT_MISMATCH'): string {
  try {
    make()
  } catch (error) {
    if (isKvxError(error, code)) return error.message
    throw error
  }
  return 'accepted'
}

const variables = `{ "API_URL": {"type": "plain", "value": "https://a"},
  "DATABASE_URL": {"value": "bYkY\\/Q==", "type": "secret"}, "COUNT": {"value": 3}, "NONE": null }`

describe('a pattern', () => {
  test('reaches each member, or each element', () => {
    expect(paths('*', '{"a":"x","b":["y"],"c":null}')).toEqual([
      ['a', 'x', 'string'],
      ['b', '["y"]', 'other'],
      ['c', 'null', 'other'],
    ])
    expect(paths('*.value', variables)).toEqual([
      ['API_URL.value', 'https://a', 'string'],
      ['DATABASE_URL.value', 'bYkY/Q==', 'string'],
      ['COUNT.value', '3', 'other'],
    ])
    expect(paths('items.*', '{"items":["a","ü"],"other":["b"]}')).toEqual([
      ['items.0', 'a', 'string'],
      ['items.1', 'ü', 'string'],
    ])
    expect(paths('/items/*/secret', '{"items":[{"secret":"a"},{},{"secret":"b"}]}')).toEqual([
      ['/items/0/secret', 'a', 'string'],
      ['/items/2/secret', 'b', 'string'],
    ])
    expect(paths('*.*', '[[1,2],[3]]').map(([path]) => path)).toEqual(['0.0', '0.1', '1.0'])
  })

  test('never gives two places the same path', () => {
    expect(paths('*.*', '{"a.b":{"c":"1"},"a":{"b.c":"2"},"\\\\":{"":"3"}}').map(([path]) => path)).toEqual([
      'a\\.b.c',
      'a.b\\.c',
      '\\\\.',
    ])
    expect(paths('/*/*', '{"a/b":{"~":"1"}}').map(([path]) => path)).toEqual(['/a~1b/~0'])
    expect(paths('/a~1b/*', '{"a/b":{"x":"1"}}')).toEqual([['/a~1b/x', '1', 'string']])
  })

  test('reaches nothing where the document is of another shape', () => {
    for (const document of ['{}', '[]', '"text"', '3', '{"items":"x"}', '{"items":{}}']) {
      expect(paths('items.*', document)).toEqual([])
      expect(joined('items.*', document, {})).toBe(document)
    }
  })

  test('that can not be meant is refused', () => {
    expect(fault(() => compileEach('a.b'), 'CONFIG_INVALID')).toBe(
      'the pattern of each has no *, so it reaches one value only',
    )
    expect(fault(() => compileEach('a..*'), 'CONFIG_INVALID')).toBe('the pattern of each has an empty name')
    expect(fault(() => compileEach(''), 'CONFIG_INVALID')).toBe('the pattern of each has an empty name')
    expect(fault(() => compileEach('*.'.repeat(70) + '*'), 'CONFIG_INVALID')).toContain('more than 64 names')
  })
})

describe('new values', () => {
  test('take the place of the old ones, and every other byte stays', () => {
    expect(joined('*.value', variables, { 'DATABASE_URL.value': 'new/Q==' })).toBe(
      variables.replace('"bYkY\\/Q=="', '"new\\/Q=="'),
    )
    expect(joined('*.value', variables, { 'COUNT.value': '{"v": 4}', 'API_URL.value': 'a"b' })).toBe(
      variables.replace('3', '{"v": 4}').replace('"https://a"', '"a\\"b"'),
    )
    expect(joined('*.value', variables, { 'DATABASE_URL.value': 'bYkY/Q==' })).toBe(variables)
  })

  test('that have no place, or can not stand in it, are refused', () => {
    const refused = (changes: Readonly<Record<string, string>>): string =>
      fault(() => joined('*.value', variables, changes), 'LAYOUT_MISMATCH')
    expect(refused({ 'MISSING.value': 'x' })).toBe('the document has no place for 1 of the new values')
    expect(refused({ 'COUNT.value': '3 4' })).toContain('bytes follow the document')
    expect(
      fault(
        () => compileEach('*').join(bytes('{"a":"x"}'), new Map([['a', Uint8Array.of(0xff)]])),
        'LAYOUT_MISMATCH',
      ),
    ).toContain('are not UTF-8')
  })

  test('of any document come back by the same paths', () => {
    const name = fc.stringMatching(/^[a-z.~/\\*]{0,3}$/)
    const text = fc.string({ unit: 'grapheme', maxLength: 12 })
    const documents = fc.dictionary(name, fc.dictionary(name, text, { maxKeys: 4 }), { maxKeys: 4 })
    fc.assert(
      fc.property(
        documents,
        fc.constantFrom('*.*', '/*/*'),
        fc.constantFrom(0, 1, 3),
        (value, pattern, space) => {
          const document = bytes(JSON.stringify(value, null, space))
          const each = compileEach(pattern)
          const places = each.split(document)
          expect(new Set(places.map(({ path }) => path)).size).toBe(places.length)
          const same = each.join(document, new Map(places.map(({ path, bytes }) => [path, bytes])))
          expect(Buffer.from(same).equals(document)).toBe(true)
          const fresh = new Map(places.map(({ path }, at) => [path, bytes(`new ${at}`)]))
          const changed = each.join(document, fresh)
          const again = each.split(changed)
          expect(again.map(({ path, bytes }) => [path, Buffer.from(bytes).toString()])).toEqual(
            places.map(({ path }, at) => [path, `new ${at}`]),
          )
        },
      ),
    )
  })
})

test('a document that nobody can read for certain is refused by its offset', () => {
  const refused = (document: string): string => fault(() => paths('*', document), 'LAYOUT_MISMATCH')
  expect(refused('{"a":"1","a":"2"}')).toBe(
    'the value is not the JSON that its pattern needs, at offset 9: a member occurs twice',
  )
  expect(refused('{"a":"1"} x')).toContain('bytes follow the document')
  // A text that was cut in the middle of a character is no sealed value, and no reason to pass over the others.
  expect(refused('{"a":"\\ud800"}')).toBe('accepted')
  expect(refused(`{"a":${'['.repeat(80)}${']'.repeat(80)}}`)).toContain('more than 64 levels deep')
  expect(fault(() => compileEach('*').split(Uint8Array.of(0x22, 0xff, 0x22)), 'LAYOUT_MISMATCH')).toContain(
    'UTF-8',
  )
})

test('a large document is taken apart and put together in one pass', () => {
  const count = 20_000
  const document = bytes(
    JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, 'a']))),
  )
  const each = compileEach('*')
  const places = each.split(document)
  expect(places.length).toBe(count)
  const joined = each.join(document, new Map(places.map(({ path }) => [path, bytes('b')])))
  expect(joined.length).toBe(document.length)
})
