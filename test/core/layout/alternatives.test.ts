import { describe, expect, test } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { compileLayout } from '../../../src/core/layout/layout.ts'

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))
const text = (value: Uint8Array | undefined): string => Buffer.from(value ?? []).toString()

function refusal(make: () => unknown): string {
  try {
    make()
  } catch (error) {
    if (isKvxError(error)) return `${error.message}\n${error.hint}`
    throw error
  }
  return 'accepted'
}

describe('alternatives', () => {
  const layout = compileLayout(
    'header("v2:" hex(nonce:2)) ":" base64(ct) | hex(nonce:2) ":" hexupper(ct) | base64(nonce:2 ct)',
  )

  test.each(['v2:0102:AQID', '0102:FF', 'AQID'])('reads %s and renders the same again', (value) => {
    const parts = layout.parse(bytes(value))
    expect(text(layout.render(parts))).toBe(value)
    expect(parts.get('nonce')).toBeDefined()
  })

  test('write a value as the alternative that read it, and a new one as the first', () => {
    const changed = new Map([...layout.parse(bytes('0102:FF')), ['ct', Uint8Array.of(0xab)] as const])
    expect(text(layout.render(changed))).toBe('0102:AB')
    expect(layout.header(changed)).toBeUndefined()
    expect(text(layout.header(layout.parse(bytes('v2:0102:AQID'))))).toBe('v2:0102')
    const fresh = new Map([...changed].filter(([name]) => !name.startsWith('#')))
    expect(text(layout.render(fresh))).toBe('v2:0102:qw==')
  })

  test('say which came furthest when none reads', () => {
    expect(refusal(() => layout.parse(bytes('v2:01zz:AQID')))).toContain(
      'none of the 3 alternatives: the value does not match hex(nonce:2) at offset 5: this byte is none of the lower-case hex digits',
    )
  })

  test('have one length and one prefix only where all have them', () => {
    expect(compileLayout('0x01 nonce:2 | 0x02 nonce:2').fixedLength).toBe(3)
    expect(compileLayout('0x01 nonce:2 | nonce:2').fixedLength).toBeUndefined()
    const prefixed = compileLayout('"a:" ct | "b:" ct')
    expect(['a:x', 'b:x', 'c:x'].map((value) => prefixed.hasPrefix(bytes(value)))).toEqual([
      true,
      true,
      false,
    ])
    expect([...prefixed.partNames]).toEqual(['ct'])
  })

  test('have the same parts, or are refused', () => {
    expect(refusal(() => compileLayout('nonce:12 ct tag:16 |\n  nonce:16 ct'))).toMatchInlineSnapshot(`
      "layout, line 2, column 3: this alternative has other parts than the first one, which has nonce, ct, tag
          nonce:16 ct
          ^^^^^^^^^^^
      name the same parts in every alternative"
    `)
    expect(refusal(() => compileLayout('"a" ct | '))).toMatchInlineSnapshot(`
      "layout, line 1, column 10: this alternative has nothing in it
        "a" ct | 
                 ^
      write what the bytes consist of, e.g. nonce:12 ct tag:16"
    `)
    expect(refusal(() => compileLayout('hex(ct | nonce)'))).toMatchInlineSnapshot(`
      "layout, line 1, column 8: hex( is not closed
        hex(ct | nonce)
               ^
      write ) behind its last argument"
    `)
    expect(refusal(() => compileLayout('| ct'))).toMatchInlineSnapshot(`
      "layout, line 1, column 1: the layout has nothing in it
        | ct
        ^
      write what the bytes consist of, e.g. nonce:12 ct tag:16"
    `)
  })
})
