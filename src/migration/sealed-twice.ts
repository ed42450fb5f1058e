import { isUtf8 } from 'node:buffer'
import { KvxError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import type { Census } from './census.ts'
import { structuresOf } from './discover/structures.ts'
import { TrialKeys, tryForms } from './discover/trial.ts'
import type { KeyBook } from './envelope/key-book.ts'
import type { OpenedRecord } from './envelope/open-record.ts'

/**
 * A search takes milliseconds, a scan microseconds a record. So what cannot hold a sealed value is told by its bytes,
 * and of the others the first hundred are searched, then each that lies a twentieth further than the last one: kinds
 * of values that come late in a table have their turn too. 300 searches cover a million values.
 */
const searchedFirst = 100
const spread = 1.05
const longest = 65_536

/**
 * Notices values that hold a sealed value again, under the same key: some applications seal a record whose members
 * they sealed before. What moves the outer one leaves the inner one, and kvx has no declaration for it.
 */
export class SealedTwice {
  readonly #materials: readonly Secret[]
  readonly #keys: TrialKeys
  #seen = 0
  #next = 0

  constructor(book: KeyBook) {
    const keys = book.versions.map((version) => ({
      name: book.name,
      version,
      material: book.copyOf(version),
    }))
    this.#materials = keys.map(({ material }) => material)
    this.#keys = new TrialKeys(keys)
  }

  /**
   * Of an envelope whose values lie directly under the key.
   * @param found counts values that hold one more, by the version that opens the inner one
   */
  look({ under }: OpenedRecord, found: Map<number, number>): void {
    for (const { secret } of under) {
      if (secret.length > longest || !mayHoldSealed(secret)) continue
      if (++this.#seen > searchedFirst && this.#seen < this.#next) continue
      this.#next = Math.ceil(this.#seen * spread)
      const version = this.#versionInside(Buffer.from(secret.buffer, secret.byteOffset, secret.length))
      if (version !== undefined) found.set(version, (found.get(version) ?? 0) + 1)
    }
  }

  #versionInside(plaintext: Buffer): number | undefined {
    const forms = structuresOf(plaintext, []).map(({ layout, words }) => ({
      columns: [{ column: 'inside', layout }],
      words,
    }))
    const opened = tryForms(forms, { inside: plaintext }, this.#keys)
    opened?.plaintext.fill(0)
    return opened?.key.version
  }

  wipe(): void {
    this.#keys.wipe()
    for (const material of this.#materials) material.wipe()
  }
}

const leastSealed = 12 + 1 + 16
/** A tag of 16 bytes in base64 without padding; every other encoding of one is longer. */
const leastRun = 22
const isEncoding = Uint8Array.from({ length: 256 }, (_, byte) =>
  /[A-Za-z0-9+/_\\-]/.test(String.fromCharCode(byte)) ? 1 : 0,
)

/** Whether these bytes can be or contain nonce, ciphertext and tag: chance makes neither UTF-8 nor short words. */
export function mayHoldSealed(bytes: Uint8Array): boolean {
  if (bytes.length < leastSealed) return false
  if (!isUtf8(bytes)) return true
  let run = 0
  for (let at = 0; at < bytes.length; at++) {
    run = isEncoding[bytes[at] ?? 0] === 1 ? run + 1 : 0
    if (run === leastRun) return true
  }
  return false
}

/** The gate of an end. @throws VALUES_REMAIN when a value inside of another one needs the version */
export function refuseInner(
  { name, version }: { readonly name: string; readonly version: number },
  scan: readonly Census[],
): void {
  for (const { envelope, sealedTwice } of scan) {
    if (!sealedTwice.has(version)) continue
    throw new KvxError(
      'VALUES_REMAIN',
      `values of ${envelope} hold values that are sealed again under ${name}@${version}; the key is untouched`,
      {
        hint: 'kvx moves the outer ones alone. Let the application write these records again, so that it seals what is inside with its new key; then `kvx verify` and retire again.',
        details: { subject: `${name}@${version}`, envelope },
      },
    )
  }
}
