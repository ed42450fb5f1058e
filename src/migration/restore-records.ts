import type { Cells, RecordSet, StoredRecord, Swap } from '../stores/store.ts'
import { digestOfCells, digestOfValues, displayId, idKey } from './cells.ts'
import { openRecord } from './envelope/open-record.ts'
import { makeEntry, type BackupEntry } from './ciphertext-backup.ts'
import type { Envelope } from './envelope/envelope.ts'
import type { OpenEnvelope } from './envelope-workload.ts'
import { RestoredDeks } from './restored-deks.ts'
import { openPlain, withoutPlaintext } from './plain-backup.ts'
import { emptyRestore, type RestoreOptions, type Restoring, type RestoreTally } from './workload.ts'

/** As many as a sweep writes at once. */
const batchSize = 500

/** What is to be done with one record of a backup. */
type Step = {
  readonly entry: BackupEntry
  readonly kind: 'restored' | 'inserted' | 'changedSince'
  /** The record as the store holds it now; undefined when it is missing. */
  readonly current: StoredRecord | undefined
  readonly change: Cells
}

/**
 * Brings the records of one envelope back, a batch at a time: those that are missing or still hold what the run
 * wrote, and with `overwrite` the others too. What is about to be overwritten is in a backup of its own, on the
 * medium, before the store is asked to swap.
 */
export function restoreRecords(open: OpenEnvelope, options: RestoreOptions): Restoring {
  const tally = emptyRestore()
  const group = new RestoredDeks(open)
  let waiting: BackupEntry[] = []
  let done = 0
  const flush = async (): Promise<void> => {
    const batch = waiting
    waiting = []
    await restoreBatch(open, batch, { ...options, tally })
    done += batch.length
    const { name } = open.envelope
    options.events.progress({ phase: 'restore', envelope: name, done, total: options.total })
  }
  return {
    add: async (entry) => {
      if (!options.write) await group.add(entry)
      // One batch is of one table.
      if (waiting[0] !== undefined && waiting[0].joined !== entry.joined) await flush()
      waiting.push(withPlain(open, entry, options.run.id))
      if (waiting.length >= batchSize) await flush()
    },
    end: async () => {
      if (waiting.length > 0) await flush()
      if (!options.write) await group.count(tally)
      return tally
    },
  }
}

/** What was plaintext before a first sealing lies sealed in the backup. */
function withPlain({ envelope, book }: OpenEnvelope, entry: BackupEntry, run: string): BackupEntry {
  if (entry.plain === undefined) return entry
  const plain = openPlain(book, entry.plain, { run, envelope: envelope.name, id: entry.id })
  return { ...entry, row: { ...entry.row, ...plain } }
}

function setOf({ set, joined }: Envelope, entry: BackupEntry | undefined): RecordSet {
  return entry?.joined === true && joined !== undefined ? joined.set : set
}

async function restoreBatch(
  open: OpenEnvelope,
  batch: readonly BackupEntry[],
  options: RestoreOptions & { readonly tally: RestoreTally },
): Promise<void> {
  const { envelope, store } = open
  const { tally } = options
  const ids = batch.map(({ id }) => id)
  const found = new Map(
    (await store.fetch(setOf(envelope, batch[0]), ids)).map((record) => [idKey(record.id), record]),
  )
  const steps: Step[] = []
  for (const entry of batch) {
    const step = stepFor(envelope, entry, found.get(idKey(entry.id)))
    if (step === undefined) tally.same++
    else steps.push(step)
  }
  if (!options.write) {
    for (const step of steps) look(open, step, tally)
    return
  }
  const going = steps.filter(({ kind }) => kind !== 'changedSince' || options.overwrite)
  tally.changedSince += steps.length - going.length
  await writeBatch(open, going, options)
}

/** Undefined when the record holds the bytes of before already. */
function stepFor(
  envelope: Envelope,
  entry: BackupEntry,
  current: StoredRecord | undefined,
): Step | undefined {
  if (current === undefined) return { entry, kind: 'inserted', current, change: entry.row }
  const now = pick(current.cells, entry.changed)
  const old = pick(entry.row, entry.changed)
  if (digestOfCells(now) === digestOfCells(old)) return undefined
  if (isWritten(now, entry)) return { entry, kind: 'restored', current, change: old }
  // What something else wrote may lie under a DEK of its own: all that belongs together goes back together.
  const change = differing(setOf(envelope, entry), current.cells, entry.row)
  return { entry, kind: 'changedSince', current, change }
}

/** Whether the record still holds what the run wrote, however the store spells it. */
function isWritten(now: Cells, { wrote, wroteValues }: BackupEntry): boolean {
  return digestOfCells(now) === wrote || (wroteValues !== undefined && digestOfValues(now) === wroteValues)
}

/** Opens the record as it would be afterwards, through the whole declared chain, with the keys at hand. */
function look({ envelope, book }: OpenEnvelope, step: Step, tally: RestoreTally): void {
  tally[step.kind]++
  if (step.entry.joined === true) {
    // It opens through a DEK that comes back beside it, in the same restore.
    if (step.kind === 'changedSince') tally.lossy++
    return
  }
  const cells = pick({ ...step.current?.cells, ...step.change }, envelope.set.columns)
  const opened = openRecord(envelope, { id: step.entry.id, cells }, book)
  if (opened.kind === 'unreadable') {
    tally.unreadable++
    tally.first ??= { envelope: envelope.name, record: displayId(step.entry.id), reason: opened.reason }
  }
  if (opened.kind === 'unreadable' || step.kind === 'changedSince') tally.lossy++
  if (opened.kind !== 'sealed') return
  for (const { version } of opened.under) tally.versions.add(version)
  opened.wipe()
}

async function writeBatch(
  { envelope, store, book }: OpenEnvelope,
  steps: readonly Step[],
  { tally, overwritten, run }: RestoreOptions & { readonly tally: RestoreTally },
): Promise<void> {
  const set = setOf(envelope, steps[0]?.entry)
  const missing = steps.filter(({ current }) => current === undefined)
  const inserted = await store.insertMissing(
    set,
    missing.map(({ entry }) => ({ id: entry.id, cells: entry.row })),
  )
  for (const outcome of inserted) tally[outcome === 'inserted' ? 'inserted' : 'changedSince']++
  const present = steps.flatMap((step) =>
    step.current === undefined ? [] : [{ ...step, now: step.current }],
  )
  if (present.length === 0) return
  const version = book.preferred ?? 0
  await overwritten.append(
    present.map(({ entry, now, change }) => {
      const made = makeEntry(envelope.name, entry.id, { row: now.cells, used: {} }, change)
      const entire = entry.joined === true ? { ...made, joined: true as const } : made
      return withoutPlaintext(envelope, entire, { book, version, run: run.id })
    }),
  )
  const swaps: Swap[] = present.map(({ entry, now, change }) => ({
    id: entry.id,
    expected: pick(now.cells, Object.keys(change)),
    change,
  }))
  // The driver compares what it wrote, byte for byte, before it commits; what it opens with was looked at before.
  const outcomes = await store.swap(set, swaps, () => undefined)
  outcomes.forEach((outcome, index) => {
    const own = present[index]?.kind === 'restored' && outcome === 'changed'
    tally[own ? 'restored' : 'changedSince']++
  })
}

function differing(set: RecordSet, now: Cells, old: Cells): Cells {
  const names = set.columns.filter((name) => {
    return digestOfCells(pick(now, [name])) !== digestOfCells(pick(old, [name]))
  })
  return pick(old, names)
}

function pick(cells: Cells, names: readonly string[]): Cells {
  return Object.fromEntries(names.map((name) => [name, cells[name] ?? null]))
}
