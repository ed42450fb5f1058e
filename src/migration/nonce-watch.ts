import type { UnderKey } from './envelope/open-record.ts'

/** So many nonces of one envelope are remembered: 3 MB, and enough to notice an application that repeats them. */
const maxNonces = 100_000
/** Numbers that a remembered nonce takes: 64 bits of its digest, and 32 of what it sealed. */
const width = 3

/** One use of a nonce as three numbers: two for the nonce and its key's version, one for what was sealed with it. */
export type NonceMark = readonly [number, number, number]

/**
 * The mark of a value directly under the key; undefined where a nonce may be used again, or there is none. The digest
 * is no cryptographic one: among 100,000 random nonces two share it with a chance of one in three thousand million.
 */
export function nonceMark({
  instance,
  version,
}: Pick<UnderKey, 'instance' | 'version'>): NonceMark | undefined {
  const { form, parts } = instance
  const [nonce, ct] = [parts.get('nonce'), parts.get('ct')]
  if (form.cipher.kind !== 'aead' || !(nonce instanceof Uint8Array) || !(ct instanceof Uint8Array))
    return undefined
  // A key that is derived for each value makes a nonce safe to use again.
  if (form.derive !== undefined && form.derive.columns.size + form.derive.partNames.size > 0) return undefined
  return [
    digest(nonce, nonce.length, Math.imul(version, 0x9e3779b1)),
    digest(nonce, nonce.length, Math.imul(version, 0x85ebca6b) ^ 0x27d4eb2f),
    digest(ct, Math.min(16, ct.length), 0x165667b1),
  ]
}

/** 32 bits of the first bytes, each bit of which changes about half of them. */
function digest(bytes: Uint8Array, length: number, seed: number): number {
  let sum = seed ^ length
  for (let at = 0; at < length; at++) {
    sum = Math.imul(sum ^ (bytes[at] ?? 0), 0x01000193)
    sum = Math.imul(sum ^ (sum >>> 15), 0x2c1b3c6d)
  }
  sum = Math.imul(sum ^ (sum >>> 13), 0x297a2d39)
  return (sum ^ (sum >>> 16)) >>> 0
}

/**
 * Notices values under one key that share a nonce: two of them tell an attacker the difference of their plaintexts,
 * and with GCM the key that authenticates. A copy of one value is no second use.
 */
export class NonceWatch {
  /** Open addressing: a mark lies at its first number or behind it. All zeros is an empty place. */
  #table = new Uint32Array(1024 * width)
  #count = 0
  #repeated = 0

  add([high, low, sealed]: NonceMark): void {
    // Zeros mark what is empty.
    const first = high === 0 ? 1 : high
    const at = this.#find(first, low)
    if (this.#table[at] === 0) {
      if (this.#count >= maxNonces) return
      this.#put(at, [first, low, sealed])
      if (++this.#count * 2 * width > this.#table.length) this.#grow()
    } else if (this.#table[at + 2] !== sealed) this.#repeated++
  }

  /** Where it lies, or where it may be put. */
  #find(high: number, low: number): number {
    const table = this.#table
    const places = table.length / width
    for (let place = high & (places - 1); ; place = (place + 1) & (places - 1)) {
      const at = place * width
      if (table[at] === 0 || (table[at] === high && table[at + 1] === low)) return at
    }
  }

  #put(at: number, mark: NonceMark): void {
    this.#table.set(mark, at)
  }

  #grow(): void {
    const old = this.#table
    this.#table = new Uint32Array(old.length * 2)
    for (let at = 0; at < old.length; at += width) {
      const [high, low] = [old[at] ?? 0, old[at + 1] ?? 0]
      if (high !== 0) this.#put(this.#find(high, low), [high, low, old[at + 2] ?? 0])
    }
  }

  get repeated(): number {
    return this.#repeated
  }
}
