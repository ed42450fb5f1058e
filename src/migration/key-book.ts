import { prepareKey, type Aead } from '../core/aead/aead.ts'
import type { PreparedKey } from '../core/aead/prepared-key.ts'
import { KvxError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import type { Home } from '../keyring/home.ts'
import { keyOf } from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import { loadOpeners } from '../keyring/openers.ts'
import { randomSecret } from '../platform/random.ts'

/**
 * The versions of one key that may open values, ready for every AEAD, and a random key that must open nothing.
 * Retired versions are among them: a value that still needs one is a finding, and finding it takes the key.
 */
export class KeyBook {
  readonly name: string
  readonly #materials: ReadonlyMap<number, Secret>
  readonly #prepared = new Map<string, PreparedKey>()
  readonly #fitting = new Map<number, ReadonlySet<number>>()
  readonly #controls = new Map<number, Secret>()
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

  get versions(): readonly number[] {
    return [...this.#materials.keys()]
  }

  /** Versions to try, the hinted one first. */
  candidates(hint: number | undefined): readonly number[] {
    if (hint === undefined || !this.#materials.has(hint)) return this.#order
    return [hint, ...this.#order.filter((version) => version !== hint)]
  }

  prefer(version: number): void {
    if (this.#order[0] === version || !this.#materials.has(version)) return
    this.#order = [version, ...this.#order.filter((other) => other !== version)]
  }

  /** Whether a version's material has the length that the AEAD takes. */
  fits(version: number, aead: Aead): boolean {
    return this.#materials.get(version)?.length === aead.keyLength
  }

  /**
   * The versions whose material has the length that the AEAD takes. Others, such as a short key of an older
   * cipher, open nothing there.
   * @throws KEY_MALFORMED when there are versions and none of them fits: the declaration is wrong
   */
  fitting(aead: Aead): ReadonlySet<number> {
    const known = this.#fitting.get(aead.keyLength)
    if (known !== undefined) return known
    const fitting = new Set(this.versions.filter((version) => this.fits(version, aead)))
    const [first] = this.#order
    if (fitting.size === 0 && first !== undefined) throw this.#malformed(first, aead)
    this.#fitting.set(aead.keyLength, fitting)
    return fitting
  }

  #malformed(version: number, aead: Aead): KvxError {
    return new KvxError(
      'KEY_MALFORMED',
      `${this.name}@${version} has ${this.#materials.get(version)?.length ?? 0} bytes; ${aead.name} takes ${aead.keyLength}`,
      { hint: 'Declare the AEAD that the application really uses, or import the key that it really has.' },
    )
  }

  /**
   * @throws KEY_MALFORMED when the material has another length than the AEAD's key; KEYRING_DAMAGED when the
   *   version is not at hand
   */
  key(version: number, aead: Aead): PreparedKey {
    const material = this.#materials.get(version)
    if (material === undefined) {
      throw new KvxError('KEYRING_DAMAGED', `the key of ${this.name}@${version} is not at hand`, {
        hint: `Bring its file back from a backup: \`kvx backup list ${this.name}\`.`,
      })
    }
    if (material.length !== aead.keyLength) throw this.#malformed(version, aead)
    return this.#prepare(`${version}/${aead.name}`, aead, material)
  }

  /** A key of this AEAD's length that was made for this run alone: whatever it opens is not authenticated. */
  control(aead: Aead): PreparedKey {
    let material = this.#controls.get(aead.keyLength)
    if (material === undefined) {
      material = randomSecret(aead.keyLength)
      this.#controls.set(aead.keyLength, material)
    }
    return this.#prepare(`control/${aead.name}`, aead, material)
  }

  #prepare(id: string, aead: Aead, material: Secret): PreparedKey {
    let prepared = this.#prepared.get(id)
    if (prepared === undefined) {
      prepared = prepareKey(aead, material)
      this.#prepared.set(id, prepared)
    }
    return prepared
  }

  wipe(): void {
    for (const prepared of this.#prepared.values()) prepared.wipe()
    for (const material of [...this.#materials.values(), ...this.#controls.values()]) material.wipe()
  }
}
