import { createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { GcmBatch } from '../src/core/aead/gcm-batch.ts'
import { openShort } from '../src/core/aead/gcm-short.ts'

/**
 * A floor is the shortest straight program for the one table or the one folder of the benchmark: no configuration, no
 * layouts, no keyring, no journal, no report. It keeps the laws of a run all the same, with the fastest ciphers that
 * there are: those of kvx for many short values at once, and `node:crypto` for the proof.
 */
export type Keys = { readonly old: Buffer; readonly next: Buffer }

export type Sealed = { readonly dek: Buffer; readonly value: Buffer }
/** A record as it was, with the DEK that it holds and how it is to lie afterwards. */
export type Moved<Row extends Sealed> = { readonly row: Row; readonly dek: Uint8Array; readonly next: Buffer }

const none = new Uint8Array(0)

function taken(sealed: Uint8Array) {
  return { nonce: sealed.subarray(0, 12), ct: sealed.subarray(12, -16), tag: sealed.subarray(-16), aad: none }
}

export class FloorCiphers {
  readonly #old: GcmBatch
  readonly #next: GcmBatch
  readonly #random = new GcmBatch(createSecretKey(randomBytes(32)))
  readonly #nextKey: KeyObject

  constructor({ old, next }: Keys) {
    this.#old = new GcmBatch(createSecretKey(old))
    this.#nextKey = createSecretKey(next)
    this.#next = new GcmBatch(this.#nextKey)
  }

  /** Opens each DEK, and with it its value. @throws for the first that does not open */
  look(rows: readonly Sealed[], under: 'old' | 'next'): readonly Uint8Array[] {
    const deks = (under === 'old' ? this.#old : this.#next).open(rows.map(({ dek }) => taken(dek)))
    return rows.map(({ value }, at) => {
      const dek = deks[at]
      if (dek === undefined) throw new Error(`a DEK does not open with the ${under} key`)
      const { tag, ...rest } = taken(value)
      if (openShort(dek, rest, tag) === undefined) throw new Error('a value does not open with its DEK')
      return dek
    })
  }

  /** Opens the rows with the old key and seals their DEKs with the new one. */
  move<Row extends Sealed>(rows: readonly Row[]): readonly Moved<Row>[] {
    const deks = this.look(rows, 'old')
    const random = randomBytes(12 * rows.length)
    const nonces = rows.map((_, at) => random.subarray(12 * at, 12 * at + 12))
    const sealed = this.#next.seal(deks.map((ct, at) => ({ ct, nonce: nonces[at] ?? none, aad: none })))
    return rows.map((row, at) => ({
      row,
      dek: deks[at] ?? none,
      next: Buffer.concat([nonces[at] ?? none, sealed[at]?.ct ?? none, sealed[at]?.tag ?? none]),
    }))
  }

  /** Of what the store gave back: the new key opens it to the same DEK over the same value, no other key does. */
  prove(moved: readonly Moved<Sealed>[], back: readonly (Sealed | undefined)[]): void {
    const wraps = moved.map(({ row, dek }, at) => {
      const read = back[at]
      if (read?.value.equals(row.value) !== true) throw new Error('a value was not read back')
      const { nonce, ct, tag } = taken(read.dek)
      const decipher = createDecipheriv('aes-256-gcm', this.#nextKey, nonce, { authTagLength: 16 })
      decipher.setAuthTag(tag)
      const opened = decipher.update(ct)
      decipher.final()
      if (!opened.equals(dek)) throw new Error('another DEK was read back')
      return { nonce, ct, tag, aad: none }
    })
    for (const wrong of [this.#old, this.#random])
      if (wrong.open(wraps).some((opened) => opened !== undefined)) throw new Error('a wrong key opens it')
  }
}
