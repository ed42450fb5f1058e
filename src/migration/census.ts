import type { Opened, UnreadableReason } from './chain.ts'

/** How many problem records are named one by one; the others are counted. */
const maxNamed = 1000

export type NamedRecord = { readonly record: string; readonly reason: UnreadableReason }

/** What a full look at one envelope found. Counts are records. */
export type Census = {
  readonly envelope: string
  readonly records: number
  readonly nulls: number
  readonly plaintext: number
  /** Sealed records by the version of the key that they need. */
  readonly byVersion: ReadonlyMap<number, number>
  readonly unreadable: number
  /** The first unreadable ones, with their ids and reasons. */
  readonly named: readonly NamedRecord[]
}

/** Counts records while a scan goes on. */
export class CensusTaker {
  readonly #envelope: string
  readonly #byVersion = new Map<number, number>()
  readonly #named: NamedRecord[] = []
  #records = 0
  #nulls = 0
  #plaintext = 0
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
        break
      case 'sealed':
        this.#byVersion.set(opened.version, (this.#byVersion.get(opened.version) ?? 0) + 1)
        break
      case 'unreadable':
        this.#unreadable++
        if (this.#named.length < maxNamed) this.#named.push({ record: id(), reason: opened.reason })
        break
    }
  }

  get records(): number {
    return this.#records
  }

  take(): Census {
    return {
      envelope: this.#envelope,
      records: this.#records,
      nulls: this.#nulls,
      plaintext: this.#plaintext,
      byVersion: new Map([...this.#byVersion].sort(([a], [b]) => a - b)),
      unreadable: this.#unreadable,
      named: this.#named,
    }
  }
}

/** `{ "master@1": 900, "master@2": 100 }`, for JSON and reports. */
export function byVersionRecord(key: string, census: Census): Readonly<Record<string, number>> {
  return Object.fromEntries([...census.byVersion].map(([version, count]) => [`${key}@${version}`, count]))
}
