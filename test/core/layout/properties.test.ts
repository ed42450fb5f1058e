import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { compileDerivation } from '../../../src/core/layout/derivation.ts'
import { compileLayout, type Layout } from '../../../src/core/layout/layout.ts'
import { compileTemplate } from '../../../src/core/layout/template.ts'

// A piece is a fragment of a layout, bytes that match it, and the parts in them, made without kvx's own code.
// `@` stands for the name of a part until the whole layout is known.
type Piece = { readonly source: string; readonly bytes: Buffer; readonly parts: readonly (Buffer | bigint)[] }

const names = ['nonce', 'ct', 'tag', 'mac', 'salt', 'version', 'keyid'].flatMap((name) => [
  name,
  `dek.${name}`,
])

function joined(pieces: readonly Piece[]): Piece {
  return {
    source: pieces.map((piece) => piece.source).join(' '),
    bytes: Buffer.concat(pieces.map((piece) => piece.bytes)),
    parts: pieces.flatMap((piece) => piece.parts),
  }
}

function buffer(constraints: fc.IntArrayConstraints): fc.Arbitrary<Buffer> {
  return fc.uint8Array(constraints).map((bytes) => Buffer.from(bytes))
}

const literal = buffer({ minLength: 1, maxLength: 4 }).map((bytes) => ({
  source: `0x${bytes.toString('hex')}`,
  bytes,
  parts: [],
}))
const skip = buffer({ minLength: 1, maxLength: 4 }).map((bytes) => ({
  source: `skip:${bytes.length}`,
  bytes,
  parts: [],
}))
const fixedPart = buffer({ minLength: 1, maxLength: 20 }).map((bytes) => ({
  source: `@:${bytes.length}`,
  bytes,
  parts: [bytes],
}))
const openPart = buffer({ maxLength: 40 }).map((bytes) => ({ source: '@', bytes, parts: [bytes] }))
const number = fc.tuple(fc.constantFrom(1, 2, 4, 8), fc.constantFrom('be', 'le')).chain(([size, order]) =>
  fc.bigInt({ min: 0n, max: (1n << BigInt(8 * size)) - 1n }).map((value) => {
    const bytes = Buffer.from(value.toString(16).padStart(2 * size, '0'), 'hex')
    return {
      source: `${size === 1 ? 'u8' : `u${8 * size}${order}`}(@)`,
      bytes: order === 'be' ? bytes : bytes.reverse(),
      parts: [value],
    }
  }),
)

/** LEB128 as its definition says: seven bits a byte, the lowest first, the last byte without its top bit. */
function leb128(value: bigint): Buffer {
  const groups = (
    value
      .toString(2)
      .padStart(1, '0')
      .match(/.{1,7}(?=(?:.{7})*$)/g) ?? []
  ).toReversed()
  return Buffer.from(groups.map((bits, at) => parseInt(bits, 2) | (at < groups.length - 1 ? 0x80 : 0)))
}

const varint = fc
  .bigInt({ min: 0n, max: 2n ** 64n - 1n })
  .map((value) => ({ source: 'uvarint(@)', bytes: leb128(value), parts: [value] }))
const decimal = fc
  .bigInt({ min: 0n, max: 2n ** 64n - 1n })
  .map((value) => ({ source: 'dec(@)', bytes: Buffer.from(String(value)), parts: [value] }))
const uuid = fc.uuid().map((text) => ({
  source: 'uuid(@)',
  bytes: Buffer.from(text.replaceAll('-', ''), 'hex'),
  parts: [Buffer.from(text)],
}))

const encodings: Readonly<Record<string, (bytes: Buffer) => string>> = {
  hex: (bytes) => bytes.toString('hex'),
  hexupper: (bytes) => bytes.toString('hex').toUpperCase(),
  base64: (bytes) => bytes.toString('base64'),
  base64nopad: (bytes) => bytes.toString('base64').replaceAll('=', ''),
  base64url: (bytes) => bytes.toString('base64url'),
  base64urlpad: (bytes) => bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_'),
}

function encoded(inner: fc.Arbitrary<Piece>): fc.Arbitrary<Piece> {
  return fc.tuple(fc.constantFrom(...Object.keys(encodings)), inner).map(([name, piece]) => ({
    source: `${name}(${piece.source})`,
    bytes: Buffer.from(encodings[name]?.(piece.bytes) ?? ''),
    parts: piece.parts,
  }))
}

function prefixed(inner: fc.Arbitrary<Piece>): fc.Arbitrary<Piece> {
  const kinds = fc.constantFrom(
    ['lp8', 1] as const,
    ['lp16', 2] as const,
    ['lp32', 4] as const,
    ['lp16le', 2] as const,
    ['lp32le', 4] as const,
    ['lpv', 0] as const,
  )
  const short = inner.filter((piece) => piece.bytes.length < 256)
  return fc.tuple(kinds, short).map(([[name, width], piece]) => {
    const length = lengthOf(name, width, piece.bytes.length)
    return {
      source: `${name}(${piece.source})`,
      bytes: Buffer.concat([length, piece.bytes]),
      parts: piece.parts,
    }
  })
}

function lengthOf(name: string, width: number, bytes: number): Buffer {
  if (name === 'lpv') return leb128(BigInt(bytes))
  const length = Buffer.alloc(width)
  if (name.endsWith('le')) length.writeUIntLE(bytes, 0, width)
  else length.writeUIntBE(bytes, 0, width)
  return length
}

/** A message in any order and with other fields, of which some are bytes and one an integer. */
function message(inner: fc.Arbitrary<Piece>): fc.Arbitrary<Piece> {
  const other = fc.constantFrom('2801', '2a0161', '31ffffffffffffffff', '2d00000000', '28ff01')
  const made = fc.record({
    pieces: fc.array(inner, { minLength: 1, maxLength: 2 }),
    others: fc.array(other),
    first: fc.boolean(),
  })
  return made.map(({ pieces, others, first }) => {
    const fields = pieces.map((piece, at) =>
      Buffer.concat([Buffer.of(((at + 1) << 3) | 2), leb128(BigInt(piece.bytes.length)), piece.bytes]),
    )
    const rest = Buffer.from(others.join(''), 'hex')
    return {
      source: `proto({${pieces.map((piece, at) => `${at + 1}: ${piece.source}`).join(', ')}, ...})`,
      bytes: Buffer.concat(first ? [rest, ...fields] : [...fields, rest]),
      parts: pieces.flatMap((piece) => piece.parts),
    }
  })
}

/** A text in lines. */
function lined(inner: fc.Arbitrary<Piece>): fc.Arbitrary<Piece> {
  const shapes = fc.record({
    width: fc.integer({ min: 1, max: 20 }),
    ended: fc.boolean(),
    mark: fc.constantFrom('\\n', '\\r\\n'),
  })
  return fc.tuple(shapes, inner).map(([{ width, ended, mark }, piece]) => {
    const text = piece.bytes.toString('latin1')
    const end = mark.replace('\\r', '\r').replace('\\n', '\n')
    const lines = text.match(new RegExp(`[^]{1,${width}}`, 'g')) ?? []
    return {
      source: `${ended ? 'lines' : 'wrap'}(${piece.source}, ${width}, break="${mark}")`,
      bytes: Buffer.from(lines.join(end) + (ended && lines.length > 0 ? end : ''), 'latin1'),
      parts: piece.parts,
    }
  })
}

const memberName = fc.stringMatching(/^[a-z]{1,6}$/)
const other = fc.json({ maxDepth: 2 })

/** A document in any order and with other members, whose strings hold texts of parts. */
function document(inner: fc.Arbitrary<Piece>): fc.Arbitrary<Piece> {
  const members = fc.uniqueArray(fc.tuple(memberName, encoded(inner)), {
    minLength: 1,
    maxLength: 2,
    selector: ([name]) => name,
  })
  const space = fc.constantFrom('', ' ', '\n  ')
  return fc
    .record({ members, others: fc.uniqueArray(other, { maxLength: 2 }), space, turned: fc.boolean() })
    .map((made) => {
      const written = [
        ...made.members.map(([name, piece]) => `"${name}":${made.space}"${piece.bytes.toString()}"`),
        ...made.others.map((value, at) => `"OTHER${at}"${made.space}:${value}`),
      ]
      const ordered = made.turned ? written.toReversed() : written
      return {
        source: `json({${made.members.map(([name, piece]) => `"${name}": ${piece.source}`).join(', ')}, ...})`,
        bytes: Buffer.from(`{${made.space}${ordered.join(`${made.space},`)}}${made.space}`),
        parts: made.members.flatMap(([, piece]) => piece.parts),
      }
    })
}

/** Fields whose length is known, one without in between, and texts with delimiters between them. */
function sequence(open: fc.Arbitrary<Piece>, text: fc.Arbitrary<Piece>): fc.Arbitrary<Piece> {
  const fixed = fc.array(fc.oneof(literal, skip, fixedPart, number, uuid), { maxLength: 3 }).map(joined)
  const before = fc.array(fc.oneof(literal, fixedPart, varint, number), { maxLength: 3 }).map(joined)
  const delimiter = fc
    .constantFrom(':', '.', '$', '::')
    .map((mark) => ({ source: `"${mark}"`, bytes: Buffer.from(mark), parts: [] }))
  const delimited = fc.array(fc.tuple(text, delimiter).map(joined), { maxLength: 2 }).map(joined)
  return fc
    .tuple(before, fixed, delimited, fc.oneof(open, text), fixed)
    .map((pieces) => joined(pieces.filter((piece) => piece.source !== '')))
}

const layoutAndValue: fc.Arbitrary<Piece> = fc.letrec<{ whole: Piece; open: Piece; text: Piece }>((tie) => ({
  text: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    decimal,
    encoded(openPart),
    encoded(tie('whole')),
    lined(encoded(tie('whole'))),
  ),
  open: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    openPart,
    tie('text'),
    document(tie('whole')),
    prefixed(tie('whole')),
    message(tie('whole')),
  ),
  whole: sequence(tie('open'), tie('text')),
})).whole

type Case = {
  readonly layout: Layout
  readonly value: Buffer
  readonly parts: ReadonlyMap<string, Buffer | bigint>
}

const cases: fc.Arbitrary<Case> = layoutAndValue
  .filter((piece) => piece.parts.length <= names.length)
  .map((piece) => {
    let at = 0
    const layout = compileLayout(piece.source.replace(/@/g, () => names[at++] ?? ''))
    return {
      layout,
      value: piece.bytes,
      parts: new Map(piece.parts.map((part, index) => [names[index] ?? '', part])),
    }
  })

/** Only errors of the catalogue come out; the result where there is none. */
function orMismatch<T>(make: () => T): T | undefined {
  try {
    return make()
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_MISMATCH') || isKvxError(error, 'LAYOUT_INVALID')) return undefined
    throw error
  }
}

test('finds the parts that were put in, and renders the same bytes again', () => {
  fc.assert(
    fc.property(cases, ({ layout, value, parts }) => {
      const found = layout.parse(value)
      for (const [name, part] of parts) {
        const same =
          typeof part === 'bigint' ? found.get(name) === part : part.equals(found.get(name) as Uint8Array)
        expect(same).toBe(true)
      }
      expect([...layout.partNames].toSorted()).toEqual([...parts.keys()].toSorted())
      expect(Buffer.from(layout.render(found)).equals(value)).toBe(true)
      expect(layout.fixedLength ?? value.length).toBe(value.length)
    }),
    { numRuns: 2000 },
  )
})

test('either refuses a damaged value or renders just that value again', () => {
  const damaged = fc.tuple(
    cases,
    fc.nat(),
    fc.integer({ min: 1, max: 255 }),
    fc.constantFrom('flip', 'cut', 'insert'),
  )
  fc.assert(
    fc.property(damaged, ([{ layout, value }, place, bits, kind]) => {
      const at = place % Math.max(1, value.length)
      const tail = value.subarray(kind === 'insert' ? at : at + 1)
      const changed = Buffer.concat([
        value.subarray(0, at),
        kind === 'cut' ? Buffer.alloc(0) : Buffer.of((value[at] ?? 0) ^ bits),
        tail,
      ])
      const parts = orMismatch(() => layout.parse(changed))
      if (parts !== undefined) expect(Buffer.from(layout.render(parts)).equals(changed)).toBe(true)
    }),
    { numRuns: 2000 },
  )
})

test('answers random bytes with a mismatch or with parts, and with nothing else', () => {
  fc.assert(
    fc.property(cases, fc.uint8Array({ maxLength: 200 }), ({ layout }, value) => {
      const parts = orMismatch(() => layout.parse(value))
      if (parts !== undefined) expect(Buffer.from(layout.render(parts)).equals(Buffer.from(value))).toBe(true)
    }),
    { numRuns: 2000 },
  )
})

test('never shows a byte of the value in a mismatch', () => {
  const secret = fc.stringMatching(/^[!-~]{8,40}$/)
  fc.assert(
    fc.property(cases, secret, ({ layout }, value) => {
      try {
        layout.parse(Buffer.from(value))
      } catch (error) {
        expect(JSON.stringify([String(error), error])).not.toContain(JSON.stringify(value).slice(1, -1))
      }
    }),
  )
})

test('answers random sources with LAYOUT_INVALID or with a layout, and with nothing else', () => {
  const words = fc.constantFrom(
    ...'( ) { } [ ] | , : = ... header( proto( lines( 1: sha256( key length= " \' 0x 0x01 "a" 12 nonce ct:3 tag hex( base64( json({ u8( {col} skip \\ \n é'.split(
      ' ',
    ),
  )
  const sources = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(words, { maxLength: 12 }).map((some) => some.join(' ')),
  )
  fc.assert(
    fc.property(sources, (source) => {
      orMismatch(() => compileLayout(source))
      orMismatch(() => compileTemplate(source))
      orMismatch(() => compileDerivation(source))
    }),
    { numRuns: 3000 },
  )
})

test('reads a long value in time that grows with its length', () => {
  const layout = compileLayout('"v1:" utf8(keyid) "::" hex(nonce:12) ":" base64(ct) "$" hex(tag:16)')
  const time = (size: number): number => {
    const value = Buffer.from(
      `v1:${':'.repeat(1)}k::${'0'.repeat(24)}:${'AAAA'.repeat(size)}$${'0'.repeat(32)}`,
    )
    const start = performance.now()
    expect(Buffer.from(layout.render(layout.parse(value))).equals(value)).toBe(true)
    return performance.now() - start
  }
  time(1000)
  expect(time(1_000_000)).toBeLessThan(5000)
})
