import type { CipherKey, SealedParts } from '../../core/cipher/cipher.ts'
import { isKvxError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import type { Form } from './envelope.ts'
import { aadOf, inputsFor, type Instance, type RecordState } from './instance.ts'
import { prepareFor, type Inputs, type KeyBook } from './key-book.ts'

/** A key that may open an instance: a version of the book, its control, or a DEK. */
export type KeyFor = {
  key(form: Form, inputs: Inputs): CipherKey
  /** The nonce that this key makes, for a form that stores none. */
  nonce(form: Form, inputs: Inputs): Uint8Array | undefined
}

const versionKeys = new WeakMap<KeyBook, Map<number | 'control', KeyFor>>()

/** A version of the configured key, or the random one that must open nothing. */
export function versionKey(book: KeyBook, version: number | 'control'): KeyFor {
  let known = versionKeys.get(book)
  if (known === undefined) versionKeys.set(book, (known = new Map()))
  let key = known.get(version)
  if (key === undefined) known.set(version, (key = makeVersionKey(book, version)))
  return key
}

function makeVersionKey(book: KeyBook, version: number | 'control'): KeyFor {
  return {
    key: (form, inputs) =>
      version === 'control' ? book.control(form, inputs) : book.key(version, form, inputs),
    nonce: (form, inputs) => {
      if (form.nonce === undefined) return undefined
      return takeBytes(book.deriveFor(version, form.nonce, inputs))
    },
  }
}

/** A DEK that opens or seals what lies under it. `wipe` ends the keys that were made of it on the way, not the DEK. */
export class DekKey implements KeyFor {
  readonly #dek: Secret
  #made: readonly CipherKey[] = []

  constructor(dek: Secret) {
    this.#dek = dek
  }

  key(form: Form, inputs: Inputs): CipherKey {
    const prepared = prepareFor(form, this.#dek, inputs, 'few')
    this.#made = [...this.#made, prepared]
    return prepared
  }

  nonce({ nonce }: Form, inputs: Inputs): Uint8Array | undefined {
    return nonce && takeBytes(nonce.derive({ ...inputs, key: this.#dek }))
  }

  wipe(): void {
    for (const prepared of this.#made) prepared.wipe()
    this.#made = []
  }
}

/** Lends a DEK to `use`. Keys that are made of it on the way are wiped at the end. */
export function withDek<T>(dek: Secret, use: (key: KeyFor) => T): T {
  const key = new DekKey(dek)
  try {
    return use(key)
  } finally {
    key.wipe()
  }
}

function takeBytes(secret: Secret): Uint8Array {
  const bytes = secret.lend((lent) => new Uint8Array(lent))
  secret.wipe()
  return bytes
}

/**
 * The plaintext, or undefined when this key did not seal it for this record: a null AAD column, a nonce or a
 * tag of an impossible length open with no key.
 */
export function openInstance(instance: Instance, state: RecordState, by: KeyFor): Uint8Array | undefined {
  const { form } = instance
  const inputs = inputsFor(form, instance, state)
  try {
    const opened = form.cipher.open(
      by.key(form, inputs),
      withNonce(instance.parts, by.nonce(form, inputs)),
      aadOf(form, inputs),
    )
    if (opened === undefined || form.test === undefined || form.test(opened)) return opened
    opened.fill(0)
    return undefined
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_MISMATCH')) return undefined
    throw error
  }
}

export function withNonce(parts: SealedParts, nonce: Uint8Array | undefined): SealedParts {
  return nonce === undefined ? parts : new Map(parts).set('nonce', nonce)
}
