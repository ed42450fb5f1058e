import { createHash } from 'node:crypto'
import type { CipherKey } from '../../core/cipher/cipher.ts'
import { KvxError } from '../../core/errors.ts'
import type { Derivation, DerivationContext } from '../../core/layout/derivation.ts'
import { Secret } from '../../core/secret.ts'
import type { Home } from '../../keyring/home.ts'
import { keyOf } from '../../keyring/keyring.ts'
import type { Keyring } from '../../keyring/keyring-file.ts'
import { loadOpeners } from '../../keyring/openers.ts'
import { randomSecret } from '../../platform/random.ts'
import type { Form } from './envelope.ts'

/** What a derivation reads besides the key. */
export type Inputs = Omit<DerivationContext, 'key'>

/** A book as data. The buffers hold key material. */
export type HandedBook = {
  readonly name: string
  readonly versions: readonly { readonly version: number; readonly bytes: ArrayBuffer }[]
  /** The version that is tried first. */
  readonly first: number | null
}

const controlLengths = [32, 16, 24, 48, 64, 96]

/** Keys that were derived for single records are kept for the next one, so many of them. */
const maxDerived = 512

/**
 * The versions of one key that may open values, ready for every cipher, and a random key that must open nothing.
 * Retired versions are among them: a value that still needs one is a finding, and finding it takes the key.
 */
export class KeyBook {
  readonly name: string
  readonly #materials: ReadonlyMap<number, Secret>
  readonly #controls = new Map<number, Secret>()
  /** By form and version; a form is one object for the whole life of a session. */
  readonly #prepared = new Map<Form, Map<string, CipherKey>>()
  readonly #derived = new Map<string, CipherKey>()
  readonly #fitting = new Map<Form, ReadonlySet<number>>()
  /** Those of {@link fitting} in the order of now, for each hint. */
  readonly #candidates = new Map<Form, Map<number | undefined, readonly number[]>>()
  readonly #names = new Map<string, Buffer>()
  readonly #formIds = new Map<Form, number>()
  /** Versions in the order in which they are tried; the one that opened last comes first. */
  #order: number[]

  private constructor(name: string, materials: ReadonlyMap<number, Secret>, first: number | null) {
    this.name = name
    this.#materials = materials
    this.#order = [...materials.keys()].sort((a, b) => b - a)
    if (first !== null) this.prefer(first)
  }

  /** Loads and proves every version that can open. @throws KEYRING_DAMAGED and its like for the one that seals */
  static async load(home: Home, ring: Keyring, name: string): Promise<KeyBook> {
    const materials = await loadOpeners(home, ring, name, { withRetired: true })
    return new KeyBook(name, materials, keyOf(ring, name).seals)
  }

  /** The same book from what `handOver` gave; the bytes are taken and wiped there. */
  static from({ name, versions, first }: HandedBook): KeyBook {
    const materials = versions.map(({ version, bytes }): [number, Secret] => [
      version,
      Secret.take(new Uint8Array(bytes)),
    ])
    return new KeyBook(name, new Map(materials), first)
  }

  /** Copies for another thread: each buffer is to be handed over, so that no second copy is made on the way. */
  handOver(): HandedBook {
    const versions = this.versions.map((version) => ({
      version,
      bytes: this.#material(version).lend((bytes) => Uint8Array.from(bytes).buffer),
    }))
    return { name: this.name, versions, first: this.preferred ?? null }
  }

  /** Of keys that no ring has yet; it wipes them in the end. */
  static of(name: string, materials: readonly Secret[]): KeyBook {
    return new KeyBook(name, new Map(materials.map((material, at) => [at + 1, material])), null)
  }

  get versions(): readonly number[] {
    return [...this.#materials.keys()]
  }

  /** The versions that a form can use, in the order in which they are tried, the hinted one first. */
  candidates(form: Form, hint: number | undefined): readonly number[] {
    const fitting = this.fitting(form)
    // A value can name any number: one that there is not says nothing.
    const first = hint !== undefined && fitting.has(hint) ? hint : undefined
    let byHint = this.#candidates.get(form)
    if (byHint === undefined) this.#candidates.set(form, (byHint = new Map()))
    let candidates = byHint.get(first)
    if (candidates === undefined) {
      const others = this.#order.filter((version) => version !== first && fitting.has(version))
      byHint.set(first, (candidates = first === undefined ? others : [first, ...others]))
    }
    return candidates
  }

  /** The version that is tried first; undefined where there is none. */
  get preferred(): number | undefined {
    return this.#order[0]
  }

  prefer(version: number): void {
    if (this.#order[0] === version || !this.#materials.has(version)) return
    this.#order = [version, ...this.#order.filter((other) => other !== version)]
    this.#candidates.clear()
  }

  /** Whether a version's material can be a key of this form: by its length, or by what is derived from it. */
  fits(version: number, form: Form): boolean {
    const material = this.#materials.get(version)
    if (material === undefined) return false
    return form.derive !== undefined || form.cipher.acceptsKeyLength(material.length)
  }

  /**
   * The versions whose material a form can use. Others, such as a short key of an older cipher, open nothing there.
   * @throws KEY_MALFORMED when there are versions and none of them fits: the declaration is wrong
   */
  fitting(form: Form): ReadonlySet<number> {
    const known = this.#fitting.get(form)
    if (known !== undefined) return known
    const fitting = new Set(this.versions.filter((version) => this.fits(version, form)))
    const [first] = this.#order
    if (fitting.size === 0 && first !== undefined) throw this.malformed(first, form)
    this.#fitting.set(form, fitting)
    return fitting
  }

  malformed(version: number, { cipher }: Form): KvxError {
    const length = this.#materials.get(version)?.length ?? 0
    return new KvxError(
      'KEY_MALFORMED',
      `${this.name}@${version} has ${length} bytes; ${cipher.name} takes ${cipher.keyLengths}`,
      {
        hint: 'Declare the AEAD that the application really uses, or `derive` if it makes its key of the configured one, or import the key that it really has.',
      },
    )
  }

  #material(version: number): Secret {
    const material = this.#materials.get(version)
    if (material !== undefined) return material
    throw new KvxError('KEYRING_DAMAGED', `the key of ${this.name}@${version} is not at hand`, {
      hint: `Bring its file back from a backup: \`kvx backup list ${this.name}\`.`,
    })
  }

  /**
   * A version ready for a form, derived with what the record holds where the form says so.
   * @throws KEY_MALFORMED when the material has another length than the cipher's key; KEYRING_DAMAGED when the
   *   version is not at hand
   */
  key(version: number, form: Form, inputs: Inputs): CipherKey {
    const material = this.#material(version)
    if (form.derive === undefined && !form.cipher.acceptsKeyLength(material.length))
      throw this.malformed(version, form)
    return this.#prepare(String(version), form, material, inputs)
  }

  /** The configured bytes of a version; the caller wipes the copy. */
  copyOf(version: number): Secret {
    return this.#material(version).lend((bytes) => Secret.copy(bytes))
  }

  /** Bytes that a derivation makes of a version and a record: a nonce that is not stored. */
  deriveFor(version: number | 'control', derivation: Derivation, inputs: Inputs): Secret {
    const key = version === 'control' ? this.#control(32) : this.#material(version)
    return derivation.derive({ ...inputs, key })
  }

  /** What an application calls a version by its key: a public name, such as a fingerprint. */
  nameOf(version: number, derivation: Derivation): Buffer {
    const id = `${version} ${derivation.source}`
    let name = this.#names.get(id)
    if (name === undefined) {
      const made = derivation.derive({ key: this.#material(version), ...noInputs })
      name = made.lend((bytes) => Buffer.from(bytes))
      made.wipe()
      this.#names.set(id, name)
    }
    return name
  }

  /** A key of this form that was made for this run alone: whatever it opens is not authenticated. */
  control(form: Form, inputs: Inputs): CipherKey {
    const length = controlLengths.find(
      (one) => form.derive !== undefined || form.cipher.acceptsKeyLength(one),
    )
    return this.#prepare('control', form, this.#control(length ?? 32), inputs)
  }

  #control(length: number): Secret {
    let material = this.#controls.get(length)
    if (material === undefined) {
      material = randomSecret(length)
      this.#controls.set(length, material)
    }
    return material
  }

  #prepare(id: string, form: Form, material: Secret, inputs: Inputs): CipherKey {
    if (form.derive !== undefined && readsRecord(form.derive))
      return this.#perRecord(id, form, material, inputs)
    let byId = this.#prepared.get(form)
    if (byId === undefined) this.#prepared.set(form, (byId = new Map()))
    let prepared = byId.get(id)
    if (prepared === undefined) byId.set(id, (prepared = prepareFor(form, material, inputs)))
    return prepared
  }

  #perRecord(id: string, form: Form, material: Secret, inputs: Inputs): CipherKey {
    const place = `${id} ${this.#idOf(form)} ${digestOfInputs(form.derive, inputs)}`
    const known = this.#derived.get(place)
    if (known !== undefined) return known
    const prepared = prepareFor(form, material, inputs)
    this.#derived.set(place, prepared)
    const [oldest] = this.#derived.size > maxDerived ? this.#derived : []
    if (oldest !== undefined) {
      oldest[1].wipe()
      this.#derived.delete(oldest[0])
    }
    return prepared
  }

  #idOf(form: Form): number {
    const id = this.#formIds.get(form) ?? this.#formIds.size
    this.#formIds.set(form, id)
    return id
  }

  wipe(): void {
    for (const byId of this.#prepared.values()) for (const prepared of byId.values()) prepared.wipe()
    for (const prepared of this.#derived.values()) prepared.wipe()
    for (const material of [...this.#materials.values(), ...this.#controls.values()]) material.wipe()
  }
}

const nothing = (): never => {
  throw new TypeError('nothing was to be read here but the key')
}
/** For what is made of the key alone. */
export const noInputs: Inputs = { cell: nothing, newCell: nothing, part: nothing }

/** Whether each record has a key of its own. */
export function readsRecord({ columns, newColumns, partNames }: Derivation): boolean {
  return columns.size + newColumns.size + partNames.size > 0
}

/** A key for a form, made of material of any level. The caller wipes it. */
export function prepareFor(
  { cipher, derive }: Form,
  material: Secret,
  inputs: Inputs,
  use?: 'few',
): CipherKey {
  if (derive === undefined) return cipher.prepare(material, use)
  const derived = derive.derive({ ...inputs, key: material })
  try {
    return cipher.prepare(derived, use)
  } finally {
    derived.wipe()
  }
}

/** The same for the same inputs, whatever a record holds besides. */
function digestOfInputs(derivation: Derivation | undefined, inputs: Inputs): string {
  const hash = createHash('sha256')
  const add = (name: string, value: unknown): void => {
    const text = value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value)
    hash.update(`${name.length}:${name}${typeof value}:${text.length}:${text}`)
  }
  for (const name of derivation?.columns ?? []) add(name, inputs.cell(name))
  for (const name of derivation?.newColumns ?? []) add(`${name}'`, inputs.newCell(name))
  for (const name of derivation?.partNames ?? []) add(`.${name}`, inputs.part(name))
  return hash.digest('base64')
}
