import { setTimeout as sleep } from 'node:timers/promises'
import { KvxError } from '../core/errors.ts'
import { displayId, idKey } from './cells.ts'
import type { Secret } from '../core/secret.ts'
import { isUnder, openPage, openRecord, type Opened, type OpenedRecord } from './envelope/open-record.ts'
import { type Held, heldBy, proveRewritten, type Rewritten } from './envelope/prove-record.ts'
import { proveRenewed, renewDek } from './envelope/renew-dek.ts'
import { proveFirst, sealFirst } from './envelope/seal-first.ts'
import { sealPage, type SealTarget, type ToSeal } from './envelope/seal-record.ts'
import type { Envelope } from './envelope/envelope.ts'
import { withoutPlaintext } from './plain-backup.ts'
import { BatchSize } from './batch-size.ts'
import { makeEntry, type BackupEntry } from './ciphertext-backup.ts'
import { stopIfInterrupted } from './events.ts'
import type { OpenEnvelope } from './envelope-workload.ts'
import type { QuarantineRow } from './journal.ts'
import { readAhead } from './read-ahead.ts'
import { breathe, openedTogether } from './scan.ts'
import type { SweepOptions, SweepResult } from './workload.ts'
import type { Cells, StoredRecord } from '../stores/store.ts'

/** So many records are read at once. */
const pageSize = 500
/** A batch ends early where its records are large. */
const maxBatchBytes = 16 * 1_048_576

type Pending = {
  readonly record: StoredRecord
  readonly change: Cells
  /** What the backup says beside the old row. */
  readonly extra?: (options: SweepOptions) => Pick<BackupEntry, 'dek' | 'wrapped'>
  readonly proof: Proof
  readonly wipe: () => void
}

/** How what the store gave back is proven: with the rest of its page, or by itself. Throws when it is not what was meant. */
type Proof = { readonly before: Held } | ((written: StoredRecord) => void)

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
  try {
    const pages = store.scan(envelope.set, Math.min(size.records, pageSize))
    for await (const page of overlaps ? readAhead(pages) : pages) {
      await breathe(options.run)
      for (const part of openedTogether(page))
        await writer.add(findPending(open, part, { ...options, unreadable }))
      seen += page.length
      options.events.progress({
        phase: options.kind === 'seal' ? 'seal' : envelope.wraps.length === 0 ? 'reencrypt' : 'rewrap',
        envelope: envelope.name,
        done: seen,
        total: options.total,
      })
      if (options.rate !== undefined) await hold(started, seen, { rate: options.rate, run: options.run })
    }
    const { changed, lost } = await writer.end()
    return { seen, changed, lost, unreadable }
  } finally {
    await writer.abandon()
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
    const begun = performance.now()
    try {
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

type Look = Pick<SweepOptions, 'target' | 'fresh' | 'kind'> & { readonly unreadable: QuarantineRow[] }

function findPending(open: OpenEnvelope, page: readonly StoredRecord[], look: Look): readonly Pending[] {
  if (look.kind === 'seal') return page.flatMap((record) => findPlain(open, record, look) ?? [])
  const { envelope, book } = open
  const { fresh, target } = look
  const isFresh = fresh && ((dek: Secret): boolean => fresh.has(dek))
  const opened = openPage(page, { envelope, book, isFresh })
  const kept: ToSeal[] = []
  try {
    opened.forEach((one, at) => {
      const record = page[at]
      if (record !== undefined && isPending(one, { envelope, record }, look))
        kept.push({ record, opened: one })
      else if (one.kind === 'sealed') one.wipe()
    })
    const to = { book, target }
    return fresh === undefined
      ? rewrapped(envelope, kept, to)
      : kept.map((one) => renewed(envelope, one.record, one.opened, to))
  } catch (error) {
    for (const one of kept) one.opened.wipe()
    throw error
  }
}

function isPending(
  opened: Opened,
  { envelope, record }: { readonly envelope: Envelope; readonly record: StoredRecord },
  { target, unreadable }: Look,
): opened is OpenedRecord {
  const aside = (reason: string): false => {
    unreadable.push({ envelope: envelope.name, record: displayId(record.id), reason })
    return false
  }
  if (opened.kind === 'unreadable') return aside(opened.reason)
  if (opened.kind !== 'sealed' || isUnder(opened, target)) return false
  // The plan found none: something writes them now. What is no number of kvx is never overwritten.
  return opened.labels.foreign ? aside('version-column') : true
}

function rewrapped(envelope: Envelope, page: readonly ToSeal[], to: SealTarget): readonly Pending[] {
  const changes = sealPage(envelope, page, to)
  return page.map(({ record, opened }, at) => {
    const before = heldBy(opened)
    return {
      record,
      change: changes[at] ?? {},
      proof: { before },
      wipe: () => {
        for (const { secret } of before) secret.fill(0)
      },
    }
  })
}

function renewed(envelope: Envelope, record: StoredRecord, opened: OpenedRecord, to: SealTarget): Pending {
  const made = renewDek(envelope, record, opened, to)
  return {
    record,
    change: made.change,
    extra: ({ fresh }) => ({ dek: fresh?.add(made.dek) ?? '', wrapped: made.wrapped }),
    proof: (written) => proveRenewed(envelope, written, made, to),
    wipe: () => {
      for (const one of [opened, made.dek, made.old]) one.wipe()
    },
  }
}

/** A record with plaintext in a declared place. One that does not open is told, and left alone. */
function findPlain({ envelope, book }: OpenEnvelope, record: StoredRecord, look: Look): Pending | undefined {
  const opened = openRecord(envelope, record, book)
  if (opened.kind === 'sealed') opened.wipe()
  if (opened.kind === 'unreadable') {
    look.unreadable.push({ envelope: envelope.name, record: displayId(record.id), reason: opened.reason })
    return undefined
  }
  if (opened.kind === 'null' || (opened.kind === 'sealed' && !opened.bare)) return undefined
  const isForeign = opened.kind === 'sealed' ? opened.labels.foreign : opened.foreign
  if (isForeign) {
    // The plan found none: something writes them now.
    const row = { envelope: envelope.name, record: displayId(record.id), reason: 'version-column' }
    look.unreadable.push(row)
    return undefined
  }
  const to = { book, target: look.target }
  const first = sealFirst(envelope, record, to)
  if (first === undefined) throw unsealable(envelope, record)
  return {
    record,
    change: first.change,
    // A DEK that was made here: wrapped, in the home, before it seals anything.
    extra: () => (first.dek === undefined ? {} : { wrapped: first.change }),
    proof: (written) => proveFirst(envelope, written, first, to),
    wipe: () => first.dek?.wipe(),
  }
}

function unsealable({ name }: Envelope, record: StoredRecord): KvxError {
  return new KvxError(
    'LAYOUT_MISMATCH',
    `${name}: record ${displayId(record.id)} holds a number that is no text`,
    {
      hint: 'Let the application write it as text first, or take it out; then `kvx run resume`. Nothing of its batch was changed.',
    },
  )
}

async function swapPending(
  open: OpenEnvelope,
  pending: readonly Pending[],
  options: SweepOptions,
): Promise<{ readonly changed: number; readonly lost: number }> {
  const { envelope, store } = open
  if (pending.length === 0) return { changed: 0, lost: 0 }
  const rows = byId(
    await store.fetch(
      envelope.set,
      pending.map(({ record }) => record.id),
    ),
  )
  await options.backup.append(pending.map((one) => backupEntry(open, one, rows, options)))
  const before = new Map(pending.map((one) => [idKey(one.record.id), one]))
  const outcomes = await store.swap(
    envelope.set,
    pending.map(({ record, change }) => ({ id: record.id, expected: record.cells, change })),
    (written) => prove(open, written, { before, target: options.target }),
  )
  const changed = outcomes.filter((outcome) => outcome === 'changed').length
  return { changed, lost: outcomes.length - changed }
}

function prove(
  { envelope, book }: OpenEnvelope,
  written: readonly StoredRecord[],
  { before, target }: { readonly before: ReadonlyMap<string, Pending>; readonly target: number },
): void {
  const rewritten: Rewritten[] = []
  for (const record of written) {
    const original = before.get(idKey(record.id))
    if (original === undefined) throw new TypeError('the store read back a record that was not in the batch')
    const { proof } = original
    if (typeof proof === 'function') proof(record)
    else rewritten.push({ ...original, before: proof.before, written: record })
  }
  proveRewritten(envelope, rewritten, { book, target })
}

function backupEntry(
  { envelope, book }: OpenEnvelope,
  { record, change, extra }: Pending,
  rows: ReadonlyMap<string, StoredRecord>,
  options: SweepOptions,
): BackupEntry {
  const row = rows.get(idKey(record.id))?.cells ?? {}
  const entry = makeEntry(envelope.name, record.id, { row, used: record.cells }, change)
  const hidden = withoutPlaintext(envelope, entry, { book, version: options.target, run: options.run })
  return { ...hidden, ...extra?.(options) }
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
