import { describe, expect, test } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { compileLayout } from '../../../src/core/layout/layout.ts'

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))

function outcome(source: string, value: string): string {
  try {
    const layout = compileLayout(source)
    const again = Buffer.from(layout.render(layout.parse(bytes(value)))).toString()
    return again === value ? 'the same' : again
  } catch (error) {
    if (isKvxError(error)) return error.message.split('\n')[0] ?? ''
    throw error
  }
}

describe('a text in lines', () => {
  const ruby = [
    Buffer.alloc(50, 7).toString('base64').slice(0, 60),
    Buffer.alloc(50, 7).toString('base64').slice(60),
    '',
  ]

  test('is read with its breaks where an encoder puts them', () => {
    expect(outcome('lines(base64(ct), 60)', ruby.join('\n'))).toBe('the same')
    expect(outcome('lines(base64(nonce:12 ct tag:16), 60)', ruby.join('\n'))).toBe('the same')
    expect(outcome('lines(base64(ct:50), 60)', ruby.join('\n'))).toBe('the same')
    expect(outcome('wrap(base64(ct), 60, break="\\r\\n")', ruby.slice(0, 2).join('\r\n'))).toBe('the same')
    expect(outcome('lines(hex(ct), 4)', '')).toBe('the same')
    expect(outcome('lines(hex(ct), 4)', '0001\n')).toBe('the same')
    expect(outcome('wrap(hex(ct), 4)', '0001')).toBe('the same')
    expect(
      outcome(
        '"-----BEGIN X-----\\n" lines(base64(ct), 8) "-----END X-----\\n"',
        '-----BEGIN X-----\nAQIDBAUG\nBw==\n-----END X-----\n',
      ),
    ).toBe('the same')
  })

  test('is refused with its breaks elsewhere', () => {
    const reason = (at: number): string =>
      `the value does not match lines(hex(ct), 4) at offset ${at}: the lines are not those of 4 characters`
    expect(outcome('lines(hex(ct), 4)', '0001')).toBe(reason(3))
    expect(outcome('lines(hex(ct), 4)', '0001\n02')).toBe(reason(6))
    expect(outcome('lines(hex(ct), 4)', '00\n01\n')).toContain('at offset')
    expect(outcome('lines(hex(ct), 4)', '0001\n\n')).toContain('at offset')
    expect(outcome('lines(hex(ct), 4)', '0001\r\n')).toContain('at offset')
    expect(outcome('wrap(hex(ct), 4)', '0001\n')).toContain('at offset')
    expect(outcome('wrap(hex(ct), 4)', '000102')).toContain('at offset 4')
    expect(outcome('lines(hex(ct), 4)', '00x1\n')).toBe(
      'the value does not match hex(ct) at byte 2 of what lines(hex(ct), 4) at offset 0 decodes to: this byte is none of the lower-case hex digits',
    )
  })

  test('has a width and a break that are known beforehand', () => {
    expect(outcome('lines(hex(ct))', '')).toContain('lines lacks its width')
    expect(outcome('lines(hex(ct), version)', '')).toContain(
      'lines takes a text, its width, and what breaks lines',
    )
    expect(outcome('lines(hex(ct), 0)', '')).toContain('width is not from 1 to 1024')
    expect(outcome('lines(hex(ct), 4, break=hex(nonce))', '')).toContain('lines takes a text')
    expect(outcome('lines(hex(ct), 4, width=5)', '')).toContain('width of lines stands here a second time')
    expect(outcome('lines(ct, 4) ":" hex(tag)', '')).toContain('can itself hold the bytes of ":"')
    expect(outcome('lines(hex(ct), 4) "\\n" hex(tag)', '')).toContain('can itself hold the bytes of "\\n"')
  })
})
