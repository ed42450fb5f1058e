import type { Opened } from './envelope/open-record.ts'
import type { UnreadableReason } from './envelope/reasons.ts'
import { type NonceMark, nonceMark, NonceWatch } from './nonce-watch.ts'

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

/** What was counted so far, as data that one thread can hand to another. */
export type Tally = {
  records: number
  sealed: number
  mislabelled: number
  nulls: number
  plaintext: number
  unsealed: number
  unsealedForeign: number
  unreadable: number
  readonly byVersion: Map<number, number>
  readonly settled: Map<number, number>
  readonly wrongLabels: Map<number, number>
  readonly foreignLabels: Map<number, number>
  readonly sealedTwice: Map<number, number>
  /** The unreadable ones of the records that were counted, in their order. */
  readonly named: NamedRecord[]
  /** Uses of nonces, one after the other. */
  readonly nonces: NonceMark[]
}

export function emptyTally(): Tally {
  return {
    records: 0,
    sealed: 0,
    mislabelled: 0,
    nulls: 0,
    plaintext: 0,
    unsealed: 0,
    unsealedForeign: 0,
    unreadable: 0,
    byVersion: new Map(),
    settled: new Map(),
    wrongLabels: new Map(),
    foreignLabels: new Map(),
    sealedTwice: new Map(),
    named: [],
    nonces: [],
  }
}

/** Counts one record. */
export function count(tally: Tally, opened: Opened, id: () => string): void {
  tally.records++
  switch (opened.kind) {
    case 'null':
      tally.nulls++
      break
    case 'plaintext':
      tally.plaintext++
      countUnsealed(tally, opened.foreign)
      break
    case 'sealed':
      countSealed(tally, opened)
      break
    case 'unreadable':
      tally.unreadable++
      tally.named.push({ record: id(), reason: opened.reason })
      break
  }
}

function countUnsealed(tally: Tally, foreign: boolean): void {
  tally.unsealed++
  if (foreign) tally.unsealedForeign++
}

function countSealed(tally: Tally, { versions, labels, bare, under }: Opened & { kind: 'sealed' }): void {
  tally.sealed++
  for (const one of under) {
    const mark = nonceMark(one)
    if (mark !== undefined) tally.nonces.push(mark)
  }
  if (bare) countUnsealed(tally, labels.foreign)
  for (const version of versions) increase(tally.byVersion, version)
  if (labels.settled !== undefined) increase(tally.settled, labels.settled)
  if (labels.wrong.size > 0) tally.mislabelled++
  for (const label of labels.wrong) if (!versions.has(label)) increase(tally.wrongLabels, label)
  if (labels.foreign) for (const version of versions) increase(tally.foreignLabels, version)
}

const numbers = [
  'records',
  'sealed',
  'mislabelled',
  'nulls',
  'plaintext',
  'unsealed',
  'unsealedForeign',
  'unreadable',
] as const
const histograms = ['byVersion', 'settled', 'wrongLabels', 'foreignLabels', 'sealedTwice'] as const

/** Counts records while a scan goes on. */
export class CensusTaker {
  readonly #envelope: string
  readonly #total = emptyTally()
  readonly #named: NamedRecord[] = []
  readonly #unnoted: NamedRecord[] = []
  readonly #nonces = new NonceWatch()

  constructor(envelope: string) {
    this.#envelope = envelope
  }

  add(opened: Opened, id: () => string): void {
    const one = emptyTally()
    count(one, opened, id)
    this.addAll(one)
  }

  /** The records of a page, which come behind those that were added before. */
  addAll(tally: Tally): void {
    for (const number of numbers) this.#total[number] += tally[number]
    for (const name of histograms)
      for (const [version, records] of tally[name]) increase(this.#total[name], version, records)
    for (const mark of tally.nonces) this.#nonces.add(mark)
    this.#named.push(...tally.named.slice(0, maxNamed - this.#named.length))
    this.#unnoted.push(...tally.named)
  }

  /** Every unreadable record since the last call, for a place that has room for all of them. */
  takeUnnoted(): readonly NamedRecord[] {
    return this.#unnoted.splice(0)
  }

  get records(): number {
    return this.#total.records
  }

  take(): Census {
    const { nonces: _, ...total } = this.#total
    return {
      ...total,
      envelope: this.#envelope,
      byVersion: sorted(total.byVersion),
      settled: sorted(total.settled),
      wrongLabels: sorted(total.wrongLabels),
      foreignLabels: sorted(total.foreignLabels),
      repeatedNonces: this.#nonces.repeated,
      sealedTwice: sorted(total.sealedTwice),
      named: this.#named,
    }
  }
}

function increase(counts: Map<number, number>, version: number, by = 1): void {
  counts.set(version, (counts.get(version) ?? 0) + by)
}

function sorted(counts: ReadonlyMap<number, number>): ReadonlyMap<number, number> {
  return new Map([...counts].sort(([a], [b]) => a - b))
}

/** `{ "master@1": 900, "master@2": 100 }`, for JSON and reports. */
export function byVersionRecord(key: string, census: Census): Readonly<Record<string, number>> {
  return Object.fromEntries([...census.byVersion].map(([version, count]) => [`${key}@${version}`, count]))
}
