import type { UnderKey } from './envelope/open-record.ts'

/** So many nonces of one envelope are remembered: 10 MB, and enough to notice an application that repeats them. */
const maxNonces = 100_000

/**
 * Notices values under one key that share a nonce: two of them tell an attacker the difference of their plaintexts,
 * and with GCM the key that authenticates. A copy of one value is no second use.
 */
export class NonceWatch {
  readonly #seen = new Map<string, string>()
  #repeated = 0

  add({ instance, version }: UnderKey): void {
    const { form, parts } = instance
    const [nonce, ct] = [parts.get('nonce'), parts.get('ct')]
    if (form.cipher.kind !== 'aead' || !(nonce instanceof Uint8Array) || !(ct instanceof Uint8Array)) return
    // A key that is derived for each value makes a nonce safe to use again.
    if (form.derive !== undefined && form.derive.columns.size + form.derive.partNames.size > 0) return
    const id = `${version} ${Buffer.from(nonce).toString('latin1')}`
    const text = Buffer.from(ct.subarray(0, 16)).toString('latin1')
    const known = this.#seen.get(id)
    if (known === undefined) {
      if (this.#seen.size < maxNonces) this.#seen.set(id, text)
    } else if (known !== text) this.#repeated++
  }

  get repeated(): number {
    return this.#repeated
  }
}
