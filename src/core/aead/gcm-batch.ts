import { createCipheriv, timingSafeEqual, type Cipheriv, type KeyObject } from 'node:crypto'
import { Ghash } from './ghash.ts'

/** What GCM takes to open a value, or with the plaintext as `ct` and without a tag to seal it. */
export type GcmValue = { readonly nonce: Uint8Array; readonly ct: Uint8Array; readonly aad: Uint8Array }

/** Longer ones are faster one by one: what a single call costs besides its bytes does not count there. */
const longest = 512

/**
 * AES-GCM of many short values under one key. OpenSSL encrypts the counter blocks of all of them in one call,
 * which costs what one value alone would.
 *
 * `node:crypto` has GCM itself, a call and an object a value; a run opens and seals wrapped keys by the million.
 * What is sealed here is opened by `node:crypto` before it counts (see prove-record.ts).
 */
export class GcmBatch {
  readonly #ecb: Cipheriv
  readonly #ghash: Ghash
  #blocks = Buffer.alloc(0)

  constructor(key: KeyObject) {
    this.#ecb = createCipheriv(`aes-${(key.symmetricKeySize ?? 0) * 8}-ecb`, key, null)
    this.#ecb.setAutoPadding(false)
    const zero = this.#ecb.update(Buffer.alloc(16))
    this.#ghash = new Ghash(zero)
    zero.fill(0)
  }

  static takes({ nonce, ct, aad }: GcmValue): boolean {
    return nonce.length === 12 && ct.length <= longest && aad.length <= longest
  }

  /** The plaintext of each, which the caller wipes; undefined where the tag of 16 bytes is another one. */
  open(values: readonly (GcmValue & { readonly tag: Uint8Array })[]): (Uint8Array | undefined)[] {
    const stream = this.#stream(values)
    let at = 0
    const opened = values.map((value) => {
      const mask = stream.subarray(at, at + 16)
      const isRight = timingSafeEqual(this.#tag(value, mask), value.tag)
      const plaintext = isRight ? xor(value.ct, stream, at + 16) : undefined
      at += blocksOf(value) * 16
      return plaintext
    })
    stream.fill(0)
    return opened
  }

  /** @param values whose `ct` is the plaintext */
  seal(values: readonly GcmValue[]): { readonly ct: Uint8Array; readonly tag: Uint8Array }[] {
    const stream = this.#stream(values)
    let at = 0
    const sealed = values.map((value) => {
      const ct = xor(value.ct, stream, at + 16)
      const tag = this.#tag({ ...value, ct }, stream.subarray(at, at + 16))
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
      for (let count = 1; count <= blocksOf(value); count++) {
        blocks.set(value.nonce, at)
        blocks.writeUInt32BE(count, at + 12)
        at += 16
      }
    }
    return this.#ecb.update(blocks)
  }

  #tag({ ct, aad }: GcmValue, mask: Uint8Array): Uint8Array {
    const ghash = this.#ghash
    ghash.reset()
    ghash.update(aad)
    ghash.update(ct)
    ghash.block(0, aad.length * 8, 0, ct.length * 8)
    const tag = new Uint8Array(16)
    for (let at = 0; at < 16; at++) {
      tag[at] = (mask[at] ?? 0) ^ ((ghash.state[at >> 2] ?? 0) >>> (24 - 8 * (at & 3)))
    }
    return tag
  }

  wipe(): void {
    this.#ghash.wipe()
    this.#blocks.fill(0)
  }
}

function blocksOf({ ct }: GcmValue): number {
  return 1 + Math.ceil(ct.length / 16)
}

function xor(text: Uint8Array, stream: Uint8Array, from: number): Uint8Array {
  const made = new Uint8Array(text.length)
  for (let at = 0; at < text.length; at++) made[at] = (text[at] ?? 0) ^ (stream[from + at] ?? 0)
  return made
}
