import { randomBytes, createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { inflateSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import type { Cipher } from '../../../src/core/cipher/cipher.ts'
import { plaintextTest } from '../../../src/core/cipher/plaintext-test.ts'
import { cipherNamed } from '../../../src/core/cipher/registry.ts'
import { compileDerivation } from '../../../src/core/layout/derivation.ts'
import { compileLayout, type Layout } from '../../../src/core/layout/layout.ts'
import { compileTemplate } from '../../../src/core/layout/template.ts'
import type { Parts, Value } from '../../../src/core/layout/values.ts'
import { Secret } from '../../../src/core/secret.ts'
import { declarations, type Declared } from './declared.ts'
import { derivedKey, openAsDescribed } from './vector-ciphers.ts'
import { at, bytesOfCell, objectOf, vectorNamed, type Json, type JsonObject } from './vector-reader.ts'

type Vector = {
  readonly row: JsonObject
  readonly level: JsonObject
  /** What is configured, or the data key. */
  readonly key: Buffer
  readonly plaintext: Buffer
}

function vectorOf(declared: Declared): Vector {
  const file = vectorNamed(declared.file)
  const found: JsonObject = {
    ...file,
    ...(declared.case === undefined ? {} : objectOf((file['cases'] as readonly Json[])[declared.case])),
  }
  const row = objectOf(found['row'])
  const level = objectOf(objectOf(found['layout'])[declared.level])
  const dek = found['dek'] === undefined ? undefined : bytesOfCell(found['dek'])
  const kek = bytesOfCell(found['kek'])
  const isKek = declared.level === 'wrap' || dek === undefined || level['key'] === 'kek'
  const plaintext = declared.level === 'data' ? bytesOfCell(found['plaintext']) : dek
  return { row, level, key: isKek ? kek : dek, plaintext: plaintext ?? Buffer.alloc(0) }
}

/** The row with one cell replaced, in the form in which it was stored. */
function withCell(row: JsonObject, path: string, bytes: Uint8Array): JsonObject {
  const [first = '', ...rest] = path.split('.')
  if (rest.length > 0) return { ...row, [first]: withCell(objectOf(row[first]), rest.join('.'), bytes) }
  const isText = typeof row[first] === 'string'
  return {
    ...row,
    [first]: isText ? Buffer.from(bytes).toString() : { hex: Buffer.from(bytes).toString('hex') },
  }
}

function cellOf(row: JsonObject, name: string): Value {
  const cell = row[name]
  if (typeof cell === 'number') return BigInt(cell)
  return typeof cell === 'string' || cell === null ? cell : bytesOfCell(cell)
}

type Column = { readonly path: string; readonly layout: Layout; readonly parts: Parts }

/** One level of a row, taken apart. */
class Level {
  readonly cipher: Cipher
  readonly #declared: Declared
  readonly #row: JsonObject
  readonly #columns: readonly Column[]
  readonly parts: Map<string, Uint8Array | bigint>

  constructor(declared: Declared, row: JsonObject) {
    this.#declared = declared
    this.#row = row
    this.cipher = cipherNamed(declared.cipher ?? 'aes-256-gcm', declared.options)
    this.#columns = Object.entries(declared.columns).map(([path, source]) => {
      const layout = compileLayout(source)
      return { path, layout, parts: layout.parse(bytesOfCell(at(row, path))) }
    })
    const { prefix = '' } = declared
    const own = this.#columns
      .flatMap(({ parts }) => [...parts])
      .filter(([name]) => name.startsWith('dek.') === (prefix !== '') && !name.startsWith('#'))
    this.parts = new Map(own.map(([name, value]) => [name.slice(prefix.length), value]))
  }

  open(key: Buffer): Uint8Array | undefined {
    const parts = this.#withNonce(key, this.parts)
    return this.cipher.open(this.#prepared(key, parts), parts, this.#aad(parts))
  }

  sealed(key: Buffer, plaintext: Uint8Array): JsonObject {
    const length = this.parts.get('nonce')
    const fresh = new Map(this.parts)
    if (length instanceof Uint8Array) fresh.set('nonce', randomBytes(length.length))
    if (this.#declared.nonce !== undefined) fresh.set('salt', randomBytes(32))
    const given = this.#withNonce(key, fresh)
    const parts = this.cipher.seal(this.#prepared(key, given), plaintext, given, this.#aad(given))
    return this.#columns.reduce(
      (row, column) => withCell(row, column.path, column.layout.render(this.#changed(column, parts))),
      this.#row,
    )
  }

  #changed({ parts: old }: Column, parts: Parts): Parts {
    const { prefix = '' } = this.#declared
    const own = [...parts].filter(([name]) => old.has(prefix + name))
    return new Map([...old, ...own.map(([name, value]) => [prefix + name, value] as const)])
  }

  #prepared(key: Buffer, parts: Parts): ReturnType<Cipher['prepare']> {
    const { derive } = this.#declared
    return this.cipher.prepare(derive === undefined ? Secret.copy(key) : this.#derived(derive, key, parts))
  }

  #derived(source: string, key: Buffer, parts: Parts): Secret {
    return compileDerivation(source).derive({ key: Secret.copy(key), ...this.#inputs(parts) })
  }

  #withNonce(key: Buffer, parts: Parts): Map<string, Uint8Array | bigint> {
    const { nonce } = this.#declared
    if (nonce === undefined) return new Map(parts)
    return new Map(parts).set(
      'nonce',
      this.#derived(nonce, key, parts).lend((bytes) => new Uint8Array(bytes)),
    )
  }

  #aad(parts: Parts): Uint8Array {
    const { aad } = this.#declared
    return aad === undefined ? new Uint8Array() : compileTemplate(aad).render(this.#inputs(parts))
  }

  #inputs(parts: Parts): {
    readonly cell: (name: string) => Value
    readonly newCell: (name: string) => Value
    readonly part: (name: string) => Uint8Array | bigint | undefined
  } {
    const cells = this.#declared.cells?.(this.#row) ?? this.#row
    const cell = (name: string): Value => cellOf(cells, name)
    const [column] = this.#columns
    const header = (): Uint8Array | undefined => column?.layout.header(this.#changed(column, parts))
    return { cell, newCell: cell, part: (name) => (name === 'header' ? header() : parts.get(name)) }
  }
}

/** What the vector calls the plaintext: of a wrap the data key itself, of a packed value what was packed. */
function unpacked({ dekLayout, packed }: Declared, plaintext: Uint8Array | undefined): string {
  if (plaintext === undefined) return 'did not open'
  if (packed === 'deflated') return inflateSync(plaintext).toString('hex')
  if (packed === 'php')
    return Buffer.from(plaintext)
      .toString()
      .replace(/^s:\d+:"(.*)";$/s, '$1')
  if (dekLayout === undefined) return Buffer.from(plaintext).toString('hex')
  const dek = compileLayout(dekLayout).parse(plaintext).get('ct')
  return Buffer.from(dek instanceof Uint8Array ? dek : []).toString('hex')
}

/** Another key of the same length. */
function secondKeyFor(key: Buffer): Buffer {
  return createHash('shake256', { outputLength: key.length }).update('the second key').digest()
}

const titled = declarations.map((declared) => {
  return [`${declared.file} ${declared.case ?? ''} ${declared.level}`, declared] as const
})
const legacy = titled.filter(([, { test: plaintext }]) => plaintext !== undefined)
const authenticated = titled.filter(([, { test: plaintext }]) => plaintext === undefined)

describe('a value that an application sealed', () => {
  test.each(authenticated)('opens, and under a second key for everybody else: %s', (_, declared) => {
    const { row, level, key, plaintext } = vectorOf(declared)
    const value = new Level(declared, row)
    const opened = value.open(key)
    const expected = declared.packed === 'php' ? plaintext.toString() : plaintext.toString('hex')
    expect(unpacked(declared, opened)).toBe(expected)
    const second = secondKeyFor(key)
    expect(value.open(second)).toBeUndefined()

    const changed = value.sealed(second, opened ?? new Uint8Array())
    expect(changed).not.toEqual(row)
    const theirs = openAsDescribed(level, changed, derivedKey(level, changed, second))
    expect(theirs.equals(opened ?? Buffer.alloc(0))).toBe(true)
    expect(() => openAsDescribed(level, changed, derivedKey(level, changed, key))).toThrow()
    expect(new Level(declared, changed).open(key)).toBeUndefined()
    expect(new Level(declared, changed).open(second)).toEqual(opened)
  })

  test.each(legacy)('opens and is never written where nothing authenticates: %s', (_, declared) => {
    const { row, key, plaintext } = vectorOf(declared)
    const value = new Level(declared, row)
    const passes = plaintextTest(declared.test ?? '')
    const opened = value.open(key) ?? new Uint8Array()
    expect(Buffer.from(opened).toString('hex')).toBe(plaintext.toString('hex'))
    expect(passes(opened)).toBe(true)
    const wrong = value.open(secondKeyFor(key))
    expect(wrong === undefined || !passes(wrong) || declared.test === 'length 16').toBe(true)
    expect(() => value.sealed(key, opened)).toThrow(/writes nothing under it/)
  })

  test.each(titled)('is rendered again byte for byte: %s', (_, declared) => {
    const { row } = vectorOf(declared)
    for (const [path, source] of Object.entries(declared.columns)) {
      const layout = compileLayout(source)
      const value = bytesOfCell(at(row, path))
      expect(Buffer.from(layout.render(layout.parse(value))).equals(value)).toBe(true)
    }
  })

  test('is there for every file and every level that a file describes', () => {
    const files = readdirSync(join(import.meta.dirname, '../../vectors/layouts'))
    const missing = files.flatMap((name) => {
      const file = name.replace('.json', '')
      const vector = vectorNamed(file)
      const cases = (vector['cases'] as readonly Json[] | undefined)?.map(objectOf) ?? [vector]
      return cases.flatMap((one, number) =>
        (['wrap', 'data'] as const)
          .filter((level) => objectOf(one['layout'])[level] !== undefined)
          .filter((level) => {
            return !declarations.some(
              (each) => each.file === file && (each.case ?? 0) === number && each.level === level,
            )
          })
          .map((level) => `${file} ${number} ${level}`),
      )
    })
    expect(missing).toEqual([])
  })
})
