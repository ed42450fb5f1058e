import { inspect } from 'node:util'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { feed, residueAfterPrefix, wordOf } from '../../../src/core/share/bch.ts'
import { shareFaultOf } from '../../../src/core/share/faults.ts'
import { multiply } from '../../../src/core/share/gf32.ts'
import { readShare } from '../../../src/core/share/locate.ts'
import {
  decodeShare,
  encodeCardLines,
  encodeShare,
  shareDigest,
  xOf,
} from '../../../src/core/share/share-text.ts'
import { Secret } from '../../../src/core/secret.ts'
import { alphabet } from '../../../src/core/share/gf32.ts'
import { bytesOf, errorOf, forged, longestLeak, textOf, vectors, vectorShare, vectorText } from './fixture.ts'

const letters = alphabet.toString()
/** BIP-93's published strings: vectors 1, 2 and 3. */
const codex32 = [
  'ms10testsxxxxxxxxxxxxxxxxxxxxxxxxxx4nzvca9cmczlw',
  'MS12NAMEA320ZYXWVUTSRQPNMLKJHGFEDCAXRPP870HKKQRM',
  'MS12NAMECACDEFGHJKLMNPQRSTUVWXYZ023FTR2GDZMPY6PN',
  'MS12NAMEDLL4F8JLH4E5VDVULDLFXU2JHDNLSM97XVENRXEG',
  'MS12NAMES6XQGUZTTXKEQNJSJZV4JV3NZ5K3KWGSPHUH6EVW',
  'ms13casha320zyxwvutsrqpnmlkjhgfedca2a8d0zehn8a0t',
  'ms13cashcacdefghjklmnpqrstuvwxyz023949xq35my48dr',
  'ms13cashd0wsedstcdcts64cd7wvy4m90lm28w4ffupqs7rm',
]

const number = (word: Uint8Array): bigint => word.reduce((sum, value) => (sum << 5n) | BigInt(value), 0n)

describe('the checksum', () => {
  it.each(codex32)('C2 leaves the residue of BIP-93 for its own string %s', (text) => {
    const residue = residueAfterPrefix('ms')
    feed(residue, wordOf(text.toLowerCase().slice(3)))
    expect(residue).toEqual(wordOf('secretshare32'))
  })

  it('C2 begins where BIP-93 begins, and has its five constants as products of the first', () => {
    expect(number(residueAfterPrefix('ms'))).toBe(0x23181b3n)
    expect(number(residueAfterPrefix('kvx'))).toBe(0x8c6302ed8n)
    expect(number(wordOf('keksharekvx32'))).toBe(0x16cda17e8f3661a2an)
    const published = [
      0x19dc500ce73fde210n,
      0x1bfae00def77fe529n,
      0x1fbd920fffe7bee52n,
      0x1739640bdeee3fdadn,
      0x07729a039cfc75f5an,
    ]
    const first = Array.from({ length: 13 }, (_, at) =>
      Number((0x19dc500ce73fde210n >> BigInt(60 - 5 * at)) & 31n),
    )
    const products = [1, 2, 4, 8, 16].map((times) =>
      Uint8Array.from(first, (value) => multiply(value, times)),
    )
    expect(products.map(number)).toEqual(published)
  })
})

describe('a share text', () => {
  it.each(vectors.shares)('C1 is that of the published vector $i, both ways', (vector) => {
    const share = decodeShare(bytesOf(vector.text))
    expect(share).toMatchObject({
      threshold: vectors.k,
      of: vectors.n,
      index: vector.i,
      setId: vectors.setId,
      checkValue: vectors.kcv.toUpperCase(),
    })
    expect(xOf(share)).toBe(vector.x)
    expect(share.point.lend((bytes) => bytes.subarray(0, 32).toString('hex'))).toBe(vector.y)
    expect(textOf(share).toUpperCase()).toBe(vector.text)
    expect(shareDigest(share)).toBe(vector.digest)
  })

  it.each(vectors.invalid)('C1 is refused for $why with the code $code', ({ code, text }) => {
    const error = errorOf(() => decodeShare(bytesOf(text)))
    expect(error.code).toBe('DAMAGED')
    expect(error.exit).toBe(5)
    expect(shareFaultOf(error)).toBe(code)
  })

  it('C1 survives the way to text and back with every number, set and point', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 32 }).chain((of) =>
          fc.record({
            of: fc.constant(of),
            threshold: fc.integer({ min: 2, max: of }),
            index: fc.integer({ min: 1, max: of }),
            setId: fc
              .array(fc.constantFrom(...letters.split('')), { minLength: 6, maxLength: 6 })
              .map((s) => s.join('')),
            check: fc.uint8Array({ minLength: 5, maxLength: 5 }),
            y: fc.uint8Array({ minLength: 32, maxLength: 32 }),
            x: fc.integer({ min: 1, max: 255 }),
          }),
        ),
        ({ y, x, check, ...head }) => {
          const checkValue = Buffer.from(check).toString('hex').toUpperCase()
          const share = { ...head, checkValue, point: Secret.take(Uint8Array.of(...y, x)) }
          const read = decodeShare(encodeShare(share))
          expect({ ...read, point: undefined }).toEqual({ ...share, point: undefined })
          expect(read.point.equals(share.point)).toBe(true)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('C22 is the same in lower case, in groups, with dashes, in four numbered lines and with CR', () => {
    const share = vectorShare(2)
    const text = vectorText(2)
    const groups = text.match(/.{4}/g) ?? []
    const card = Buffer.from(encodeCardLines(share)).toString()
    const forms = [
      text.toLowerCase(),
      groups.join(' '),
      groups.join('-'),
      groups.join(' - '),
      groups.join('\u00a0'),
      groups.join('\u2013'),
      `\ufeff${groups.join('.')}\r`,
      card,
      card.replaceAll('\n', '\r\n'),
      card.replaceAll('\n', '\r'),
      card.replaceAll(/^(\d) /gm, '$1:'),
      card.replaceAll(/^\d {2}/gm, ''),
      groups.join('\n'),
    ]
    for (const form of forms) expect(decodeShare(bytesOf(form)).point.equals(share.point), form).toBe(true)
  })

  it('C22 is printed as four numbered lines of 6, 6, 6 and 4 groups', () => {
    expect(Buffer.from(encodeCardLines(vectorShare(1))).toString()).toBe(
      '1  KVX1 QZYQ KVXD EM2Z 35V8 T609\n2  T7QT 2LR6 8ZRP QNC0 MMR8 88NE\n3  NLVE ATCF 42EF MGQE PXKT 4XR2\n4  Y3Z7 PM57 WWSG QX7P\n',
    )
  })

  it('says how many characters are missing or too many', () => {
    const text = vectorText(1)
    expect(errorOf(() => decodeShare(bytesOf(text.slice(0, -3)))).message).toContain(
      '85 of 88 characters: 3 missing',
    )
    expect(errorOf(() => decodeShare(bytesOf(`${text}QQ`))).message).toContain(
      '90 of 88 characters: 2 too many',
    )
    expect(shareFaultOf(errorOf(() => decodeShare(bytesOf(''))))).toBe('PREFIX')
  })

  it('C4 names the place of a character that no share has, and what it may be, without changing anything', () => {
    const text = vectorText(1)
    for (const [sign, advice] of [
      ['B', 'B is often 8'],
      ['o', 'O is often 0'],
      ['I', 'I is often L'],
      ['1', '1 is often L'],
      ['é', undefined],
    ] as const) {
      const error = errorOf(() => decodeShare(bytesOf(`${text.slice(0, 44)}${sign}${text.slice(45)}`)))
      expect(error.details).toMatchObject({ fault: 'CHARSET', line: 2, group: 6 })
      if (advice !== undefined) expect(error.hint).toContain(advice)
    }
  })

  it('C9 refuses a forged x = 0 before anything is combined', () => {
    const share = forged(vectorShare(1), (point) => point.set([0], 32))
    const error = errorOf(() => decodeShare(encodeShare(share)))
    expect(shareFaultOf(error)).toBe('FIELD')
    expect(error.message).toContain('forged')
  })
})

const wrongCharacters = fc
  .record({
    index: fc.integer({ min: 1, max: 5 }),
    at: fc.uniqueArray(fc.integer({ min: 4, max: 87 }), { minLength: 1, maxLength: 8 }),
    shifts: fc.array(fc.integer({ min: 1, max: 31 }), { minLength: 8, maxLength: 8 }),
  })
  .map(({ index, at, shifts }) => {
    const signs = vectorText(index).toLowerCase().split('')
    at.forEach((place, n) => {
      const value = letters.indexOf(signs[place] ?? '')
      signs[place] = letters.charAt((value + (shifts[n] ?? 1)) % 32)
    })
    return { text: signs.join(''), at: at.sort((one, other) => one - other), index }
  })

describe('damage', () => {
  it('C3 of 1 to 8 characters is always refused', () => {
    fc.assert(
      fc.property(wrongCharacters, ({ text }) => {
        expect(shareFaultOf(errorOf(() => decodeShare(bytesOf(text))))).toBe('CHECKSUM')
      }),
      { numRuns: 10_000 },
    )
  })

  it('C3 by swapped groups, swapped lines and swapped neighbours is always refused', () => {
    const text = vectorText(3)
    const swap = (from: number, to: number, size: number): string => {
      const signs = text.split('')
      const one = signs.slice(from, from + size)
      signs.splice(from, size, ...signs.slice(to, to + size))
      signs.splice(to, size, ...one)
      return signs.join('')
    }
    const swapped = new Set<string>()
    for (let one = 4; one < 88; one += 4)
      for (let two = one + 4; two < 88; two += 4) swapped.add(swap(one, two, 4))
    for (let at = 4; at < 87; at++) swapped.add(swap(at, at + 1, 1))
    swapped.add(swap(24, 48, 24))
    swapped.delete(text)
    expect(swapped.size).toBeGreaterThan(250)
    for (const damaged of swapped) {
      expect(shareFaultOf(errorOf(() => decodeShare(bytesOf(damaged))))).toBe('CHECKSUM')
    }
    const lines = [text.slice(0, 24), text.slice(24, 48), text.slice(48, 72), text.slice(72)]
    const order = [lines[1], lines[0], lines[2], lines[3]].join('\n')
    expect(shareFaultOf(errorOf(() => decodeShare(bytesOf(order))))).toBe('PREFIX')
  })

  it('C3 by the head of one share with the tail of another is always refused', () => {
    for (let cut = 8; cut < 80; cut++) {
      const mixed = vectorText(1).slice(0, cut) + vectorText(2).slice(cut)
      expect(shareFaultOf(errorOf(() => decodeShare(bytesOf(mixed)))), `cut ${cut}`).toBe('CHECKSUM')
    }
  })

  it('C4 of up to 3 characters is located to line and group', () => {
    const begun = performance.now()
    let count = 0
    fc.assert(
      fc.property(wrongCharacters, ({ text, at }) => {
        fc.pre(at.length <= 3)
        count++
        const places = [
          ...new Set(at.map((place) => `${Math.floor(place / 24) + 1}.${Math.floor((place % 24) / 4) + 1}`)),
        ]
        const error = errorOf(() => readShare(bytesOf(text)))
        expect(error.details['places']).toEqual(places)
        expect(error.message).toContain(`line ${places[0]?.[0] ?? ''}, group ${places[0]?.[2] ?? ''}`)
      }),
      { numRuns: 40 },
    )
    expect((performance.now() - begun) / count).toBeLessThan(1000)
  })

  it('C4 of more than 3 characters is not given a place', () => {
    const text = vectorText(1).toLowerCase()
    for (let seed = 0; seed < 5; seed++) {
      const signs = text.split('')
      for (let step = 0; step < 6; step++) {
        const place = 4 + ((seed * 17 + step * 13) % 84)
        signs[place] = letters.charAt((letters.indexOf(signs[place] ?? '') + 5 + seed) % 32)
      }
      const error = errorOf(() => readShare(bytesOf(signs.join(''))))
      expect(error.details).toEqual({ fault: 'CHECKSUM' })
    }
  })

  it('C6 is reported without 8 characters of the share in a row, in any form of the error', () => {
    fc.assert(
      fc.property(wrongCharacters, fc.integer({ min: 0, max: 5 }), ({ text, index }, kind) => {
        const forms = [
          text,
          text.slice(2),
          text.slice(0, 60),
          text.replace(/.$/, 'b'),
          `${text}zz`,
          `${text.slice(0, 50)}?`,
        ]
        const entered = forms[kind] ?? text
        const error = errorOf(() => decodeShare(bytesOf(entered)))
        const said = [
          error.message,
          error.hint,
          error.stack,
          inspect(error, { depth: 9 }),
          JSON.stringify(error),
        ]
        for (const part of said) {
          expect(longestLeak(part ?? '', entered)).toBeLessThan(8)
          expect(longestLeak(part ?? '', vectorText(index))).toBeLessThan(8)
        }
      }),
      { numRuns: 300 },
    )
  })
})
