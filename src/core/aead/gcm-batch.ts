import { createCipheriv, timingSafeEqual, type Cipheriv, type KeyObject } from 'node:crypto'
import { gcmHash, masked, type GcmValue } from './gcm-value.ts'
import { Ghash } from './ghash.ts'

/**
 * AES-GCM of many short values under one key. OpenSSL encrypts the counter blocks of all of them in one call,
 * which costs what one value alone would.
 *
 * `node:crypto` has GCM itself, a call and an object a value; a run opens and seals wrapped keys by the million.
 * What is sealed here is opened by `node:crypto` before it counts (see prove-record.ts).
 */
export class GcmBatch {
  readonly #ecb: Cipheriv
  readonly #ghash = new Ghash()
  /** What a tag should be. */
  readonly #tag = new Uint8Array(16)
  #blocks = Buffer.alloc(0)

  constructor(key: KeyObject) {
    this.#ecb = createCipheriv(`aes-${(key.symmetricKeySize ?? 0) * 8}-ecb`, key, null)
    this.#ecb.setAutoPadding(false)
    const zero = this.#ecb.update(Buffer.alloc(16))
    this.#ghash.take(zero)
    zero.fill(0)
  }

  /** The plaintext of each, which the caller wipes; undefined where the tag of 16 bytes is another one. */
  open(values: readonly (GcmValue & { readonly tag: Uint8Array })[]): (Uint8Array | undefined)[] {
    const stream = this.#stream(values)
    const room = new Room(values, 0)
    let at = 0
    const opened = values.map((value) => {
      const isRight = timingSafeEqual(masked(gcmHash(this.#ghash, value, this.#tag), stream, at), value.tag)
      const plaintext = isRight ? xor(value.ct, stream, at + 16, room.take(value.ct.length)) : undefined
      at += blocksOf(value) * 16
      return plaintext
    })
    stream.fill(0)
    return opened
  }

  /** @param values whose `ct` is the plaintext */
  seal(values: readonly GcmValue[]): { readonly ct: Uint8Array; readonly tag: Uint8Array }[] {
    const stream = this.#stream(values)
    const room = new Room(values, 16)
    let at = 0
    const sealed = values.map((value) => {
      const ct = xor(value.ct, stream, at + 16, room.take(value.ct.length))
      const tag = masked(gcmHash(this.#ghash, { ct, aad: value.aad }, room.take(16)), stream, at)
      at += blocksOf(value) * 16
      return { ct, tag }
    })
    stream.fill(0)
    return sealed
  }

  /** For each value the block that masks its tag, then those that its text is added to. */
  #stream(values: readonly GcmValue[]): Buffer {
    const length = 16 * values.reduce((sum, value) => sum + blocksOf(value), 0)
    if (this.#blocks.length < length) this.#blocks = Buffer.allocUnsafeSlow(length)
    const blocks = this.#blocks.subarray(0, length)
    let at = 0
    for (const value of values) {
      const { nonce } = value
      for (let count = 1; count <= blocksOf(value); count++, at += 16) {
        for (let index = 0; index < 12; index++) blocks[at + index] = nonce[index] ?? 0
        // A short value has few blocks.
        blocks[at + 12] = 0
        blocks[at + 13] = 0
        blocks[at + 14] = 0
        blocks[at + 15] = count
      }
    }
    return this.#ecb.update(blocks)
  }

  wipe(): void {
    this.#ghash.wipe()
    this.#blocks.fill(0)
  }
}

function blocksOf({ ct }: GcmValue): number {
  return 1 + Math.ceil(ct.length / 16)
}

function xor(text: Uint8Array, stream: Uint8Array, from: number, into: Uint8Array): Uint8Array {
  for (let at = 0; at < text.length; at++) into[at] = (text[at] ?? 0) ^ (stream[from + at] ?? 0)
  return into
}

/** What a batch gives out, cut from one buffer outside of the heap: there the collector leaves no copies of it behind. */
class Room {
  readonly #bytes: ArrayBuffer
  #used = 0

  constructor(values: readonly GcmValue[], more: number) {
    this.#bytes = new ArrayBuffer(values.reduce((sum, { ct }) => sum + ct.length + more, 0))
  }

  take(length: number): Uint8Array {
    this.#used += length
    return new Uint8Array(this.#bytes, this.#used - length, length)
  }
}
