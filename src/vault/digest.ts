import { createHash, webcrypto } from 'node:crypto'

/** So many pieces are hashed at once, beside the work of the main thread. */
const inFlight = 2

/**
 * SHA-256 over the SHA-256 of each piece. Both sides of a comparison take the same pieces: the segments of one
 * format. Node hashes pieces on its thread pool, where it copies them and cleanses the copies.
 */
export class PieceDigest {
  readonly #whole = createHash('sha256')
  readonly #waiting: Promise<ArrayBuffer>[] = []

  /** The piece may be changed once this has returned; waiting for it holds back a fast source. */
  async add(piece: Buffer): Promise<void> {
    // Segments lie in buffers of their own, never in shared memory.
    const digest = webcrypto.subtle.digest('SHA-256', piece)
    digest.catch(() => undefined) // who waits for it hears of it
    this.#waiting.push(digest)
    if (this.#waiting.length > inFlight) await this.#settleFirst()
  }

  async finish(): Promise<Buffer> {
    while (this.#waiting.length > 0) await this.#settleFirst()
    return this.#whole.digest()
  }

  async #settleFirst(): Promise<void> {
    const first = this.#waiting.shift()
    if (first !== undefined) this.#whole.update(Buffer.from(await first))
  }
}
