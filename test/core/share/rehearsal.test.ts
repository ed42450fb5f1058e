import { describe, expect, it } from 'vitest'
import { shareFaultOf } from '../../../src/core/share/faults.ts'
import { isWhole, splitShareTexts } from '../../../src/core/share/share-lines.ts'
import {
  decodeAnyShare,
  decodeShare,
  encodeCardLines,
  encodeShare,
} from '../../../src/core/share/share-text.ts'
import { readShare } from '../../../src/core/share/locate.ts'
import { bytesOf, vectorShare, vectorText } from './fixture.ts'

const share = { ...vectorShare(2), rehearsal: true } as const
const text = Buffer.from(encodeShare(share)).toString()

function faultOf(work: () => unknown): string | undefined {
  try {
    work()
  } catch (error) {
    return shareFaultOf(error)
  }
  return 'none'
}

describe('C38 the text of a share of a rehearsal', () => {
  it('begins with KVXTEST1, and who wants a share of a key refuses it by name', () => {
    expect(text).toMatch(/^kvxtest1[02-9ac-hj-np-z]{84}$/)
    for (const typed of [
      text,
      text.toUpperCase(),
      text.replaceAll(/(.{4})/g, '$1 '),
      `${text}x`,
      text.slice(0, 60),
    ]) {
      expect(faultOf(() => decodeShare(bytesOf(typed)))).toBe('REHEARSAL')
      expect(faultOf(() => readShare(bytesOf(typed)))).toBe('REHEARSAL')
    }
  })

  it('decodes for who checks it, and stays marked', () => {
    const read = decodeAnyShare(bytesOf(text))
    expect(read).toMatchObject({
      rehearsal: true,
      index: 2,
      setId: share.setId,
      checkValue: share.checkValue,
    })
    expect(read.point.equals(share.point)).toBe(true)
    expect(decodeAnyShare(bytesOf(vectorText(2))).rehearsal).toBeUndefined()
  })

  it('is no share when its beginning is changed, either way', () => {
    expect(faultOf(() => decodeShare(bytesOf(text.replace('kvxtest1', 'kvx1'))))).toBe('CHECKSUM')
    const dressed = vectorText(2).replace('KVX1', 'KVXTEST1')
    expect(faultOf(() => decodeAnyShare(bytesOf(dressed)))).toBe('CHECKSUM')
  })

  it('shows a wrong character', () => {
    const wrong = text.replace(/(.{50})./, (_, head: string) => `${head}${text[50] === 'q' ? 'p' : 'q'}`)
    expect(faultOf(() => readShare(bytesOf(wrong), 'check'))).toBe('CHECKSUM')
  })

  it('is printed in four lines, and found again among other text', () => {
    const card = Buffer.from(encodeCardLines(share)).toString()
    expect(
      card
        .trim()
        .split('\n')
        .map((line) => line.length),
    ).toEqual([32, 32, 32, 27])
    const texts = splitShareTexts(
      bytesOf(`kvx-key-share v1\nREHEARSAL: no key\n\n${card}\nThe four lines above.\n`),
    )
    expect(texts.map((one) => decodeAnyShare(one).index)).toEqual([2])
    expect(isWhole(bytesOf(text.slice(0, 91)))).toBe(false)
    expect(isWhole(bytesOf(text))).toBe(true)
  })
})
