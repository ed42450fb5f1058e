import { type Answered, answerQuestions } from '../../platform/threads.ts'
import type { StoredRecord } from '../../stores/store.ts'
import { compileEnvelopes } from '../envelope/compile-envelope.ts'
import type { Envelope } from '../envelope/envelope.ts'
import { KeyBook } from '../envelope/key-book.ts'
import { findPending, type Pending } from '../find-pending.ts'
import type { QuarantineRow } from '../journal.ts'
import { openedTogether, tallyPage } from '../page-work.ts'
import { SealedTwice } from '../sealed-twice.ts'
import type { SweepOptions } from '../workload.ts'
import type { Begin, FoundByThread, Question } from './messages.ts'
import { packChanges, unpackRecords } from './packed-cells.ts'

/** What looks into values, begun anew with each look at an envelope. */
class Searches {
  #current: { readonly envelope: string; readonly look: number; readonly search: SealedTwice } | undefined

  of(envelope: string, look: number, book: KeyBook): SealedTwice {
    if (this.#current?.envelope !== envelope || this.#current.look !== look) {
      this.end()
      this.#current = { envelope, look, search: new SealedTwice(book) }
    }
    return this.#current.search
  }

  end(): void {
    this.#current?.search.wipe()
    this.#current = undefined
  }
}

function find(
  open: { readonly envelope: Envelope; readonly book: KeyBook },
  records: readonly StoredRecord[],
  run: Pick<SweepOptions, 'target' | 'kind'>,
): Answered {
  const unreadable: QuarantineRow[] = []
  const pending: Pending[] = []
  try {
    for (const part of openedTogether(records))
      pending.push(...findPending(open, part, { ...run, fresh: undefined, unreadable }))
    const answer = packed(records, pending, unreadable)
    return { answer, buffers: [answer.secrets, answer.changes.cells.bytes.buffer] }
  } finally {
    for (const one of pending) one.wipe()
  }
}

function packed(
  records: readonly StoredRecord[],
  pending: readonly Pending[],
  unreadable: readonly QuarantineRow[],
): FoundByThread {
  const held = pending.map(({ proof }) => (typeof proof === 'function' ? [] : proof.before))
  const secrets = new Uint8Array(held.flat().reduce((sum, { secret }) => sum + secret.length, 0))
  let end = 0
  for (const { secret } of held.flat()) {
    secrets.set(secret, end)
    end += secret.length
  }
  const placeOf = new Map(records.map((record, at) => [record, at]))
  return {
    places: Uint32Array.from(pending, ({ record }) => placeOf.get(record) ?? records.length),
    changes: packChanges(pending.map(({ change }) => change)),
    held: Uint32Array.from(
      held.flatMap((all) => [all.length, ...all.flatMap(({ version, secret }) => [version, secret.length])]),
    ),
    secrets: secrets.buffer,
    unreadable,
  }
}

// What a thread does: it opens and seals the records of a page. It has no store, no file and no home.
answerQuestions<Question>((begin) => {
  const { config, books: handed } = begin as Begin
  const books = new Map(handed.map((book) => [book.name, KeyBook.from(book)]))
  const envelopes = new Map(
    compileEnvelopes({ ...config, where: () => config.path }).map((one) => [one.name, one]),
  )
  const searches = new Searches()
  return {
    answer: (question) => {
      const envelope = envelopes.get(question.envelope)
      const book = books.get(envelope?.key ?? '')
      if (envelope === undefined || book === undefined) throw new TypeError('the thread was begun with it')
      const { work } = question
      const records = unpackRecords(question.records)
      if (!('look' in work)) return find({ envelope, book }, records, work)
      const inner = envelope.wraps.length === 0 ? searches.of(envelope.name, work.look, book) : undefined
      return { answer: tallyPage(records, { envelope, book, inner }) }
    },
    end: () => {
      searches.end()
      for (const book of books.values()) book.wipe()
    },
  }
})
