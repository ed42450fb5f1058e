import type { Config } from '../../config/config.ts'
import type { Tally } from '../census.ts'
import type { HandedBook } from '../envelope/key-book.ts'
import type { QuarantineRow } from '../journal.ts'
import type { SweepOptions } from '../workload.ts'
import type { PackedRows } from './packed-cells.ts'

/** What a thread begins with: the declarations, which were compiled here already, and the keys. */
export type Begin = {
  readonly config: Pick<Config, 'path' | 'keys' | 'stores' | 'envelopes'>
  readonly books: readonly HandedBook[]
}

export type Question = {
  readonly envelope: string
  readonly records: PackedRows
  /** What a run wants of them, or which look they belong to. */
  readonly work: Pick<SweepOptions, 'target' | 'kind'> | { readonly look: number }
}

/** What a run has to write of a page. */
export type FoundByThread = {
  /** Which records of the page, in their order. */
  readonly places: Uint32Array
  /** The change of each. */
  readonly changes: PackedRows
  /** What each held under the key: how many secrets, then for each its version and its length. */
  readonly held: Uint32Array
  /** All secrets one behind the other, handed over. */
  readonly secrets: ArrayBuffer
  readonly unreadable: readonly QuarantineRow[]
}

export type Answer = Tally | FoundByThread
