import { expect, test } from 'vitest'
import { plaintextTest } from '../../../src/core/cipher/plaintext-test.ts'
import { isKvxError } from '../../../src/core/errors.ts'

test.each([
  ['utf8', ['sk-live', 'ünï', ''], ['\xff', 'sk\x80']],
  ['json', ['{"a":1}', '[]', 'null', ' "x" '], ['{"a":1', '', '{"a":1,"a":2}', 'sk']],
  ['prefix "sk-"', ['sk-', 'sk-live'], ['sk', 'Sk-live', '']],
  ['prefix 0xff00', ['\xff\x00a'], ['\xff']],
  ['length 4', ['abcd'], ['abc', 'abcde', '']],
  ['utf8 and prefix "sk-" and length 5', ['sk-ab'], ['sk-a\xff', 'sk-abc', 'xk-ab']],
])('%s', (source, passing, failing) => {
  const passes = plaintextTest(source)
  const bytes = (text: string): Uint8Array => Buffer.from(text, text.includes('ü') ? 'utf8' : 'latin1')
  for (const text of passing) expect(passes(bytes(text))).toBe(true)
  for (const text of failing) expect(passes(bytes(text))).toBe(false)
})

function refusal(source: string): string {
  try {
    plaintextTest(source)
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_INVALID')) return `${error.message}\n${error.hint}`
    throw error
  }
  return 'accepted'
}

test('points at what it does not know', () => {
  expect(refusal('utf8 and jsno')).toMatchInlineSnapshot(`
    "plaintext, line 1, column 10: this is no test of a plaintext
      utf8 and jsno
               ^^^^
    write json"
  `)
  expect(refusal('prefix')).toMatchInlineSnapshot(`
    "plaintext, line 1, column 1: prefix lacks its bytes
      prefix
      ^^^^^^
    write e.g. prefix "sk-" or prefix 0x0001"
  `)
  expect(refusal('prefix ""')).toMatchInlineSnapshot(`
    "plaintext, line 1, column 1: prefix lacks its bytes
      prefix ""
      ^^^^^^
    write e.g. prefix "sk-" or prefix 0x0001"
  `)
  expect(refusal('length "4"')).toMatchInlineSnapshot(`
    "plaintext, line 1, column 1: length lacks its number of bytes
      length "4"
      ^^^^^^
    write e.g. length 32"
  `)
  expect(refusal('utf8 json')).toMatchInlineSnapshot(`
    "plaintext, line 1, column 6: another test follows behind and only
      utf8 json
           ^^^^
    write utf8, json, prefix "…", length 32, or several with and between them"
  `)
  expect(refusal('')).toMatchInlineSnapshot(`
    "plaintext, line 1, column 1: this is no test of a plaintext
    write utf8, json, prefix "…", length 32, or several with and between them"
  `)
  expect(refusal('utf8 and')).toMatchInlineSnapshot(`
    "plaintext, line 1, column 9: this is no test of a plaintext
      utf8 and
              ^
    write utf8, json, prefix "…", length 32, or several with and between them"
  `)
})
