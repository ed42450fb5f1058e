import type { Opened } from './envelope/open-record.ts'
import type { UnreadableReason } from './envelope/reasons.ts'
import { NonceWatch } from './nonce-watch.ts'

/** How many problem records are named one by one; the others are counted. */
const maxNamed = 1000

export type NamedRecord = { readonly record: string; readonly reason: UnreadableReason }

/** What a full look at one envelope found. Counts are records; `records` is all of them. */
export type Census = {
  readonly envelope: string
  readonly records: number
  readonly nulls: number
  readonly plaintext: number
  /** Records with a declared value that is not sealed, whether or not others beside it are. */
  readonly unsealed: number
  /** Those of them whose version column says something that kvx could not write. */
  readonly unsealedForeign: number
  readonly sealed: number
  /**
   * Sealed records by the version of the key that they need. A record whose values need several versions counts
   * under each of them, so that the sum can be more than `sealed`.
   */
  readonly byVersion: ReadonlyMap<number, number>
  /** Sealed records that a run to this version would leave as they are, labels included. */
  readonly settled: ReadonlyMap<number, number>
  /** Sealed records whose version column or inner number names another version than the one that opens them. */
  readonly mislabelled: number
  /** The same by the number that they carry, where they do not need that version besides. */
  readonly wrongLabels: ReadonlyMap<number, number>
  /** Sealed records whose version column holds no number, by the version that they need. */
  readonly foreignLabels: ReadonlyMap<number, number>
  readonly unreadable: number
  /** Values under the key that share their nonce with another one. */
  readonly repeatedNonces: number
  /** Of a sample: values that hold another sealed value, by the version that opens the inner one. */
  readonly sealedTwice: ReadonlyMap<number, number>
  /** The first unreadable ones, with their ids and reasons. */
  readonly named: readonly NamedRecord[]
}

/** Counts records while a scan goes on. */
export class CensusTaker {
  readonly #envelope: string
  readonly #byVersion = new Map<number, number>()
  readonly #settled = new Map<number, number>()
  readonly #wrongLabels = new Map<number, number>()
  readonly #foreignLabels = new Map<number, number>()
  readonly #named: NamedRecord[] = []
  readonly #unnoted: NamedRecord[] = []
  readonly #nonces = new NonceWatch()
  #records = 0
  #sealed = 0
  #mislabelled = 0
  #nulls = 0
  #plaintext = 0
  #unsealed = 0
  #unsealedForeign = 0
  #unreadable = 0

  constructor(envelope: string) {
    this.#envelope = envelope
  }

  add(opened: Opened, id: () => string): void {
    this.#records++
    switch (opened.kind) {
      case 'null':
        this.#nulls++
        break
      case 'plaintext':
        this.#plaintext++
        this.#addUnsealed(opened.foreign)
        break
      case 'sealed':
        this.#addSealed(opened)
        break
      case 'unreadable':
        this.#unreadable++
        this.#name({ record: id(), reason: opened.reason })
        break
    }
  }

  #addUnsealed(foreign: boolean): void {
    this.#unsealed++
    if (foreign) this.#unsealedForeign++
  }

  #name(named: NamedRecord): void {
    if (this.#named.length < maxNamed) this.#named.push(named)
    this.#unnoted.push(named)
  }

  #addSealed({ versions, labels, bare, under }: Opened & { kind: 'sealed' }): void {
    this.#sealed++
    for (const one of under) this.#nonces.add(one)
    if (bare) this.#addUnsealed(labels.foreign)
    for (const version of versions) increment(this.#byVersion, version)
    if (labels.settled !== undefined) increment(this.#settled, labels.settled)
    if (labels.wrong.size > 0) this.#mislabelled++
    for (const label of labels.wrong) if (!versions.has(label)) increment(this.#wrongLabels, label)
    if (labels.foreign) for (const version of versions) increment(this.#foreignLabels, version)
  }

  /** Every unreadable record since the last call, for a place that has room for all of them. */
  takeUnnoted(): readonly NamedRecord[] {
    return this.#unnoted.splice(0)
  }

  get records(): number {
    return this.#records
  }

  /** @param sealedTwice what a look into the values themselves found */
  take(sealedTwice: ReadonlyMap<number, number> = new Map()): Census {
    return {
      envelope: this.#envelope,
      records: this.#records,
      nulls: this.#nulls,
      plaintext: this.#plaintext,
      unsealed: this.#unsealed,
      unsealedForeign: this.#unsealedForeign,
      sealed: this.#sealed,
      byVersion: sorted(this.#byVersion),
      settled: sorted(this.#settled),
      mislabelled: this.#mislabelled,
      wrongLabels: sorted(this.#wrongLabels),
      foreignLabels: sorted(this.#foreignLabels),
      unreadable: this.#unreadable,
      repeatedNonces: this.#nonces.repeated,
      sealedTwice: sorted(sealedTwice),
      named: this.#named,
    }
  }
}

function increment(counts: Map<number, number>, version: number): void {
  counts.set(version, (counts.get(version) ?? 0) + 1)
}

function sorted(counts: ReadonlyMap<number, number>): ReadonlyMap<number, number> {
  return new Map([...counts].sort(([a], [b]) => a - b))
}

/** `{ "master@1": 900, "master@2": 100 }`, for JSON and reports. */
export function byVersionRecord(key: string, census: Census): Readonly<Record<string, number>> {
  return Object.fromEntries([...census.byVersion].map(([version, count]) => [`${key}@${version}`, count]))
}
