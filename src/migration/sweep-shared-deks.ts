import type { StoredRecord } from '../stores/store.ts'
import { displayId, encodeCell, idKey } from './cells.ts'
import { makeEntry, type BackupEntry } from './ciphertext-backup.ts'
import type { Envelope } from './envelope/envelope.ts'
import { stateOf } from './envelope/instance.ts'
import { openRecord, type OpenedRecord } from './envelope/open-record.ts'
import { proveRenewed, renewDek, type Renewed } from './envelope/renew-dek.ts'
import type { OpenEnvelope } from './envelope-workload.ts'
import { stopIfInterrupted } from './events.ts'
import { withoutPlaintext } from './plain-backup.ts'
import { breathe } from './scan.ts'
import type { SweepOptions, SweepResult } from './workload.ts'

/** So many records are looked at for groups; their groups get all of their records from one more scan. */
const pageSize = 200

type Member = { readonly record: StoredRecord; readonly opened: OpenedRecord }

/**
 * One pass over records that share DEKs, each with a wrap of its own: all records of a group get the same new DEK,
 * in one transaction. A group with a record that does not open is left alone; the look afterwards names it.
 */
export async function sweepSharedDeks(open: OpenEnvelope, options: SweepOptions): Promise<SweepResult> {
  const { envelope, store, book } = open
  let [seen, changed, lost] = [0, 0, 0]
  const done = new Set<string>()
  for await (const page of store.scan(envelope.set, pageSize)) {
    await breathe(options.run)
    const waiting = new Map<string, StoredRecord[]>()
    for (const record of page) {
      const group = groupOf(envelope, record)
      const opened = openRecord(envelope, record, book, {
        isFresh: (dek) => options.fresh?.has(dek) === true,
      })
      if (opened.kind !== 'sealed') continue
      if (opened.labels.settled !== options.target && !done.has(group)) waiting.set(group, [])
      opened.wipe()
    }
    if (waiting.size > 0) await gather(open, waiting, options.run)
    for (const [group, records] of waiting) {
      stopIfInterrupted(options.run)
      const outcome = await renewGroup(open, records, options)
      changed += outcome.changed
      lost += outcome.lost
      if (outcome.changed > 0) done.add(group)
    }
    seen += page.length
    options.events.progress({ phase: 'reencrypt', envelope: envelope.name, done: seen, total: options.total })
  }
  return { seen, changed, lost, unreadable: [] }
}

function groupOf({ set, groupBy }: Envelope, record: StoredRecord): string {
  const state = stateOf(set.id, record)
  return JSON.stringify(groupBy.map((column) => encodeCell(state[column] ?? null)))
}

async function gather(
  { envelope, store }: OpenEnvelope,
  waiting: ReadonlyMap<string, StoredRecord[]>,
  run: string,
): Promise<void> {
  for await (const page of store.scan(envelope.set, pageSize)) {
    await breathe(run)
    for (const record of page) waiting.get(groupOf(envelope, record))?.push(record)
  }
}

/** The sealed records of a group, or undefined when one of them does not open. */
function openAll({ envelope, book }: OpenEnvelope, records: readonly StoredRecord[]): Member[] | undefined {
  const members: Member[] = []
  for (const record of records) {
    const opened = openRecord(envelope, record, book)
    if (opened.kind === 'sealed') members.push({ record, opened })
    const isForeign = opened.kind === 'sealed' && opened.labels.foreign
    if (opened.kind !== 'unreadable' && !isForeign) continue
    for (const member of members) member.opened.wipe()
    return undefined
  }
  return members
}

async function renewGroup(
  open: OpenEnvelope,
  records: readonly StoredRecord[],
  options: SweepOptions,
): Promise<{ readonly changed: number; readonly lost: number }> {
  const { envelope, store, book } = open
  const members = openAll(open, records)
  const [first] = members ?? []
  if (members === undefined || first === undefined) return { changed: 0, lost: 0 }
  const to = { book, target: options.target }
  const shared = renewDek(envelope, first.record, first.opened, to)
  const renewed = members.map(({ record, opened }) => ({
    record,
    made:
      record === first.record ? shared : renewDek(envelope, record, opened, { ...to, shared: shared.dek }),
  }))
  try {
    await options.backup.append(await entriesOf(open, renewed, options))
    const made = new Map(renewed.map((one) => [idKey(one.record.id), one.made]))
    const swaps = renewed.map(({ record, made: { change } }) => ({
      id: record.id,
      expected: record.cells,
      change,
    }))
    const outcomes = await store.swapTogether?.([{ set: envelope.set, swaps }], (written) => {
      for (const record of written) {
        const one = made.get(idKey(record.id))
        if (one === undefined)
          throw new TypeError(`the store read back ${displayId(record.id)}, which was not written`)
        proveRenewed(envelope, record, one, to)
      }
    })
    const all = outcomes?.flat().every((outcome) => outcome === 'changed') === true
    return all ? { changed: swaps.length, lost: 0 } : { changed: 0, lost: swaps.length }
  } finally {
    shared.dek.wipe()
    for (const { made } of renewed) made.old.wipe()
    for (const { opened } of members) opened.wipe()
  }
}

async function entriesOf(
  { envelope, store, book }: OpenEnvelope,
  renewed: readonly { readonly record: StoredRecord; readonly made: Renewed }[],
  { fresh, target, run }: SweepOptions,
): Promise<readonly BackupEntry[]> {
  const ids = renewed.map(({ record }) => record.id)
  const rows = new Map((await store.fetch(envelope.set, ids)).map((row) => [idKey(row.id), row]))
  return renewed.map(({ record, made }) => {
    const row = rows.get(idKey(record.id))?.cells ?? {}
    const entry = makeEntry(envelope.name, record.id, { row, used: record.cells }, made.change)
    const hidden = withoutPlaintext(envelope, entry, { book, version: target, run })
    return { ...hidden, dek: fresh?.add(made.dek) ?? '', wrapped: made.wrapped }
  })
}
