import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Cipher } from '../../../src/core/cipher/cipher.ts'
import { plaintextTest } from '../../../src/core/cipher/plaintext-test.ts'
import { cipherNamed, cipherNames } from '../../../src/core/cipher/registry.ts'
import { isKvxError } from '../../../src/core/errors.ts'
import { computations } from '../../../src/core/layout/computations.ts'
import { compileDerivation } from '../../../src/core/layout/derivation.ts'
import { extraWords, functions, parts } from '../../../src/core/layout/functions.ts'
import { compileEach } from '../../../src/core/layout/json-each.ts'
import { compileLayout } from '../../../src/core/layout/layout.ts'
import { compileTemplate } from '../../../src/core/layout/template.ts'
import type { Value } from '../../../src/core/layout/values.ts'
import { Secret } from '../../../src/core/secret.ts'

const reference = readFileSync(join(import.meta.dirname, '../../../docs/layouts.md'), 'utf8')

/** The rows of every table with these headings, cell by cell, the code in them as it is. */
function tablesUnder(...headings: readonly string[]): readonly (readonly string[])[] {
  const head = `| ${headings.join(' | ')} |\n|${'---|'.repeat(headings.length)}\n`
  const tables = reference.split(head).slice(1)
  return tables
    .map((table) => table.split('\n\n')[0] ?? '')
    .flatMap((table) => table.trimEnd().split('\n'))
    .map((row) =>
      row
        .slice(2, -2)
        .split(/ (?<!\\)\| /)
        .map((cell) => cell.replaceAll('\\|', '|')),
    )
}

function codeIn(cell = ''): string {
  return cell.replace(/^`|`$/g, '')
}

/** Of tables with two columns: the code of the first, and the second as it is. */
function rowsUnder(first: string, second: string): readonly (readonly [string, string])[] {
  return tablesUnder(first, second).map(([source, value = '']) => [codeIn(source), value] as const)
}

function bytesOf(code: string): Buffer {
  const text = code.replace(/^`|`$/g, '')
  return text.startsWith('0x') ? Buffer.from(text.slice(2), 'hex') : Buffer.from(text)
}

const refused = rowsUnder('layout', 'because')
const taken = rowsUnder('layout', 'takes the value')
const templates = rowsUnder('template', 'gives')
const derivations = rowsUnder('derivation', 'gives')
const ciphers = tablesUnder('ciphers', 'key', 'a layout')
const options = tablesUnder('option', 'what it says', 'example')
const plaintexts = tablesUnder('test', 'passes', 'fails')
const patterns = tablesUnder('pattern', 'in the document', 'reaches')

function refusalOf(source: string): string {
  try {
    compileLayout(source)
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_INVALID')) return `${error.message}\n${error.hint}`
    throw error
  }
  return 'accepted'
}

/** `aes-{128,256}-{kw,kwp}` as a shell expands it. */
function expanded(name: string): readonly string[] {
  const [whole, choices] = /\{([^}]*)\}/.exec(name) ?? []
  if (whole === undefined || choices === undefined) return [name]
  return choices.split(',').flatMap((choice) => expanded(name.replace(whole, choice)))
}

function documented(name: string): Cipher {
  return cipherNamed(name, /^aes-.*-hmac-/.test(name) ? { mac: 'nonce ct' } : {})
}

function sealedAndOpened(cipher: Cipher, source: string): string {
  const layout = compileLayout(source)
  const length = [96, 64, 48, 32, 24, 16].find((each) => cipher.acceptsKeyLength(each)) ?? 0
  const key = cipher.prepare(Secret.take(randomBytes(length)))
  const none = new Uint8Array()
  const macLength = Number(/mac:(\d+)/.exec(source)?.[1] ?? 0)
  // a Fernet token bears the time of its sealing, which core is given and never reads
  const given = new Map<string, Uint8Array | bigint>([
    ['nonce', randomBytes(cipher.nonceLength)],
    ['mac', randomBytes(macLength)],
    ['time', 1_700_000_000n],
  ])
  const value = layout.render(cipher.seal(key, Buffer.from('plain'), given, none))
  return Buffer.from(cipher.open(key, layout.parse(value), none) ?? []).toString()
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

  test.each(derivations)('derives what stands beside %s', (source, value) => {
    const made = compileDerivation(source).derive({
      key: Secret.copy(Buffer.from('passphrase')),
      cell: () => 'acme',
      newCell: () => 'acme',
      part: (name) => (name === 'iterations' ? 3n : Buffer.from('0102030405060708', 'hex')),
    })
    expect(made.lend((bytes) => bytes.toString('hex'))).toBe(bytesOf(value).toString('hex'))
  })

  test.each(ciphers)('has the keys and a layout of %s', (names, keys = '', layout) => {
    const all = expanded(codeIn(names))
    const lengths = keys.split(', ')
    for (const name of all) {
      const cipher = documented(name)
      const bits = /^aes-(\d+)/.exec(name)?.[1]
      const length = all.length > 1 && bits !== undefined ? String(Number(bits) / 8) : keys
      expect(cipher.keyLengths).toBe(length)
      expect(keys === length || lengths.includes(length)).toBe(true)
      const { partNames } = compileLayout(codeIn(layout))
      expect([...partNames].toSorted()).toEqual([...cipher.parts].toSorted())
      if (cipher.kind === 'aead') expect(sealedAndOpened(cipher, codeIn(layout))).toBe('plain')
    }
  })

  test('has every cipher once, and says which are never written', () => {
    const names = ciphers.map(([cell]) => expanded(codeIn(cell)))
    expect(names.flat().toSorted()).toEqual([...cipherNames].toSorted())
    const legacy = names.slice(-3).flat()
    expect(cipherNames.filter((name) => documented(name).kind === 'legacy').toSorted()).toEqual(
      legacy.toSorted(),
    )
  })

  test('has options that a cipher takes', () => {
    const [mac = '', macKey = '', cipherKey = ''] = options.map(([, , example]) => codeIn(example))
    expect(options.map(([name]) => codeIn(name))).toEqual(['mac', 'mac-key', 'cipher-key'])
    const cipher = cipherNamed('aes-256-cbc-hmac-sha256', { mac, macKey, cipherKey })
    expect(sealedAndOpened(cipher, 'nonce:16 ct mac:32')).toBe('plain')
  })

  test.each(plaintexts)('passes and fails what stands beside %s', (source, passing = '', failing = '') => {
    const passes = plaintextTest(codeIn(source))
    expect([passes(bytesOf(passing)), passes(bytesOf(failing))]).toEqual([true, false])
  })

  test.each(patterns)('reaches what stands beside %s', (pattern, document, reached = '') => {
    const places = compileEach(codeIn(pattern)).split(bytesOf(document ?? ''))
    expect(places.map(({ path }) => `\`${path}\``).join(' ')).toBe(reached)
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
    const examples = [...taken, ...templates, ...derivations].map(([source]) => source).join('\n')
    for (const name of [...functions.keys(), ...computations.keys()]) {
      if (name !== 'number' && name !== 'varint')
        expect(examples).toMatch(new RegExp(`(?<![\\w-])${name}\\(`))
    }
    for (const words of Object.values(extraWords).flat()) expect(reference).toContain(`\`${words}\``)
    for (const name of parts) expect(reference).toContain(`\`${name}\``)
    expect(taken.length + refused.length + templates.length).toBeGreaterThan(40)
  })
})
