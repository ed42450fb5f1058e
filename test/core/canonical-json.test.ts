import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalJson } from '../../src/core/canonical-json.ts'
import { Secret } from '../../src/core/secret.ts'

const text = (value: unknown): string => canonicalJson(value).toString('utf8')

describe('canonicalJson', () => {
  test('sorts names by UTF-16 code units at every level', () => {
    // RFC 8785 §3.2.3: the names of its example, in its order
    const names = ['\r', '1', '\u0080', '\u00f6', '\u20ac', '\u{1f600}', '\ufb33']
    const object = Object.fromEntries(names.toReversed().map((name) => [name, 0]))
    expect(text(object)).toBe(`{${names.map((name) => `${JSON.stringify(name)}:0`).join(',')}}`)
    expect(text({ b: { d: 1, c: [{ z: 1, a: 2 }] }, a: null })).toBe(
      '{"a":null,"b":{"c":[{"a":2,"z":1}],"d":1}}',
    )
  })

  test('escapes strings as RFC 8785 does and leaves their normal form alone', () => {
    expect(text('\u20ac$\u000f\nA\'B"\\"/')).toBe('"€$\\u000f\\nA\'B\\"\\\\\\"/"')
    expect(text('\u00e9')).not.toBe(text('e\u0301'))
    expect(canonicalJson('e\u0301')).toEqual(Buffer.from('"e\u0301"', 'utf8'))
  })

  test('gives the same bytes whatever the order of the fields, and bytes that parse to the same value', () => {
    const integer = fc.maxSafeInteger().filter((value) => !Object.is(value, -0))
    const leaf = fc.oneof(fc.string({ unit: 'grapheme' }), integer, fc.boolean(), fc.constant(null))
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small' },
        leaf,
        fc.array(tie('tree')),
        fc.dictionary(fc.string({ unit: 'grapheme' }), tie('tree')),
      ),
    }))
    fc.assert(
      fc.property(tree, (value) => {
        const bytes = canonicalJson(value)
        expect(canonicalJson(reversed(value))).toEqual(bytes)
        expect(canonicalJson(JSON.parse(bytes.toString('utf8')))).toEqual(bytes)
      }),
      { numRuns: 500 },
    )
  })

  test.each([
    ['undefined', undefined],
    ['a field that is undefined', { a: undefined }],
    ['NaN', Number.NaN],
    ['an infinity', Number.POSITIVE_INFINITY],
    ['a fraction', 0.5],
    ['an integer beyond 2^53', 2 ** 53],
    ['a bigint', 1n],
    ['a function', () => 1],
    ['a symbol', Symbol('s')],
    ['a name that is a symbol', { [Symbol('s')]: 1 }],
    ['a hole', Array(2)],
    ['a date', new Date(0)],
    ['a map', new Map()],
    ['bytes', Buffer.from('a')],
    ['a secret', Secret.copy(Buffer.from('a'))],
    ['half a surrogate pair', '\ud800'],
    ['half a surrogate pair in a name', { '\ud800': 1 }],
  ])('refuses %s, alone and deep inside', (_, value) => {
    expect(() => canonicalJson(value)).toThrow(TypeError)
    expect(() => canonicalJson({ a: [value] })).toThrow(/at \$/)
  })

  test('refuses a nesting that would use up the stack', () => {
    let deep: unknown = 1
    for (let level = 0; level < 100_000; level += 1) deep = [deep]
    expect(() => canonicalJson(deep)).toThrow('more than 64 levels')
  })

  test('names the place and never the value', () => {
    expect(() => canonicalJson({ a: [1, { b: 0.123 }] })).toThrow(
      "canonical JSON can't hold a number that is not a safe integer, at $.a[1].b",
    )
  })
})

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).reverse()
  return Object.fromEntries(fields.map(([name, field]) => [name, reversed(field)]))
}
