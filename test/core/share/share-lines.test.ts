import { describe, expect, it } from 'vitest'
import { letterTitle, splitShareTexts } from '../../../src/core/share/share-lines.ts'
import { decodeShare, encodeCardLines } from '../../../src/core/share/share-text.ts'
import { bytesOf, vectorShare, vectorText } from './fixture.ts'

const card = (index: number): string => Buffer.from(encodeCardLines(vectorShare(index))).toString()
const indicesOf = (text: string): readonly number[] =>
  splitShareTexts(bytesOf(text)).map((found) => decodeShare(found).index)
const letter = (index: number): string =>
  `${letterTitle}\nshare: ${index} of 5\nset: KVXDEM\n\n${card(index)}\nThe four lines above are your share.\n`

describe('several share texts', () => {
  it('C22 stand one a line, in four lines, with CR LF, with empty lines between, or all of this mixed', () => {
    expect(indicesOf(`${vectorText(1)}\n${vectorText(4)}\n`)).toEqual([1, 4])
    expect(indicesOf(`${card(2)}${card(3)}`)).toEqual([2, 3])
    expect(
      indicesOf(`\n${card(2)}\n\n${vectorText(5).toLowerCase()}\r\n${card(1).replaceAll('\n', '\r\n')}`),
    ).toEqual([2, 5, 1])
    expect(indicesOf('')).toEqual([])
  })

  it('are found in opened messages to custodians, whatever else these say', () => {
    expect(indicesOf(letter(3))).toEqual([3])
    expect(indicesOf(letter(3) + letter(1))).toEqual([3, 1])
  })

  it('stay apart when one of them is cut off, which is then told by its own check', () => {
    const texts = splitShareTexts(bytesOf(`${vectorText(1).slice(0, 80)}\n${vectorText(2)}\n`))
    expect(texts).toHaveLength(2)
    expect(() => decodeShare(texts[0] ?? new Uint8Array())).toThrow('80 of 88 characters')
    expect(decodeShare(texts[1] ?? new Uint8Array()).index).toBe(2)
  })

  it('are never passed over in silence: other text is handed on and refused as no share', () => {
    const texts = splitShareTexts(bytesOf('hello there\n'))
    expect(texts).toHaveLength(1)
    expect(() => decodeShare(texts[0] ?? new Uint8Array())).toThrow('does not begin with KVX1')
  })
})
