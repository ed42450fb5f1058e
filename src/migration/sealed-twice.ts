import { KvxError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import type { Census } from './census.ts'
import { structuresOf } from './discover/structures.ts'
import { tryForm, TrialKeys } from './discover/trial.ts'
import type { KeyBook } from './envelope/key-book.ts'
import type { OpenedRecord } from './envelope/open-record.ts'

/** Values of one look whose plaintext is searched: applications seal all of a kind in the same way. */
const sampleSize = 200
const longest = 65_536

/**
 * Notices values that hold a sealed value again, under the same key: some applications seal a record whose members
 * they sealed before. What moves the outer one leaves the inner one, and kvx has no declaration for it.
 */
export class SealedTwice {
  readonly #materials: readonly Secret[]
  readonly #keys: TrialKeys
  readonly #found = new Map<number, number>()
  #left = sampleSize

  constructor(book: KeyBook) {
    const keys = book.versions.map((version) => ({
      name: book.name,
      version,
      material: book.copyOf(version),
    }))
    this.#materials = keys.map(({ material }) => material)
    this.#keys = new TrialKeys(keys)
  }

  /** Of an envelope whose values lie directly under the key. */
  add({ under }: OpenedRecord): void {
    for (const { secret } of under) {
      if (this.#left <= 0 || secret.length > longest) continue
      this.#left--
      const version = this.#versionInside(Buffer.from(secret.buffer, secret.byteOffset, secret.length))
      if (version !== undefined) this.#found.set(version, (this.#found.get(version) ?? 0) + 1)
    }
  }

  #versionInside(plaintext: Buffer): number | undefined {
    for (const { layout, words } of structuresOf(plaintext, [])) {
      const form = { columns: [{ column: 'inside', layout }], words }
      const opened = tryForm(form, { inside: plaintext }, undefined, this.#keys)
      opened?.plaintext.fill(0)
      if (opened !== undefined) return opened.key.version
    }
    return undefined
  }

  /** Values of the sample that hold one more, by the version that opens the inner one. */
  get found(): ReadonlyMap<number, number> {
    return this.#found
  }

  wipe(): void {
    this.#keys.wipe()
    for (const material of this.#materials) material.wipe()
  }
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
