import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemberScanner } from '../../src/vault/json-members.ts'
import { changeMembers, parseMembers } from '../../src/vault/members.ts'

class Refused extends Error {}

function refuse(reason: string): never {
  throw new Refused(reason)
}

/** The members that a scanner tells, or why it refused, when the bytes come in pieces of these lengths. */
function scan(text: string | Buffer, lengths: readonly number[] = []): [string, string][] | string {
  const bytes = Buffer.from(text)
  const found: [string, Buffer[]][] = []
  let isOpen = false
  const scanner = new MemberScanner(
    {
      begin: (name, raw) => {
        if (isOpen || JSON.parse(raw.toString()) !== name) throw new Error('members overlap')
        isOpen = true
        found.push([name, []])
      },
      value: (part) => found.at(-1)?.[1].push(Buffer.from(part)),
      end: () => {
        isOpen = false
      },
    },
    refuse,
  )
  try {
    let at = 0
    for (const length of lengths) {
      scanner.push(bytes.subarray(at, at + length))
      at += length
    }
    scanner.push(bytes.subarray(at))
    scanner.finish()
  } catch (error) {
    if (error instanceof Refused) return error.message
    throw error
  }
  return found.map(([name, parts]) => [name, Buffer.concat(parts).toString()])
}

const cuts = fc.array(fc.nat(9), { maxLength: 40 })
const object = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue({ maxDepth: 4 }), { maxKeys: 6 })

describe('the scanner', () => {
  it('tells the members that JSON.parse finds, wherever the bytes are cut', () => {
    fc.assert(
      fc.property(object, fc.nat(3), cuts, (value, indent, lengths) => {
        const members = scan(JSON.stringify(value, undefined, indent), lengths)
        if (typeof members === 'string') throw new Error(members)
        const parsed = members.map(([name, text]) => [name, JSON.parse(text) as unknown])
        expect(parsed).toEqual(Object.entries(JSON.parse(JSON.stringify(value)) as object))
      }),
      { numRuns: 400 },
    )
  })

  it('takes exactly what JSON.parse takes of objects with one byte changed, duplicates excepted', () => {
    const change = fc.tuple(fc.nat(), fc.constantFrom(...Buffer.from('{}[]",:\\0-.eE+ tfnu\u0001\u007f')))
    fc.assert(
      fc.property(object, change, cuts, (value, [at, byte], lengths) => {
        const bytes = Buffer.from(JSON.stringify(value))
        bytes[at % bytes.length] = byte
        let parsed: unknown
        try {
          parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
        } catch {
          parsed = undefined
        }
        const isObject = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
        const found = scan(bytes, lengths)
        if (found === 'a member stands twice in the JSON') return
        expect(typeof found !== 'string', bytes.toString()).toBe(isObject)
      }),
      { numRuns: 2000 },
    )
  })

  it('keeps the bytes of a value: digits, escapes, order and blanks inside', () => {
    expect(scan(' { "n" : 12345678901234567890 , "o" : { "b":1 ,"a" : "\\u00e9" } } \n')).toEqual([
      ['n', '12345678901234567890'],
      ['o', '{ "b":1 ,"a" : "\\u00e9" }'],
    ])
  })

  it.each([
    ['', 'the JSON object is not complete'],
    ['{"a":1', 'the JSON object is not complete'],
    ['[1]', 'it is not a JSON object'],
    ['"a"', 'it is not a JSON object'],
    ['\ufeff{}', 'it is not a JSON object'],
    ['{"a":1,"a":2}', 'a member stands twice in the JSON'],
    ['{"a":1,"\\u0061":2}', 'a member stands twice in the JSON'],
    ['{"o":{"a":1,"b":[],"a":2}}', 'a member stands twice in the JSON'],
    ['{"a":1}{}', 'something follows the JSON object'],
    ['{"a":1,}', 'a member has no name in quotes'],
    ['{"a":[1,]}', 'a value is no JSON'],
    ['{"a":01}', 'a value is no JSON'],
    ['{"a":nul}', 'a value is no JSON'],
    ['{"a" 1}', 'a member has no colon behind its name'],
    ['{"a":"\n"}', 'a string holds a control character that is not escaped'],
    ['{"a":"\\x"}', 'a string has an escape that JSON does not know'],
    ['{"a":"\\u12g4"}', 'a string has an escape that JSON does not know'],
    [`${'{"a":'.repeat(65)}1${'}'.repeat(65)}`, 'the JSON has more than 64 levels'],
    [`{"a":${'1'.repeat(1025)}}`, 'a number has more than 1024 digits'],
    [`{"${'a'.repeat(65_600)}":1}`, 'a name has more than 65536 bytes'],
  ])('refuses %j: %s', (text, reason) => {
    expect(scan(text)).toBe(reason)
    expect(scan(text, [1, 1, 1, 2, 3])).toBe(reason)
  })

  it('refuses what is not UTF-8, also where a character is cut in two', () => {
    const whole = Buffer.from('{"a":"é€😀"}')
    for (let at = 0; at < whole.length; at++) expect(typeof scan(whole, [at])).toBe('object')
    expect(scan(Buffer.from([0x7b, 0x22, 0xc3, 0x22, 0x3a, 0x31, 0x7d]))).toBe('the JSON is not UTF-8')
    expect(scan(Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d]))).toBe(
      'the JSON is not UTF-8',
    )
  })
})

describe('a change of members', () => {
  async function changed(
    old: string | undefined,
    put: object,
    remove: readonly string[] = [],
  ): Promise<string> {
    async function* pieces(): AsyncGenerator<Buffer> {
      for (const byte of Buffer.from(old ?? '')) yield Buffer.of(byte)
    }
    const change = { put: parseMembers(Buffer.from(JSON.stringify(put))), remove: new Set(remove) }
    const parts: Buffer[] = []
    for await (const part of changeMembers(old === undefined ? undefined : pieces(), change)) {
      parts.push(Buffer.from(part))
    }
    return Buffer.concat(parts).toString()
  }

  it('replaces in place, adds at the end, removes, and leaves every other value byte for byte', async () => {
    const old = '{ "a": 1.0, "b": {"x": [ ] }, "c": 12345678901234567890 }'
    expect(await changed(old, { b: 'new', d: null })).toBe(
      '{"a":1.0,"b":"new","c":12345678901234567890,"d":null}',
    )
    expect(await changed(old, {}, ['a', 'c'])).toBe('{"b":{"x": [ ] }}')
    expect(await changed(old, {}, ['a', 'b', 'c'])).toBe('{}')
    expect(await changed(undefined, { a: 1 })).toBe('{"a":1}')
    expect(await changed('{}', { a: 1 })).toBe('{"a":1}')
  })

  it('does what Object.assign does', async () => {
    await fc.assert(
      fc.asyncProperty(object, object, async (old, put) => {
        const text = await changed(JSON.stringify(old), put)
        const expected: unknown = JSON.parse(JSON.stringify({ ...old, ...put }))
        expect(JSON.parse(text)).toEqual(expected)
      }),
    )
  })
})
