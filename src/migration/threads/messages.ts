import type { Config } from '../../config/config.ts'
import type { Cells, StoredRecord } from '../../stores/store.ts'
import type { Tally } from '../census.ts'
import type { HandedBook } from '../envelope/key-book.ts'
import type { QuarantineRow } from '../journal.ts'
import type { SweepOptions } from '../workload.ts'

/** What a thread begins with: the declarations, which were compiled here already, and the keys. */
export type Begin = {
  readonly config: Pick<Config, 'path' | 'keys' | 'stores' | 'envelopes'>
  readonly books: readonly HandedBook[]
}

export type Question = {
  readonly envelope: string
  readonly records: readonly StoredRecord[]
  /** What a run wants of them, or which look they belong to. */
  readonly work: Pick<SweepOptions, 'target' | 'kind'> | { readonly look: number }
}

/** What a run has to write of a page. */
export type FoundByThread = {
  readonly changes: readonly {
    /** Which record of the page. */
    readonly at: number
    readonly change: Cells
    /** What it held under the key: its version, and how many of the next secrets' bytes. */
    readonly held: readonly { readonly version: number; readonly length: number }[]
  }[]
  /** All secrets one behind the other, handed over. */
  readonly secrets: ArrayBuffer
  readonly unreadable: readonly QuarantineRow[]
}

export type Answer = Tally | FoundByThread
