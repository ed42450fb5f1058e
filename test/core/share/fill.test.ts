import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { shareFaultOf } from '../../../src/core/share/faults.ts'
import { fillUnreadable } from '../../../src/core/share/fill.ts'
import { decodeShare } from '../../../src/core/share/share-text.ts'
import { bytesOf, errorOf, vectorText } from './fixture.ts'

function without(text: string, places: readonly number[]): string {
  return text
    .split('')
    .map((sign, at) => (places.includes(at) ? '?' : sign))
    .join('')
}

describe('characters that cannot be read', () => {
  it('C5 are refused until a person agreed, and are counted', () => {
    const error = errorOf(() => decodeShare(bytesOf(without(vectorText(1), [30, 31]))))
    expect(shareFaultOf(error)).toBe('UNREADABLE')
    expect(error.message).toContain('2 characters')
    expect(error.details).toMatchObject({ line: 2, group: 2 })
  })

  it('C5 are worked out where there are up to 8 of them, wherever they stand', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.uniqueArray(fc.integer({ min: 0, max: 87 }), { minLength: 1, maxLength: 8 }),
        (index, places) => {
          const filled = fillUnreadable(bytesOf(without(vectorText(index), places)))
          expect(Buffer.from(filled.text).toString()).toBe(vectorText(index).toLowerCase())
          expect(filled.at).toEqual([...places].sort((one, other) => one - other))
        },
      ),
      { numRuns: 300 },
    )
  })

  it('C5 are worked out where 13 in a row are lost, at every place', () => {
    for (let from = 0; from <= 88 - 13; from++) {
      const places = Array.from({ length: 13 }, (_, at) => from + at)
      const filled = fillUnreadable(bytesOf(without(vectorText(2), places)))
      expect(Buffer.from(filled.text).toString()).toBe(vectorText(2).toLowerCase())
    }
  })

  it('C5 are given up where there are too many', () => {
    const scattered = [5, 12, 20, 28, 36, 44, 52, 60, 68]
    expect(shareFaultOf(errorOf(() => fillUnreadable(bytesOf(without(vectorText(1), scattered)))))).toBe(
      'UNREADABLE',
    )
    const run = Array.from({ length: 14 }, (_, at) => 40 + at)
    expect(shareFaultOf(errorOf(() => fillUnreadable(bytesOf(without(vectorText(1), run)))))).toBe(
      'UNREADABLE',
    )
  })

  it('C5 are not worked out when another character is wrong as well', () => {
    const text = vectorText(1).toLowerCase()
    for (const wrong of [8, 25, 70, 87]) {
      const damaged = text.slice(0, wrong) + (text[wrong] === 'q' ? 'p' : 'q') + text.slice(wrong + 1)
      expect(shareFaultOf(errorOf(() => fillUnreadable(bytesOf(without(damaged, [40, 41, 60])))))).toBe(
        'CHECKSUM',
      )
    }
  })
})
