import { createSecretKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Aead, aeadNamed, prepareKey } from '../../../src/core/aead/aead.ts'
import { GcmBatch } from '../../../src/core/aead/gcm-batch.ts'
import { openShort } from '../../../src/core/aead/gcm-short.ts'
import { shortGcm } from '../../../src/core/aead/gcm-value.ts'
import { isKvxError } from '../../../src/core/errors.ts'
import { Secret } from '../../../src/core/secret.ts'

/*
 * Every case of Project Wycheproof for AES-GCM: counters that wrap, masks and hashes of special values, tags with one
 * bit or one word changed, nonces of unusual lengths.
 */

type Vector = {
  readonly tcId: number
  readonly comment: string
  readonly result: 'valid' | 'invalid' | 'acceptable'
} & Readonly<Record<'key' | 'iv' | 'aad' | 'msg' | 'ct' | 'tag', string>>

const file = join(import.meta.dirname, '../../vectors/wycheproof/aes-gcm.json')
const { tests } = JSON.parse(readFileSync(file, 'utf8')) as { readonly tests: readonly Vector[] }

const hex = (text: string): Buffer => Buffer.from(text, 'hex')
const shown = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString('hex')

/** A nonce of 12 bytes: that of every way. Others are for node:crypto alone. */
const usual = tests.filter(({ iv }) => iv.length === 24)
const unusual = tests.filter((one) => !usual.includes(one))
const aeadOf = ({ key }: Vector): Aead => aeadNamed(`aes-${key.length * 4}-gcm`)
const named = ({ tcId, comment, result }: Vector): string => `${tcId} ${comment} (${result})`
const opens = ({ result, msg }: Vector): string | undefined => (result === 'invalid' ? undefined : msg)

/** What each way makes of the bytes, the key's use apart. */
function openedOneByOne(vector: Vector, use?: 'few'): Uint8Array | undefined {
  const aead = aeadOf(vector)
  const key = prepareKey(aead, Secret.copy(hex(vector.key)), use)
  const sealed = { ct: hex(vector.ct), tag: hex(vector.tag) }
  return aead.open(key, hex(vector.iv), sealed, hex(vector.aad))
}

const batchValue = ({ iv, ct, aad, tag }: Vector) => ({
  nonce: hex(iv),
  ct: hex(ct),
  aad: hex(aad),
  tag: hex(tag),
})

test('there are cases of each kind', () => {
  const count = (from: readonly Vector[], wanted: string): number =>
    from.filter(({ result }) => result === wanted).length
  expect([tests.length, count(usual, 'valid'), count(usual, 'invalid')]).toEqual([256, 62, 81])
  expect(new Set(usual.map(({ key }) => key.length * 4))).toEqual(new Set([128, 192, 256]))
  expect(usual.every((one) => shortGcm(batchValue(one)))).toBe(true)
})

describe.each(usual.map((vector) => [named(vector), vector] as const))('%s', (_, vector) => {
  const key = hex(vector.key)
  const value = batchValue(vector)

  test('is opened, or refused, by every way', () => {
    const batch = new GcmBatch(createSecretKey(key))
    expect({
      one: shown(openedOneByOne(vector)),
      keyForFew: shown(openedOneByOne(vector, 'few')),
      short: shown(openShort(key, value, value.tag)),
      // Between two others, as it lies in a page.
      batch: batch.open([value, value, value]).map(shown),
    }).toEqual({
      one: opens(vector),
      keyForFew: opens(vector),
      short: opens(vector),
      batch: Array(3).fill(opens(vector)),
    })
  })

  test('is sealed to the same bytes by every way, or never to a wrong tag', () => {
    const aead = aeadOf(vector)
    const plain = { ...value, ct: hex(vector.msg) }
    const alone = aead.seal(prepareKey(aead, Secret.copy(key)), value.nonce, plain.ct, value.aad)
    const [first, second] = new GcmBatch(createSecretKey(key)).seal([plain, plain])
    for (const made of [alone, first, second]) {
      expect(shown(made?.ct)).toBe(vector.ct)
      expect(shown(made?.tag) === vector.tag).toBe(vector.result === 'valid')
    }
  })
})

/** Applications use nonces of 8 to 64 bytes; no key opens what has another. */
test.each(unusual.map((vector) => [named(vector), vector] as const))(
  'a nonce of another length: %s',
  (_, vector) => {
    const length = vector.iv.length / 2
    const open = (use?: 'few'): string | undefined => {
      try {
        return shown(openedOneByOne(vector, use))
      } catch (error) {
        return isKvxError(error) ? error.code : String(error)
      }
    }
    const expected = length >= 8 && length <= 64 ? opens(vector) : 'LAYOUT_MISMATCH'
    expect([open(), open('few')]).toEqual([expected, expected])
  },
)
