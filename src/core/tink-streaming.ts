import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { KvxError } from './errors.ts'
import type { Secret } from './secret.ts'

/**
 * Tink's AES-GCM-HKDF streaming AEAD (developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming):
 *
 *     header = u8 header length | salt | nonce prefix[7]
 *     segment key = HKDF(ikm = key, salt, info = associated data)
 *     segment i = AES-GCM(segment key, nonce = prefix | u32be i | u8 (last ? 1 : 0), no associated data)
 *
 * Ciphertext segments have one size; the first is shorter by the header, the last by what is missing. A stream
 * has at least one segment, and none but the first may hold no plaintext. Here are single segments and sizes;
 * who reads and writes files puts them in order.
 */
export type StreamingParameters = {
  /** Of the AES key and of the salt, in bytes. */
  readonly derivedKeyLength: 16 | 32
  /** Of HKDF: noble's, which leaves no copy of the key behind. */
  readonly hash: typeof sha256
  /** Of a full ciphertext segment with its tag, in bytes. */
  readonly segmentLength: number
}

/** Tink's template AES256_GCM_HKDF_1MB. */
export const aes256GcmHkdf1Mb: StreamingParameters = {
  derivedKeyLength: 32,
  hash: sha256,
  segmentLength: 1_048_576,
}

const tagLength = 16
const noncePrefixLength = 7
/** The segment's number is an unsigned integer of four bytes. */
const maxSegments = 2 ** 32

/** The random bytes that a stream begins with. They are public and must be new for each stream. */
export type StreamHeader = { readonly salt: Uint8Array; readonly noncePrefix: Uint8Array }

/** 24 or 40 bytes. */
export function streamHeaderLength(parameters: StreamingParameters): number {
  return 1 + parameters.derivedKeyLength + noncePrefixLength
}

/** @throws TypeError for a salt or prefix of another length: a bug of the caller */
export function renderStreamHeader(parameters: StreamingParameters, header: StreamHeader): Buffer {
  const { salt, noncePrefix } = header
  if (salt.length !== parameters.derivedKeyLength || noncePrefix.length !== noncePrefixLength) {
    throw new TypeError('salt or nonce prefix has another length than the parameters say')
  }
  return Buffer.concat([Buffer.of(streamHeaderLength(parameters)), salt, noncePrefix])
}

/** A new header from as many random bytes as it takes. */
export function makeStreamHeader(
  parameters: StreamingParameters,
  random: (length: number) => Uint8Array,
): StreamHeader {
  return { salt: random(parameters.derivedKeyLength), noncePrefix: random(noncePrefixLength) }
}

/** @throws DAMAGED for too few bytes, or a first byte that is not the header's length */
export function parseStreamHeader(parameters: StreamingParameters, bytes: Uint8Array): StreamHeader {
  const length = streamHeaderLength(parameters)
  if (bytes.length < length) {
    throw new KvxError('DAMAGED', `the header of the body needs ${length} bytes and has ${bytes.length}`)
  }
  if (bytes[0] !== length) {
    throw new KvxError(
      'DAMAGED',
      `the header of the body says that it has ${bytes[0] ?? 0} bytes, not ${length}`,
    )
  }
  return {
    salt: bytes.slice(1, 1 + parameters.derivedKeyLength),
    noncePrefix: bytes.slice(1 + parameters.derivedKeyLength, length),
  }
}

/** Plaintext that a full segment holds. */
export function segmentCapacity(parameters: StreamingParameters, index: number): number {
  return parameters.segmentLength - (index === 0 ? streamHeaderLength(parameters) : 0) - tagLength
}

/** Where the segments of a stream of known length lie. Offsets count from the stream's first byte. */
export type SegmentPlan = {
  readonly count: number
  /** In bytes: all segments without their tags. */
  readonly plaintextLength: number
  at(index: number): { readonly offset: number; readonly length: number; readonly isLast: boolean }
}

/**
 * @param streamLength of header and segments together, in bytes
 * @throws DAMAGED for a length that no stream has: it was cut or extended
 */
export function planSegments(parameters: StreamingParameters, streamLength: number): SegmentPlan {
  const { segmentLength } = parameters
  const header = streamHeaderLength(parameters)
  const count = Math.max(1, Math.ceil(streamLength / segmentLength))
  const last = streamLength - (count === 1 ? header : (count - 1) * segmentLength)
  if (last < tagLength || (count > 1 && last === tagLength)) {
    throw new KvxError('DAMAGED', `no body has a length of ${streamLength} bytes: it was cut off or extended`)
  }
  if (count > maxSegments) throw new KvxError('DAMAGED', 'the body has more segments than can be numbered')
  return {
    count,
    plaintextLength: streamLength - header - count * tagLength,
    at: (index) => {
      const offset = index === 0 ? header : index * segmentLength
      return {
        offset,
        length: Math.min((index + 1) * segmentLength, streamLength) - offset,
        isLast: index === count - 1,
      }
    },
  }
}

/** Node gives a new buffer for each piece of this length. */
const step = 65_536

/**
 * Gives the memory of a piece back at once, where the next piece finds it in the processor's cache: left to the
 * collector, new pages for each piece take twice as long as the cipher.
 */
function release(piece: Buffer): void {
  if (piece.length === piece.buffer.byteLength && piece.buffer instanceof ArrayBuffer)
    piece.buffer.transfer(0)
}

function room(into: Buffer | undefined, length: number): Buffer {
  return into?.subarray(0, length) ?? Buffer.allocUnsafeSlow(length)
}

export type CipherParts = {
  readonly algorithm: 'aes-128-gcm' | 'aes-256-gcm'
  readonly noncePrefix: Uint8Array
  readonly key: KeyObject
}

/** Seals and opens the segments of one stream. `wipe` ends its use. */
export class SegmentCipher {
  readonly #algorithm: 'aes-128-gcm' | 'aes-256-gcm'
  readonly #noncePrefix: Uint8Array
  #key: KeyObject | undefined

  private constructor(algorithm: 'aes-128-gcm' | 'aes-256-gcm', noncePrefix: Uint8Array, key: KeyObject) {
    this.#algorithm = algorithm
    this.#noncePrefix = noncePrefix
    this.#key = key
  }

  /**
   * Derives the key of this stream.
   * @param key at least as long as the derived key
   * @throws KEY_MALFORMED for a shorter one
   */
  static derive(
    parameters: StreamingParameters,
    key: Secret,
    stream: { readonly header: StreamHeader; readonly associatedData: Uint8Array },
  ): SegmentCipher {
    const { derivedKeyLength, hash } = parameters
    if (key.length < derivedKeyLength) {
      throw new KvxError(
        'KEY_MALFORMED',
        `the key has ${key.length} bytes, at least ${derivedKeyLength} are needed`,
      )
    }
    const { salt, noncePrefix } = stream.header
    const derived = key.lend((bytes) => hkdf(hash, bytes, salt, stream.associatedData, derivedKeyLength))
    try {
      const algorithm = derivedKeyLength === 32 ? 'aes-256-gcm' : 'aes-128-gcm'
      return new SegmentCipher(algorithm, noncePrefix, createSecretKey(derived))
    } finally {
      derived.fill(0)
    }
  }

  /** What makes the same cipher in another thread. The key is a handle, in a message as well, and never bytes. */
  parts(): CipherParts {
    return { algorithm: this.#algorithm, noncePrefix: this.#noncePrefix, key: this.#usable() }
  }

  static of({ algorithm, noncePrefix, key }: CipherParts): SegmentCipher {
    return new SegmentCipher(algorithm, noncePrefix, key)
  }

  /**
   * Ciphertext and tag.
   * @param into is used for them where it is given: {@link SegmentCipher} makes no large buffers of its own then
   */
  seal(index: number, isLast: boolean, plaintext: Uint8Array, into?: Buffer): Buffer {
    const options = { authTagLength: tagLength }
    const cipher = createCipheriv(this.#algorithm, this.#usable(), this.#nonce(index, isLast), options)
    const sealed = room(into, plaintext.length + tagLength)
    for (let at = 0; at < plaintext.length; at += step) {
      const piece = cipher.update(plaintext.subarray(at, at + step))
      sealed.set(piece, at)
      release(piece)
    }
    cipher.final()
    sealed.set(cipher.getAuthTag(), plaintext.length)
    return sealed
  }

  /**
   * The plaintext, which the caller wipes, or undefined when key, associated data, number, last flag, ciphertext
   * and tag don't belong together. Plaintext that was not verified is wiped and never returned.
   * @param into as for `seal`
   */
  open(index: number, isLast: boolean, sealed: Uint8Array, into?: Buffer): Buffer | undefined {
    const length = sealed.length - tagLength
    if (length < 0) return undefined
    const options = { authTagLength: tagLength }
    const decipher = createDecipheriv(this.#algorithm, this.#usable(), this.#nonce(index, isLast), options)
    decipher.setAuthTag(sealed.subarray(length))
    const plaintext = room(into, length)
    for (let at = 0; at < length; at += step) {
      const piece = decipher.update(sealed.subarray(at, Math.min(at + step, length)))
      plaintext.set(piece, at)
      piece.fill(0)
      release(piece)
    }
    try {
      decipher.final()
      return plaintext
    } catch {
      plaintext.fill(0)
      return undefined
    }
  }

  /** Ends the use of the key; OpenSSL cleanses its copy when the collector frees it. */
  wipe(): void {
    this.#key = undefined
  }

  #usable(): KeyObject {
    if (this.#key === undefined) throw new TypeError('the cipher was wiped already')
    return this.#key
  }

  #nonce(index: number, isLast: boolean): Buffer {
    const nonce = Buffer.alloc(12)
    nonce.set(this.#noncePrefix)
    nonce.writeUInt32BE(index, noncePrefixLength)
    nonce[11] = isLast ? 1 : 0
    return nonce
  }
}
