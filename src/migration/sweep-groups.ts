import type { RecordId, StoredRecord, SwapBatch } from '../stores/store.ts'
import { displayId, idKey } from './cells.ts'
import { makeEntry, type BackupEntry } from './ciphertext-backup.ts'
import { joinedValues, type Envelope, type Joined } from './envelope/envelope.ts'
import { parseAll, stateOf } from './envelope/instance.ts'
import { dekOf, isUnder, openRecord, openValues, type OpenedRecord } from './envelope/open-record.ts'
import { proveRenewed, proveValues, renewDek, underNewDek, type Renewed } from './envelope/renew-dek.ts'
import type { OpenEnvelope } from './envelope-workload.ts'
import { stopIfInterrupted } from './events.ts'
import type { QuarantineRow } from './journal.ts'
import { withoutPlaintext } from './plain-backup.ts'
import { breathe } from './scan.ts'
import type { SweepOptions, SweepResult } from './workload.ts'

/** So many DEKs get their values from one scan of the values' table. */
const groupsAtOnce = 200
const pageSize = 500

/** A DEK in a table of its own, with the records whose values it seals. */
type Group = {
  readonly record: StoredRecord
  readonly opened: OpenedRecord
  readonly values: StoredRecord[]
}

/**
 * One pass that gives every group of records a new DEK: its wrap and all of its values change in one transaction,
 * or none of them. Memory holds the groups of one batch.
 */
export async function sweepGroups(
  open: OpenEnvelope,
  joined: Joined,
  options: SweepOptions,
): Promise<SweepResult> {
  const { envelope, store } = open
  const unreadable: QuarantineRow[] = []
  let [seen, changed, lost] = [0, 0, 0]
  for await (const page of store.scan(envelope.set, groupsAtOnce)) {
    await breathe(options.run)
    const groups = findGroups(open, page, options, unreadable)
    try {
      if (groups.size > 0) await gather(open, joined, groups, options.run)
      for (const group of groups.values()) {
        stopIfInterrupted(options.run)
        // A group with a value that does not open keeps its DEK: that value may need it yet.
        if (!groupOpens(open, joined, group)) continue
        const outcome = await renewGroup(open, joined, group, options)
        if (outcome) changed += 1 + group.values.length
        else lost++
      }
    } finally {
      for (const { opened } of groups.values()) opened.wipe()
    }
    seen += page.length
    options.events.progress({ phase: 'reencrypt', envelope: envelope.name, done: seen, total: options.total })
  }
  return { seen, changed, lost, unreadable }
}

function findGroups(
  { envelope, book }: OpenEnvelope,
  page: readonly StoredRecord[],
  { fresh, target }: SweepOptions,
  unreadable: QuarantineRow[],
): Map<string, Group> {
  const groups = new Map<string, Group>()
  for (const record of page) {
    const opened = openRecord(envelope, record, book, { isFresh: (dek) => fresh?.has(dek) === true })
    if (opened.kind === 'unreadable')
      unreadable.push({ envelope: envelope.name, record: displayId(record.id), reason: opened.reason })
    if (opened.kind !== 'sealed') continue
    if (opened.labels.foreign) {
      unreadable.push({ envelope: envelope.name, record: displayId(record.id), reason: 'version-column' })
      opened.wipe()
    } else if (isUnder(opened, target)) opened.wipe()
    else groups.set(idKey(record.id), { record, opened, values: [] })
  }
  return groups
}

async function gather(
  { store }: OpenEnvelope,
  joined: Joined,
  groups: ReadonlyMap<string, Group>,
  run: string,
): Promise<void> {
  for await (const page of store.scan(joined.set, pageSize)) {
    await breathe(run)
    for (const record of page) {
      const state = stateOf(joined.set.id, record)
      const id: RecordId = joined.on.map((column) => state[column] ?? null)
      groups.get(idKey(id))?.values.push(record)
    }
  }
}

function groupOpens(
  { envelope, book }: OpenEnvelope,
  joined: Joined,
  { record, opened, values }: Group,
): boolean {
  const key = dekOf(envelope, opened, stateOf(envelope.set.id, record))
  if (typeof key === 'string') return false
  try {
    return values.every((value) => {
      const own = stateOf(joined.set.id, value)
      const places = parseAll(joined.values, own, envelope)
      return typeof openValues(places, key, { state: own, book }) !== 'string'
    })
  } finally {
    key.wipe()
  }
}

/** @returns false when another writer was faster: nothing of the group was written then */
async function renewGroup(
  { envelope, store, book }: OpenEnvelope,
  joined: Joined,
  { record, opened, values }: Group,
  options: SweepOptions,
): Promise<boolean> {
  const to = { book, target: options.target }
  const inValues = joinedValues(envelope)
  const hidden = { book, version: options.target, run: options.run }
  const renewed = renewDek(envelope, record, opened, to)
  try {
    const moved = values.map((value) => ({ value, ...underNewDek(inValues, value, renewed) }))
    const written = moved.filter(({ change }) => Object.keys(change).length > 0)
    const ids = written.map(({ value }) => value.id)
    const rows = new Map((await store.fetch(joined.set, ids)).map((row) => [idKey(row.id), row]))
    const [whole] = await store.fetch(envelope.set, [record.id])
    await options.backup.append([
      dekEntry(envelope, record, { renewed, whole }, options),
      ...written.map(({ value, change }): BackupEntry => {
        const row = rows.get(idKey(value.id))?.cells ?? {}
        const entry = makeEntry(envelope.name, value.id, { row, used: value.cells }, change)
        return withoutPlaintext(envelope, { ...entry, joined: true }, hidden)
      }),
    ])
    const batches: SwapBatch[] = [
      { set: envelope.set, swaps: [{ id: record.id, expected: record.cells, change: renewed.change }] },
      {
        set: joined.set,
        swaps: written.map(({ value, change }) => ({ id: value.id, expected: value.cells, change })),
      },
    ]
    const digests = new Map(written.map(({ value, values: digest }) => [idKey(value.id), digest]))
    const outcomes = await store.swapTogether?.(batches, (found, batch) => {
      for (const one of found) {
        const digest = digests.get(idKey(one.id))
        if (batch === 0) proveRenewed(envelope, one, renewed, to)
        else if (digest !== undefined) proveValues(inValues, one, { ...renewed, values: digest }, book)
      }
    })
    return outcomes?.flat().every((outcome) => outcome === 'changed') === true
  } finally {
    renewed.dek.wipe()
    renewed.old.wipe()
  }
}

function dekEntry(
  envelope: Envelope,
  record: StoredRecord,
  { renewed, whole }: { readonly renewed: Renewed; readonly whole: StoredRecord | undefined },
  { fresh }: SweepOptions,
): BackupEntry {
  const before = { row: whole?.cells ?? {}, used: record.cells }
  return {
    ...makeEntry(envelope.name, record.id, before, renewed.change),
    dek: fresh?.add(renewed.dek) ?? '',
    wrapped: renewed.wrapped,
  }
}
