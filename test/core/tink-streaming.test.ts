import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { sha1 } from '@noble/hashes/legacy.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { describe, expect, it } from 'vitest'
import { isKvxError } from '../../src/core/errors.ts'
import { Secret } from '../../src/core/secret.ts'
import {
  aes256GcmHkdf1Mb,
  makeStreamHeader,
  parseStreamHeader,
  planSegments,
  renderStreamHeader,
  SegmentCipher,
  segmentCapacity,
  streamHeaderLength,
  type StreamHeader,
  type StreamingParameters,
} from '../../src/core/tink-streaming.ts'
import { openTinkStream } from '../vault/reference-decoder.ts'

type SmallVector = {
  readonly hash: 'sha1' | 'sha256'
  readonly derivedKeyLength: 16 | 32
  readonly segmentLength: number
  readonly key: string
  readonly plaintext: string
  readonly associatedData: string
  readonly ciphertext: string
}

type Vectors = {
  readonly small: readonly SmallVector[]
  readonly template: {
    readonly key: string
    readonly associatedData: string
    readonly answers: readonly {
      readonly plaintextLength: number
      readonly header: string
      readonly sha256: string
    }[]
  }
}

const file = join(import.meta.dirname, '../vectors/vault/tink-aes-gcm-hkdf-streaming.json')
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vectors
const hex = (text: string): Buffer => Buffer.from(text, 'hex')

type Stream = { readonly key: Buffer; readonly header: StreamHeader; readonly associatedData: Buffer }

function cipherOf(parameters: StreamingParameters, stream: Stream): SegmentCipher {
  return SegmentCipher.derive(parameters, Secret.copy(stream.key), stream)
}

function seal(parameters: StreamingParameters, stream: Stream, plaintext: Buffer): Buffer {
  const cipher = cipherOf(parameters, stream)
  const parts: Uint8Array[] = [renderStreamHeader(parameters, stream.header)]
  for (let at = 0, index = 0; ; index++) {
    const end = Math.min(plaintext.length, at + segmentCapacity(parameters, index))
    parts.push(cipher.seal(index, end === plaintext.length, plaintext.subarray(at, end)))
    if (end === plaintext.length) return Buffer.concat(parts)
    at = end
  }
}

function open(
  parameters: StreamingParameters,
  stream: Omit<Stream, 'header'>,
  bytes: Buffer,
): Buffer | undefined {
  const header = parseStreamHeader(parameters, bytes)
  const cipher = cipherOf(parameters, { ...stream, header })
  const plan = planSegments(parameters, bytes.length)
  const parts: Buffer[] = []
  for (let index = 0; index < plan.count; index++) {
    const { offset, length, isLast } = plan.at(index)
    const plaintext = cipher.open(index, isLast, bytes.subarray(offset, offset + length))
    if (plaintext === undefined) return undefined
    parts.push(plaintext)
  }
  return Buffer.concat(parts)
}

const tiny: StreamingParameters = { derivedKeyLength: 32, hash: sha256, segmentLength: 64 }
const stream: Stream = {
  key: randomBytes(32),
  header: makeStreamHeader(tiny, randomBytes),
  associatedData: Buffer.from('header of the file'),
}

describe('known answers of Tink', () => {
  it('seals to the bytes of tink-java and opens them, for every hash, key and segment size that it publishes', () => {
    for (const vector of vectors.small) {
      const { derivedKeyLength, segmentLength } = vector
      const hash = vector.hash === 'sha1' ? (sha1 as unknown as typeof sha256) : sha256
      const parameters = { derivedKeyLength, segmentLength, hash }
      const ciphertext = hex(vector.ciphertext)
      const known = {
        key: hex(vector.key),
        header: parseStreamHeader(parameters, ciphertext),
        associatedData: hex(vector.associatedData),
      }
      expect(seal(parameters, known, Buffer.from(vector.plaintext)).toString('hex')).toBe(vector.ciphertext)
      expect(open(parameters, known, ciphertext)?.toString()).toBe(vector.plaintext)
    }
  })

  it('seals to the bytes of tink-java with AES256_GCM_HKDF_1MB: empty, one byte, one full segment, one byte more', () => {
    const { key, associatedData, answers } = vectors.template
    for (const answer of answers) {
      const header = parseStreamHeader(aes256GcmHkdf1Mb, hex(answer.header))
      const known = { key: hex(key), header, associatedData: Buffer.from(associatedData) }
      const plaintext = Buffer.alloc(answer.plaintextLength)
      for (let i = 0; i < plaintext.length; i++) plaintext[i] = (i * 31 + (i >> 8) * 7 + (i >> 16)) % 256
      const sealed = seal(aes256GcmHkdf1Mb, known, plaintext)
      expect(createHash('sha256').update(sealed).digest('hex')).toBe(answer.sha256)
      expect(open(aes256GcmHkdf1Mb, known, sealed)?.equals(plaintext)).toBe(true)
    }
  })

  it('keeps the second implementation honest: it opens the same answers', () => {
    for (const vector of vectors.small) {
      const parameters = {
        hash: vector.hash,
        derived: vector.derivedKeyLength,
        segment: vector.segmentLength,
        key: hex(vector.key),
      }
      const opened = openTinkStream(parameters, hex(vector.associatedData), hex(vector.ciphertext))
      expect(opened.toString()).toBe(vector.plaintext)
    }
  })
})

describe('segments', () => {
  const lengths = [0, 1, 7, 8, 9, 55, 56, 57, 103, 104, 105, 1000]

  it('opens what it sealed at every length around a border, and a second implementation does too', () => {
    for (const length of lengths) {
      const plaintext = randomBytes(length)
      const sealed = seal(tiny, stream, plaintext)
      expect(open(tiny, stream, sealed)?.equals(plaintext), String(length)).toBe(true)
      const parameters = { hash: 'sha256', derived: 32, segment: 64, key: stream.key } as const
      expect(openTinkStream(parameters, stream.associatedData, sealed).equals(plaintext)).toBe(true)
      expect(planSegments(tiny, sealed.length).plaintextLength).toBe(length)
    }
  })

  it('refuses a flipped bit in every byte of header, ciphertext and tags', () => {
    const sealed = seal(tiny, stream, randomBytes(100))
    for (let at = 0; at < sealed.length; at++) {
      const changed = Buffer.from(sealed)
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8))
      let opened: Buffer | undefined
      try {
        opened = open(tiny, stream, changed)
      } catch (error) {
        expect(isKvxError(error, 'DAMAGED'), `byte ${at}`).toBe(true)
      }
      expect(opened, `byte ${at}`).toBeUndefined()
    }
  })

  it('refuses a stream that is cut off at any place, and one with bytes behind its end', () => {
    const sealed = seal(tiny, stream, randomBytes(100))
    const refused = (bytes: Buffer): boolean => {
      try {
        return open(tiny, stream, bytes) === undefined
      } catch (error) {
        return isKvxError(error, 'DAMAGED')
      }
    }
    for (let length = 0; length < sealed.length; length++)
      expect(refused(sealed.subarray(0, length))).toBe(true)
    for (const more of [1, 15, 16, 17, 64]) {
      expect(refused(Buffer.concat([sealed, randomBytes(more)]))).toBe(true)
    }
  })

  it('refuses a stream that ends with a full segment and lost the ones behind it', () => {
    const sealed = seal(tiny, stream, randomBytes(8 + 48 * 3))
    expect(open(tiny, stream, sealed)).toBeDefined()
    expect(open(tiny, stream, sealed.subarray(0, 64 * 3))).toBeUndefined()
  })

  it('refuses segments in another order, of another stream, under other associated data or another key', () => {
    const sealed = seal(tiny, stream, randomBytes(8 + 48 * 3))
    const part = (index: number): Buffer => sealed.subarray(index * 64, (index + 1) * 64)
    const swapped = Buffer.concat([part(0), part(2), part(1), part(3)])
    expect(open(tiny, stream, swapped)).toBeUndefined()
    const other = seal(
      tiny,
      { ...stream, header: makeStreamHeader(tiny, randomBytes) },
      randomBytes(8 + 48 * 3),
    )
    const mixed = Buffer.concat([part(0), other.subarray(64, 128), part(2), part(3)])
    expect(open(tiny, stream, mixed)).toBeUndefined()
    expect(
      open(tiny, { ...stream, associatedData: Buffer.from('header of another') }, sealed),
    ).toBeUndefined()
    expect(open(tiny, { ...stream, key: randomBytes(32) }, sealed)).toBeUndefined()
  })

  it('refuses a length byte that is not the header’s, so that no weaker parameters are taken', () => {
    const sealed = seal(tiny, stream, randomBytes(10))
    sealed[0] = 24
    expect(() => parseStreamHeader(tiny, sealed)).toThrow(/says that it has 24 bytes, not 40/)
    expect(streamHeaderLength(tiny)).toBe(40)
  })

  it('refuses a key that is shorter than the derived one', () => {
    expect(() => cipherOf(tiny, { ...stream, key: randomBytes(31) })).toThrow(/at least 32 are needed/)
  })

  it('draws a new salt and prefix for each stream', () => {
    const [one, other] = [makeStreamHeader(tiny, randomBytes), makeStreamHeader(tiny, randomBytes)]
    expect(Buffer.from(one.salt).equals(Buffer.from(other.salt))).toBe(false)
    expect(Buffer.from(one.noncePrefix).equals(Buffer.from(other.noncePrefix))).toBe(false)
  })
})
