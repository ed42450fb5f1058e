import { setTimeout as sleep } from 'node:timers/promises'
import type { Cells, StoredRecord } from '../stores/store.ts'
import { BatchSize } from './batch-size.ts'
import { idKey } from './cells.ts'
import { type BackupEntry, makeEntry } from './ciphertext-backup.ts'
import type { OpenEnvelope } from './envelope-workload.ts'
import { proveRewritten, type Rewritten } from './envelope/prove-record.ts'
import { stopIfInterrupted } from './events.ts'
import { findPending, type Pending } from './find-pending.ts'
import type { QuarantineRow } from './journal.ts'
import { openedTogether } from './page-work.ts'
import { withoutPlaintext } from './plain-backup.ts'
import { inOrder, readAhead } from './read-ahead.ts'
import { breathe } from './scan.ts'
import type { Helpers } from './threads/helpers.ts'
import type { SweepOptions, SweepResult } from './workload.ts'

/** So many records are read at once. */
const pageSize = 500
/** A batch ends early where its records are large. */
const maxBatchBytes = 16 * 1_048_576

/**
 * One pass over an envelope: every record that needs another version than the target is sealed under the
 * target. For each batch the old bytes are in the run's backup, on the medium, before the store is asked to
 * swap; the swap compares every column that was used and proves what it wrote before it commits.
 */
export async function sweepOnce(open: OpenEnvelope, options: SweepOptions): Promise<SweepResult> {
  const { envelope, store } = open
  const unreadable: QuarantineRow[] = []
  const started = performance.now()
  const overlaps = store.overlaps === true
  const size = new BatchSize(options.batch, options.rate, overlaps)
  const writer = new BatchWriter(open, options, size)
  let seen = 0
  // New DEKs and first sealings are made here, and so is what shall go slowly.
  const isPlain = (options.kind === 'rewrap' || options.kind === 'reencrypt') && options.rate === undefined
  const helpers = isPlain && options.fresh === undefined ? await open.helpers?.(options.total) : undefined
  try {
    // Where the run gives way, a page is written in pieces: it rests before each of them, and reads no more for it.
    const atOnce = options.rate === 'auto' ? pageSize : Math.min(size.records, pageSize)
    const pages = store.scan(envelope.set, atOnce)
    const found = inOrder(
      overlaps ? readAhead(pages) : pages,
      helpers?.width ?? 0,
      (page) => findInPage(open, page, { options, helpers }),
      ({ pending }) => pending.forEach((one) => one.wipe()),
    )
    for await (const page of found) {
      unreadable.push(...page.unreadable)
      await writer.add(page.pending)
      await breathe(options.run)
      seen += page.records
      options.events.progress({
        phase: options.kind === 'seal' ? 'seal' : envelope.wraps.length === 0 ? 'reencrypt' : 'rewrap',
        envelope: envelope.name,
        done: seen,
        total: options.total,
      })
      if (typeof options.rate === 'number')
        await hold(started, seen, { rate: options.rate, run: options.run })
    }
    const { changed, lost } = await writer.end()
    return { seen, changed, lost, unreadable }
  } finally {
    await writer.abandon()
  }
}

type FoundInPage = {
  readonly records: number
  readonly pending: readonly Pending[]
  readonly unreadable: readonly QuarantineRow[]
}

async function findInPage(
  open: OpenEnvelope,
  page: readonly StoredRecord[],
  { options, helpers }: { readonly options: SweepOptions; readonly helpers: Helpers | undefined },
): Promise<FoundInPage> {
  const records = page.length
  if (helpers !== undefined) return { records, ...(await helpers.find(open.envelope.name, page, options)) }
  const unreadable: QuarantineRow[] = []
  const pending: Pending[] = []
  try {
    for (const part of openedTogether(page))
      pending.push(...findPending(open, part, { ...options, unreadable }))
    return { records, pending, unreadable }
  } catch (error) {
    for (const one of pending) one.wipe()
    throw error
  }
}

/**
 * Gathers what is to be written and swaps it a batch at a time. Where the store lets it, the next batch is opened
 * and sealed while the server writes the one before; there are never more than these two.
 */
class BatchWriter {
  readonly #open: OpenEnvelope
  readonly #options: SweepOptions
  readonly #size: BatchSize
  #waiting: Pending[] = []
  #bytes = 0
  #writing: Promise<void> | undefined
  #changed = 0
  #lost = 0

  constructor(open: OpenEnvelope, options: SweepOptions, size: BatchSize) {
    this.#open = open
    this.#options = options
    this.#size = size
  }

  async add(pending: readonly Pending[]): Promise<void> {
    for (const one of pending) {
      this.#waiting.push(one)
      this.#bytes += sizeOf(one.record.cells)
    }
    if (this.#waiting.length < this.#size.records && this.#bytes < maxBatchBytes) return
    await this.#writing
    // What lies under more records than a batch takes, as after the last one was slow, is written piece by piece.
    while (this.#waiting.length > this.#size.records)
      await this.#write(this.#waiting.splice(0, this.#size.records))
    const batch = this.#waiting.splice(0)
    this.#bytes = 0
    this.#writing = this.#write(batch)
    // It is awaited with the next batch: until then nobody else hears of a failure.
    this.#writing.catch(() => undefined)
    if (this.#open.store.overlaps !== true) await this.#writing
  }

  async #write(batch: readonly Pending[]): Promise<void> {
    let begun = 0
    try {
      await this.#open.rest?.()
      // A page is many batches where each has its rest: a signal is not to wait for all of them.
      if (this.#open.rest !== undefined) stopIfInterrupted(this.#options.run)
      begun = performance.now()
      const outcomes = await swapPending(this.#open, batch, this.#options)
      this.#changed += outcomes.changed
      this.#lost += outcomes.lost
    } finally {
      for (const one of batch) one.wipe()
    }
    if (batch.length >= this.#size.records) this.#size.took(performance.now() - begun)
  }

  async end(): Promise<{ readonly changed: number; readonly lost: number }> {
    await this.#writing
    while (this.#waiting.length > 0) await this.#write(this.#waiting.splice(0, this.#size.records))
    return { changed: this.#changed, lost: this.#lost }
  }

  /** Whatever happened: nothing is under way when it returns, and nothing is left open. */
  async abandon(): Promise<void> {
    await this.#writing?.catch(() => undefined)
    for (const one of this.#waiting.splice(0)) one.wipe()
  }
}

function sizeOf(cells: Cells): number {
  let bytes = 0
  for (const cell of Object.values(cells)) {
    if (typeof cell === 'string' || cell instanceof Uint8Array) bytes += cell.length
  }
  return bytes
}

async function swapPending(
  open: OpenEnvelope,
  pending: readonly Pending[],
  options: SweepOptions,
): Promise<{ readonly changed: number; readonly lost: number }> {
  const { envelope, store } = open
  if (pending.length === 0) return { changed: 0, lost: 0 }
  await backUp(open, pending, options)
  const before = new Map(pending.map((one) => [idKey(one.record.id), one]))
  const outcomes = await store.swap(
    envelope.set,
    pending.map(({ record, change }) => ({ id: record.id, expected: record.cells, change })),
    (written) => prove(open, written, { before, target: options.target }),
  )
  const changed = outcomes.filter((outcome) => outcome === 'changed').length
  return { changed, lost: outcomes.length - changed }
}

/** The whole old rows, and what is to lie in their place. */
async function backUp(open: OpenEnvelope, pending: readonly Pending[], options: SweepOptions): Promise<void> {
  const rows = byId(await wholeRecords(open, pending))
  const entries = function* (): Generator<BackupEntry> {
    for (const one of pending) yield backupEntry(open, one, rows.get(idKey(one.record.id)), options)
  }
  await options.backup.append(entries())
}

async function wholeRecords(
  { envelope, store }: OpenEnvelope,
  pending: readonly Pending[],
): Promise<readonly StoredRecord[]> {
  const known = pending.flatMap(({ record }) => store.wholeOf?.(envelope.set, record) ?? [])
  if (known.length === pending.length) return known
  return await store.fetch(
    envelope.set,
    pending.map(({ record }) => record.id),
  )
}

function prove(
  { envelope, book }: OpenEnvelope,
  written: readonly StoredRecord[],
  { before, target }: { readonly before: ReadonlyMap<string, Pending>; readonly target: number },
): void {
  for (const part of openedTogether(written)) {
    const rewritten: Rewritten[] = []
    for (const record of part) {
      const original = before.get(idKey(record.id))
      if (original === undefined)
        throw new TypeError('the store read back a record that was not in the batch')
      const { proof } = original
      if (typeof proof === 'function') proof(record)
      else {
        const { record: old, change } = original
        rewritten.push({ record: old, before: proof.before, change, written: record })
      }
    }
    proveRewritten(envelope, rewritten, { book, target })
  }
}

function backupEntry(
  { envelope, book }: OpenEnvelope,
  { record, change, extra }: Pending,
  whole: StoredRecord | undefined,
  options: SweepOptions,
): BackupEntry {
  const row = whole?.cells ?? {}
  const entry = makeEntry(envelope.name, record.id, { row, used: record.cells }, change)
  const hidden = withoutPlaintext(envelope, entry, { book, version: options.target, run: options.run })
  return extra === undefined ? hidden : { ...hidden, ...extra(options) }
}

function byId(records: readonly StoredRecord[]): ReadonlyMap<string, StoredRecord> {
  return new Map(records.map((record) => [idKey(record.id), record]))
}

/** Waits until the average since `started` is down to `rate` records a second; a signal is heard meanwhile. */
async function hold(
  started: number,
  seen: number,
  { rate, run }: { readonly rate: number; readonly run: string },
): Promise<void> {
  const until = started + (seen / rate) * 1000
  for (let left = until - performance.now(); left > 0; left = until - performance.now()) {
    stopIfInterrupted(run)
    await sleep(Math.min(left, 1000))
  }
}
