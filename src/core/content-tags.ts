import { createCipheriv, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import type { Secret } from './secret.ts'

const tagLength = 16

/**
 * One GMAC (NIST SP 800-38D) for each numbered piece of content, under a key of this process alone: two looks at a
 * piece that agree saw the same bytes, and nothing of them is kept. It takes a tenth of the time of a hash, whose
 * collisions anybody may look for; here nobody has the key or sees a tag, so that the pieces' numbers are nonces
 * enough for both looks.
 */
export class ContentTags {
  readonly #key: KeyObject
  readonly #tags: Uint8Array

  private constructor(key: KeyObject, tags: Uint8Array) {
    this.#key = key
    this.#tags = tags
  }

  /** @param key 32 random bytes that are used for nothing else */
  static make(count: number, key: Secret): ContentTags {
    const shared = new Uint8Array(new SharedArrayBuffer(count * tagLength))
    return new ContentTags(
      key.lend((bytes) => createSecretKey(bytes)),
      shared,
    )
  }

  /** What makes the same tags in another thread: both write to one memory. */
  parts(): TagParts {
    return { key: this.#key, tags: this.#tags }
  }

  static of({ key, tags }: TagParts): ContentTags {
    return new ContentTags(key, tags)
  }

  /** How many pieces there are. */
  get count(): number {
    return this.#tags.length / tagLength
  }

  keep(index: number, content: Uint8Array): void {
    this.#tags.set(this.#tagOf(index, content), index * tagLength)
  }

  /** Whether a piece is the one that was kept under this number. */
  agrees(index: number, content: Uint8Array): boolean {
    const kept = this.#tags.subarray(index * tagLength, (index + 1) * tagLength)
    return timingSafeEqual(this.#tagOf(index, content), kept)
  }

  #tagOf(index: number, content: Uint8Array): Buffer {
    const nonce = Buffer.alloc(12)
    nonce.writeUInt32BE(index, 8)
    const mac = createCipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: tagLength })
    mac.setAAD(content)
    mac.final()
    return mac.getAuthTag()
  }
}

export type TagParts = { readonly key: KeyObject; readonly tags: Uint8Array }
