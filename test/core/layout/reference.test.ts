import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { functions, parts } from '../../../src/core/layout/functions.ts'
import { compileLayout } from '../../../src/core/layout/layout.ts'
import { compileTemplate } from '../../../src/core/layout/template.ts'
import type { Value } from '../../../src/core/layout/values.ts'

const reference = readFileSync(join(import.meta.dirname, '../../../docs/layouts.md'), 'utf8')

/** The rows of every table with these two headings: the code of the first column, the second as it is. */
function rowsUnder(first: string, second: string): readonly (readonly [string, string])[] {
  const tables = reference.split(`| ${first} | ${second} |\n|---|---|\n`).slice(1)
  return tables
    .map((table) => table.split('\n\n')[0] ?? '')
    .flatMap((table) => table.split('\n'))
    .map((row) => /^\| `(.*?)` \| (.*) \|$/.exec(row) ?? [row, '', ''])
    .map(([, source = '', value = '']) => [source, value] as const)
}

function bytesOf(code: string): Buffer {
  const text = code.replace(/^`|`$/g, '')
  return text.startsWith('0x') ? Buffer.from(text.slice(2), 'hex') : Buffer.from(text)
}

const refused = rowsUnder('layout', 'because')
const taken = rowsUnder('layout', 'takes the value')
const templates = rowsUnder('template', 'gives')

function refusalOf(source: string): string {
  try {
    compileLayout(source)
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_INVALID')) return `${error.message}\n${error.hint}`
    throw error
  }
  return 'accepted'
}

describe('the reference of the language', () => {
  test.each(taken)('takes the value that stands beside %s, and writes it again', (source, value) => {
    const layout = compileLayout(source)
    const bytes = bytesOf(value)
    expect(bytes.length).toBeGreaterThan(0)
    expect(Buffer.from(layout.render(layout.parse(bytes))).equals(bytes)).toBe(true)
  })

  test.each(refused)('refuses %s for the reason that stands there', (source, reason) => {
    expect(refusalOf(source)).toContain(reason)
  })

  test.each(templates)('gives what stands beside %s', (source, value) => {
    const cells = new Map<string, Value>([
      ['id', 42n],
      ['org', 'acme'],
      ['hash', Uint8Array.of(1, 2)],
      ['user', '5b0c0f8e-6f0e-4f4a-9a56-1c2d3e4f5a6b'],
    ])
    const given = compileTemplate(source).render({
      cell: (name) => cells.get(name) ?? null,
      newCell: (name) => (name === 'id' ? 43n : (cells.get(name) ?? null)),
      part: (name) => (name === 'version' ? 3n : Uint8Array.of(10, 11)),
    })
    expect(Buffer.from(given).toString('hex')).toBe(bytesOf(value).toString('hex'))
  })

  test('shows an error as it is', () => {
    expect(reference).toContain(`\`\`\`\n${refusalOf('nonce:12 ct tag')}\n\`\`\``)
    expect(() => compileLayout('hex(nonce:2) ":" hex(ct)').parse(Buffer.from('00fF:00'))).toThrow(
      /^the value does not match hex\(nonce:2\) at offset 3: this byte is none of the lower-case hex digits$/,
    )
    expect(reference).toContain(
      'the value does not match hex(nonce:2) at offset 3: this byte is none of the lower-case',
    )
  })

  test('has an example of every part and function', () => {
    const examples = [...taken, ...templates].map(([source]) => source).join('\n')
    for (const name of functions.keys()) expect(examples).toMatch(new RegExp(`\\b${name}\\(`))
    for (const name of parts) expect(reference).toContain(`\`${name}\``)
    expect(taken.length + refused.length + templates.length).toBeGreaterThan(40)
  })
})
