import type { Cells, Store } from '../stores/store.ts'
import { digestOfCells } from './cells.ts'
import { readBackup, type BackupEntry } from './ciphertext-backup.ts'
import type { Envelope } from './envelope.ts'
import type { OpenEnvelope } from './envelope-workload.ts'
import { breathe } from './scan.ts'
import { idKey } from './sweep.ts'
import type { CiphertextRestore, RestoreOptions } from './workload.ts'

type Tally = { restored: number; inserted: number; same: number; changedSince: number }

/** The records of one envelope in a run's backup: those that are missing or still hold what the run wrote. */
export async function restoreRecords(
  open: OpenEnvelope,
  options: RestoreOptions,
): Promise<CiphertextRestore> {
  const { envelope, store } = open
  const newest = await newestEntries(options)
  const tally: Tally = { restored: 0, inserted: 0, same: 0, changedSince: 0 }
  let at = 0
  for await (const entry of readBackup(options.runDirectory, options.run)) {
    const isNewest = newest.get(entryKey(entry)) === at++
    if (at % 200 === 0) await breathe(options.run.id)
    if (!isNewest || entry.envelope !== envelope.name) continue
    await restoreOne(store, envelope, entry, { ...options, tally })
    options.events.progress({ phase: 'restore', envelope: envelope.name, done: at, total: newest.size })
  }
  return tally
}

function entryKey(entry: BackupEntry): string {
  return `${entry.envelope}\0${idKey(entry.id)}`
}

/** A record that a writer sealed again during the run was backed up more than once: its last bytes count. */
async function newestEntries({ runDirectory, run }: RestoreOptions): Promise<ReadonlyMap<string, number>> {
  const newest = new Map<string, number>()
  let at = 0
  for await (const entry of readBackup(runDirectory, run)) newest.set(entryKey(entry), at++)
  return newest
}

async function restoreOne(
  store: Store,
  envelope: Envelope,
  entry: BackupEntry,
  options: RestoreOptions & { readonly tally: Tally },
): Promise<void> {
  const { tally, write } = options
  const [current] = await store.fetch(envelope.set, [entry.id])
  if (current === undefined) {
    tally.inserted++
    if (write) await store.insertMissing(envelope.set, [{ id: entry.id, cells: entry.row }])
    return
  }
  const now = pick(current.cells, entry.changed)
  const old = pick(entry.row, entry.changed)
  if (digestOfCells(now) === digestOfCells(old)) {
    tally.same++
    return
  }
  const own = digestOfCells(now) === entry.wrote
  if (!own && !options.overwrite) {
    tally.changedSince++
    return
  }
  // What something else wrote may lie under a DEK of its own: all that belongs together goes back together.
  const change = own ? old : differing(envelope, current.cells, entry.row)
  const expected = pick(current.cells, Object.keys(change))
  const [outcome] = write
    ? await store.swap(envelope.set, [{ id: entry.id, expected, change }], () => undefined)
    : []
  if (own && (!write || outcome === 'changed')) tally.restored++
  else tally.changedSince++
}

function differing(envelope: Envelope, now: Cells, old: Cells): Cells {
  const names = envelope.set.columns.filter((name) => {
    return digestOfCells(pick(now, [name])) !== digestOfCells(pick(old, [name]))
  })
  return pick(old, names)
}

function pick(cells: Cells, names: readonly string[]): Cells {
  return Object.fromEntries(names.map((name) => [name, cells[name] ?? null]))
}
