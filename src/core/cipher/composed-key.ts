import { createSecretKey, type KeyObject } from 'node:crypto'
import { inspect } from 'node:util'
import type { Secret } from '../secret.ts'
import type { CipherKey } from './cipher.ts'

/** The two keys of a cipher with a MAC, ready for node:crypto. Their copies are OpenSSL's (see PreparedKey). */
export class ComposedKey implements CipherKey {
  readonly #cipher: string
  #keys: { readonly mac: KeyObject; readonly encryption: KeyObject } | undefined

  constructor(cipher: string, mac: Secret, encryption: Secret) {
    this.#cipher = cipher
    this.#keys = { mac: mac.lend(createSecretKey), encryption: encryption.lend(createSecretKey) }
  }

  /** @throws TypeError after `wipe`, or for a key of another cipher: a bug of the caller */
  keysFor(cipher: string): { readonly mac: KeyObject; readonly encryption: KeyObject } {
    if (this.#cipher !== cipher) {
      throw new TypeError(`the key was prepared for ${this.#cipher}, not for ${cipher}`)
    }
    if (this.#keys === undefined) throw new TypeError('the prepared key was wiped already')
    return this.#keys
  }

  wipe(): void {
    this.#keys = undefined
  }

  toJSON(): string {
    return '[secret]'
  }

  [inspect.custom](): string {
    return `[secret for ${this.#cipher}]`
  }
}
