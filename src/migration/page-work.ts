import type { Secret } from '../core/secret.ts'
import type { StoredRecord } from '../stores/store.ts'
import { displayId } from './cells.ts'
import { count, emptyTally, type Tally } from './census.ts'
import type { Envelope } from './envelope/envelope.ts'
import type { KeyBook } from './envelope/key-book.ts'
import { type Opened, openPage, type OpenedRecord } from './envelope/open-record.ts'
import type { SealedTwice } from './sealed-twice.ts'

/** So many records are opened at once: enough to share a cipher's call, few enough to be garbage while they are young. */
const togetherSize = 64

/** The records of a page in the pieces that are opened together. */
export function* openedTogether(page: readonly StoredRecord[]): Generator<readonly StoredRecord[]> {
  for (let from = 0; from < page.length; from += togetherSize) yield page.slice(from, from + togetherSize)
}

export type Look = {
  readonly envelope: Envelope
  readonly book: KeyBook
  /** Of a run that makes new DEKs: whether a record has one of them already. */
  readonly isFresh?: ((dek: Secret) => boolean) | undefined
  /** Looks into what values hold. */
  readonly inner?: SealedTwice | undefined
  /** Sees each record that opened before it is wiped. */
  readonly each?: (record: StoredRecord, opened: OpenedRecord) => void
}

/** Opens the records of a page through the whole declared chain, counts them, and wipes what opened. */
export function tallyPage(page: readonly StoredRecord[], look: Look): Tally {
  const tally = emptyTally()
  for (const records of openedTogether(page)) {
    const opened = openPage(records, look)
    try {
      for (const [at, record] of records.entries()) countOne(tally, record, opened[at], look)
    } finally {
      for (const one of opened) if (one.kind === 'sealed') one.wipe()
    }
  }
  return tally
}

function countOne(
  tally: Tally,
  record: StoredRecord,
  opened: Opened | undefined,
  { inner, each }: Look,
): void {
  if (opened === undefined) return
  if (opened.kind === 'sealed') {
    each?.(record, opened)
    inner?.look(opened, tally.sealedTwice)
  }
  count(tally, opened, () => displayId(record.id))
}
