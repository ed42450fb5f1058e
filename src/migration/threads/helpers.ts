import { join } from 'node:path'
import type { Config } from '../../config/config.ts'
import { type Crew, scriptAt, startCrew, threadsFor } from '../../platform/threads.ts'
import type { StoredRecord } from '../../stores/store.ts'
import type { Tally } from '../census.ts'
import type { KeyBook } from '../envelope/key-book.ts'
import type { Pending } from '../find-pending.ts'
import type { QuarantineRow } from '../journal.ts'
import type { SweepOptions } from '../workload.ts'
import type { Answer, Begin, FoundByThread, Question } from './messages.ts'
import { packRecords, unpackChanges } from './packed-cells.ts'

/** Threads that open and seal pages of records. Stores, backups and proofs stay with the one that asks them. */
export type Helpers = {
  /** So many pages are worth having under way. */
  readonly width: number
  look(envelope: string, page: readonly StoredRecord[], look: number): Promise<Tally>
  find(
    envelope: string,
    page: readonly StoredRecord[],
    run: Pick<SweepOptions, 'target' | 'kind'>,
  ): Promise<{ readonly pending: readonly Pending[]; readonly unreadable: readonly QuarantineRow[] }>
}

/** The helpers of a session, begun when the first work is large enough for them. */
export class HelperRoom {
  readonly #config: Config
  readonly #books: ReadonlyMap<string, KeyBook>
  #crew: Crew<Question, Answer> | undefined

  constructor(config: Config, books: ReadonlyMap<string, KeyBook>) {
    this.#config = config
    this.#books = books
  }

  async for(records: number): Promise<Helpers | undefined> {
    const size = threadsFor(records)
    if (size < 1) return undefined
    const folder = import.meta.dirname
    const script = await scriptAt(join(folder, 'worker.cjs'), join(folder, 'worker.ts'))
    if (script === undefined) return undefined
    this.#crew ??= startCrew(script, size, () => this.#begin())
    return helpersOf(this.#crew)
  }

  #begin(): { readonly data: Begin; readonly buffers: readonly ArrayBuffer[] } {
    const { path, keys, stores, envelopes } = this.#config
    const books = [...this.#books.values()].map((book) => book.handOver())
    const buffers = books.flatMap(({ versions }) => versions.map(({ bytes }) => bytes))
    return { data: { config: { path, keys, stores, envelopes }, books }, buffers }
  }

  async close(): Promise<void> {
    await this.#crew?.end()
    this.#crew = undefined
  }
}

function helpersOf(crew: Crew<Question, Answer>): Helpers {
  return {
    width: crew.size + 1,
    look: async (envelope, page, look) =>
      (await crew.ask({ envelope, records: packRecords(page), work: { look } })) as Tally,
    find: async (envelope, page, { target, kind }) => {
      const question = { envelope, records: packRecords(page), work: { target, kind } }
      const found = (await crew.ask(question)) as FoundByThread
      return { pending: unpacked(page, found), unreadable: found.unreadable }
    },
  }
}

/** As `findPending` gives it. The secrets stay where they came, each a part of one buffer. */
function unpacked(page: readonly StoredRecord[], found: FoundByThread): readonly Pending[] {
  const { places, held, secrets } = found
  let [at, end] = [0, 0]
  return unpackChanges(found.changes).map((change, index) => {
    const record = page[places[index] ?? page.length]
    if (record === undefined) throw new TypeError('a thread answers for records that it was asked for')
    const before = Array.from({ length: held[at++] ?? 0 }, () => {
      const [version = 0, length = 0] = [held[at++], held[at++]]
      const secret = new Uint8Array(secrets, end, length)
      end += length
      return { version, secret }
    })
    return {
      record,
      change,
      proof: { before },
      wipe: () => {
        for (const { secret } of before) secret.fill(0)
      },
    }
  })
}
