import { inspect } from 'node:util'
import { timingSafeEqual } from 'node:crypto'

const masked = '[secret]'

const slabSize = 16_384
const largestInSlab = 256
let slab = Buffer.alloc(0)
let used = 0

/** Room for short secrets is cut from one buffer: a run holds a DEK a record, and a buffer costs more than opening it. */
function allocate(size: number): Buffer {
  if (size > largestInSlab) return Buffer.allocUnsafeSlow(size)
  if (used + size > slab.length) {
    slab = Buffer.allocUnsafeSlow(slabSize)
    used = 0
  }
  used += size
  return slab.subarray(used - size, used)
}

/**
 * Key material or plaintext that cannot be printed. The bytes are lent to a function and wiped on request.
 *
 * Every textual form (`String()`, templates, JSON, `util.inspect`) says `[secret]`. The bytes lie in a buffer
 * that holds secrets alone, outside Node's pool. Wiping overwrites this copy; JavaScript gives no guarantee about others.
 */
export class Secret {
  readonly #bytes: Buffer
  #wiped = false

  private constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Copies `bytes` and overwrites the original with zeros. */
  static take(bytes: Uint8Array): Secret {
    const secret = Secret.copy(bytes)
    bytes.fill(0)
    return secret
  }

  /** Copies `bytes` and leaves the original as it is. */
  static copy(bytes: Uint8Array): Secret {
    const own = allocate(bytes.length)
    own.set(bytes)
    return new Secret(own)
  }

  /** Length in bytes. */
  get length(): number {
    return this.#bytes.length
  }

  /**
   * Lends the bytes for the time of the call. The callee must neither keep nor change them.
   * @throws TypeError when the secret was wiped: that is a bug of the caller.
   */
  lend<T>(use: (bytes: Buffer) => T): T {
    if (this.#wiped) throw new TypeError('the secret was wiped already')
    return use(this.#bytes)
  }

  /** Compares in constant time for equal lengths. */
  equals(other: Secret): boolean {
    return this.lend((own) =>
      other.lend((theirs) => own.length === theirs.length && timingSafeEqual(own, theirs)),
    )
  }

  /** Overwrites the bytes with zeros. May be called more than once. */
  wipe(): void {
    this.#bytes.fill(0)
    this.#wiped = true
  }

  toString(): string {
    return masked
  }

  toJSON(): string {
    return masked
  }

  [Symbol.toPrimitive](): string {
    return masked
  }

  [inspect.custom](): string {
    return masked
  }
}
