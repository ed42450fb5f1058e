import { inspect } from 'node:util'
import { createSecretKey, type KeyObject } from 'node:crypto'
import { Secret } from '../secret.ts'
import { KvxError } from '../errors.ts'
import { GcmBatch } from './gcm-batch.ts'

/** `'few'` for a key that opens the values of one record, and is wiped then. */
export type KeyUse = 'few' | undefined

/**
 * A key that is ready for one algorithm. A cipher made from a `KeyObject` costs about 9 µs on Node 24, one made
 * from a buffer 35 to 60 µs, so prepare a key once and use it for every value.
 *
 * `wipe` overwrites the copy that noble's ciphers use. The copy inside a `KeyObject` is OpenSSL's; it is
 * cleansed when the garbage collector frees it, and nothing can hasten that.
 */
export class PreparedKey {
  readonly algorithm: string
  #object: KeyObject | undefined
  #secret: Secret | undefined
  #batch: GcmBatch | undefined

  private constructor(algorithm: string, object: KeyObject | undefined, secret: Secret | undefined) {
    this.algorithm = algorithm
    this.#object = object
    this.#secret = secret
  }

  /**
   * @param native true for a cipher of node:crypto, false for one that takes bytes
   * @param used a key for few values becomes an object of node:crypto only when something asks for that
   * @throws KEY_MALFORMED when the material has not `length` bytes
   */
  static of(
    use: { name: string; keyLength: number; native: boolean },
    material: Secret,
    used?: KeyUse,
  ): PreparedKey {
    if (material.length !== use.keyLength) {
      throw new KvxError(
        'KEY_MALFORMED',
        `the key has ${material.length} bytes, ${use.name} takes ${use.keyLength}`,
        { details: { fault: 'length', length: material.length, expected: use.keyLength } },
      )
    }
    return material.lend((bytes) =>
      use.native && used !== 'few'
        ? new PreparedKey(use.name, createSecretKey(bytes), undefined)
        : new PreparedKey(use.name, undefined, Secret.copy(bytes)),
    )
  }

  /** @throws TypeError after `wipe`, or for a key of another algorithm: a bug of the caller. */
  object(algorithm: string): KeyObject {
    this.#check(algorithm)
    return (this.#object ??= this.lend(algorithm, (bytes) => createSecretKey(bytes)))
  }

  /** Whether the bytes themselves are at hand: of a cipher that takes them, or of a key for few values. */
  get lends(): boolean {
    return this.#secret !== undefined
  }

  /** For many short values under an AES-GCM key, made when it is first asked for. */
  batch(algorithm: string): GcmBatch {
    return (this.#batch ??= new GcmBatch(this.object(algorithm)))
  }

  /** Lends the bytes as {@link Secret.lend} does. */
  lend<T>(algorithm: string, use: (bytes: Buffer) => T): T {
    this.#check(algorithm)
    if (this.#secret === undefined) throw new TypeError('the prepared key was wiped already')
    return this.#secret.lend(use)
  }

  #check(algorithm: string): void {
    if (this.algorithm === algorithm) return
    throw new TypeError(`the key was prepared for ${this.algorithm}, not for ${algorithm}`)
  }

  /** Ends the use of the key. May be called more than once. */
  wipe(): void {
    this.#object = undefined
    this.#secret?.wipe()
    this.#secret = undefined
    this.#batch?.wipe()
    this.#batch = undefined
  }

  toJSON(): string {
    return '[secret]'
  }

  [inspect.custom](): string {
    return `[secret for ${this.algorithm}]`
  }
}
