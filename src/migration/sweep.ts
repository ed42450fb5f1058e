import { setTimeout as sleep } from 'node:timers/promises'
import { encodeCell, displayId } from './cells.ts'
import { isUnder, openRecord, type OpenedRecord } from './envelope/open-record.ts'
import { proveRewritten } from './envelope/prove-record.ts'
import { proveRenewed, renewDek, type Renewed } from './envelope/renew-dek.ts'
import { sealUnder } from './envelope/seal-record.ts'
import { makeEntry } from './ciphertext-backup.ts'
import { stopIfInterrupted } from './events.ts'
import type { OpenEnvelope } from './envelope-workload.ts'
import type { QuarantineRow } from './journal.ts'
import type { Secret } from '../core/secret.ts'
import { breathe } from './scan.ts'
import type { SweepOptions, SweepResult } from './workload.ts'
import type { Cells, RecordId, StoredRecord } from '../stores/store.ts'

type Pending = {
  readonly record: StoredRecord
  readonly opened: OpenedRecord
  readonly change: Cells
  /** Where the run makes new DEKs. */
  readonly renewed?: Renewed
}

/**
 * One pass over an envelope: every record that needs another version than the target is sealed under the
 * target. For each batch the old bytes are in the run's backup, on the medium, before the store is asked to
 * swap; the swap compares every column that was used and proves what it wrote before it commits.
 */
export async function sweepOnce(open: OpenEnvelope, options: SweepOptions): Promise<SweepResult> {
  const { envelope, store } = open
  const unreadable: QuarantineRow[] = []
  let [seen, changed, lost] = [0, 0, 0]
  const started = performance.now()
  for await (const page of store.scan(envelope.set, pageSize(options))) {
    await breathe(options.run)
    const pending = findPending(open, page, { ...options, unreadable })
    try {
      const outcomes = await swapPending(open, pending, options)
      changed += outcomes.changed
      lost += outcomes.lost
    } finally {
      for (const { opened, renewed } of pending) {
        opened.wipe()
        renewed?.dek.wipe()
        renewed?.old.wipe()
      }
    }
    seen += page.length
    options.events.progress({
      phase: envelope.wraps.length === 0 ? 'reencrypt' : 'rewrap',
      envelope: envelope.name,
      done: seen,
      total: options.total,
    })
    if (options.rate !== undefined) await hold(started, seen, { rate: options.rate, run: options.run })
  }
  return { seen, changed, lost, unreadable }
}

function findPending(
  { envelope, book }: OpenEnvelope,
  page: readonly StoredRecord[],
  look: Pick<SweepOptions, 'target' | 'fresh'> & { readonly unreadable: QuarantineRow[] },
): readonly Pending[] {
  const pending: Pending[] = []
  const isFresh = look.fresh && ((dek: Secret) => look.fresh?.has(dek) === true)
  for (const record of page) {
    const opened = openRecord(envelope, record, book, isFresh)
    if (opened.kind === 'unreadable') {
      look.unreadable.push({ envelope: envelope.name, record: displayId(record.id), reason: opened.reason })
      continue
    }
    if (opened.kind !== 'sealed') continue
    if (isUnder(opened, look.target)) {
      opened.wipe()
      continue
    }
    if (opened.labels.foreign) {
      // The plan found none: something writes them now. What is no number of kvx is never overwritten.
      opened.wipe()
      const row = { envelope: envelope.name, record: displayId(record.id), reason: 'version-column' }
      look.unreadable.push(row)
      continue
    }
    const to = { book, target: look.target }
    if (look.fresh === undefined) {
      pending.push({ record, opened, change: sealUnder(envelope, record, opened, to) })
      continue
    }
    const renewed = renewDek(envelope, record, opened, to)
    pending.push({ record, opened, change: renewed.change, renewed })
  }
  return pending
}

async function swapPending(
  { envelope, store, book }: OpenEnvelope,
  pending: readonly Pending[],
  options: SweepOptions,
): Promise<{ readonly changed: number; readonly lost: number }> {
  if (pending.length === 0) return { changed: 0, lost: 0 }
  const rows = byId(
    await store.fetch(
      envelope.set,
      pending.map(({ record }) => record.id),
    ),
  )
  await options.backup.append(
    pending.map(({ record, change, renewed }) => ({
      ...makeEntry(
        envelope.name,
        record.id,
        { row: rows.get(idKey(record.id))?.cells ?? {}, used: record.cells },
        change,
      ),
      ...(renewed && { dek: options.fresh?.add(renewed.dek) ?? '', wrapped: renewed.wrapped }),
    })),
  )
  const before = new Map(pending.map((one) => [idKey(one.record.id), one]))
  const to = { book, target: options.target }
  const outcomes = await store.swap(
    envelope.set,
    pending.map(({ record, change }) => ({ id: record.id, expected: record.cells, change })),
    (written) => {
      for (const record of written) {
        const original = before.get(idKey(record.id))
        if (original === undefined)
          throw new TypeError('the store read back a record that was not in the batch')
        if (original.renewed === undefined) proveRewritten(envelope, record, original.opened, to)
        else proveRenewed(envelope, record, original.renewed, to)
      }
    },
  )
  const changed = outcomes.filter((outcome) => outcome === 'changed').length
  return { changed, lost: outcomes.length - changed }
}

function byId(records: readonly StoredRecord[]): ReadonlyMap<string, StoredRecord> {
  return new Map(records.map((record) => [idKey(record.id), record]))
}

export function idKey(id: RecordId): string {
  return JSON.stringify(id.map(encodeCell))
}

/** No more records at once than a second may have. */
function pageSize({ batch, rate }: SweepOptions): number {
  return rate === undefined ? batch : Math.min(batch, Math.max(1, Math.floor(rate)))
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
