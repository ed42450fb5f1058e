import { withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import type { Workspace } from '../keyring/workspace.ts'
import type { Cells, Store } from '../stores/store.ts'
import { digestOfCells } from './cells.ts'
import { readBackup, type BackupEntry } from './ciphertext-backup.ts'
import type { Envelope } from './envelope.ts'
import type { Events } from './events.ts'
import type { RunRow } from './journal.ts'
import { lockRun, runDirectory } from './runs.ts'
import { breathe } from './scan.ts'
import { openSession, type Session } from './session.ts'
import { idKey } from './sweep.ts'

export type CiphertextRestore = {
  /** Holds the bytes of before the run again. */
  readonly restored: number
  /** Was missing and was brought back whole. */
  readonly inserted: number
  /** Held the bytes of before already. */
  readonly same: number
  /** Was written by something else since; overwritten only with `acceptLoss`. */
  readonly changedSince: number
}

export type RestoreOptions = {
  readonly dryRun: boolean
  /** How many records that something else wrote since may be overwritten, with the reason that is signed. */
  readonly acceptLoss: { readonly count: number; readonly reason: string } | undefined
  readonly events: Events
}

/**
 * Brings back the ciphertext that a run replaced: records that are missing or still hold what the run wrote.
 * Records that something else wrote since are counted and left alone.
 * @throws VALUES_REMAIN when there are such records and their loss is not accepted; nothing was changed then
 */
export async function restoreCiphertext(
  workspace: Workspace,
  run: RunRow,
  options: RestoreOptions,
): Promise<CiphertextRestore> {
  const lock = await lockRun(workspace, run.id)
  const session = await openSession(workspace, { key: run.key, exclusive: true })
  try {
    const look = await pass(workspace, session, run, { ...options, write: false })
    const accepted = options.acceptLoss?.count ?? 0
    if (look.changedSince > accepted) throw writtenSince(run, look.changedSince)
    if (options.dryRun) return look
    const data =
      options.acceptLoss === undefined
        ? {}
        : { acceptedLoss: look.changedSince, reason: options.acceptLoss.reason }
    return await withIntent(
      workspace.audit,
      { action: 'run.restore', subject: run.key, run: run.id, data },
      async (end) => {
        const done = await pass(workspace, session, run, { ...options, write: true })
        end.conclude({ restored: done.restored, inserted: done.inserted, changedSince: done.changedSince })
        return done
      },
    )
  } finally {
    await session.close()
    lock.release()
  }
}

function writtenSince(run: RunRow, count: number): KvxError {
  return new KvxError(
    'VALUES_REMAIN',
    `${count} ${count === 1 ? 'record was' : 'records were'} written by something else since run ${run.id}; nothing was restored`,
    {
      hint: `To overwrite them with the bytes of before the run: \`--accept-loss ${count} --reason TEXT\`. To move values back without losing writes: \`kvx run rollback ${run.id}\`.`,
      details: { run: run.id, changedSince: count },
    },
  )
}

type Tally = { restored: number; inserted: number; same: number; changedSince: number }

async function pass(
  workspace: Workspace,
  session: Session,
  run: RunRow,
  options: RestoreOptions & { readonly write: boolean },
): Promise<CiphertextRestore> {
  const directory = runDirectory(workspace, run.id)
  const newest = await newestEntries(directory, run)
  const tally: Tally = { restored: 0, inserted: 0, same: 0, changedSince: 0 }
  let at = 0
  for await (const entry of readBackup(directory, run)) {
    const isNewest = newest.get(entryKey(entry)) === at++
    if (!isNewest) continue
    if (at % 200 === 0) await breathe(run.id)
    const envelope = session.envelopes.find(({ name }) => name === entry.envelope)
    if (envelope === undefined) throw unknownEnvelope(entry.envelope)
    await restoreOne(session.store(envelope), envelope, entry, { ...options, tally })
    options.events.progress({ phase: 'restore', envelope: entry.envelope, done: at, total: newest.size })
  }
  return tally
}

function unknownEnvelope(name: string): KvxError {
  return new KvxError('PLAN_DIFFERS', `the configuration does not declare ${name} any more`, {
    hint: 'Put the declaration back as it was when the run was made.',
  })
}

function entryKey(entry: BackupEntry): string {
  return `${entry.envelope}\0${idKey(entry.id)}`
}

/** A record that a writer sealed again during the run was backed up more than once: its last bytes count. */
async function newestEntries(directory: string, run: RunRow): Promise<ReadonlyMap<string, number>> {
  const newest = new Map<string, number>()
  let at = 0
  for await (const entry of readBackup(directory, run)) newest.set(entryKey(entry), at++)
  return newest
}

async function restoreOne(
  store: Store,
  envelope: Envelope,
  entry: BackupEntry,
  options: RestoreOptions & { readonly write: boolean; readonly tally: Tally },
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
  if (!own) tally.changedSince++
  if (!own && options.acceptLoss === undefined) return
  if (own) tally.restored++
  if (write) await store.swap(envelope.set, [{ id: entry.id, expected: now, change: old }], () => undefined)
}

function pick(cells: Cells, names: readonly string[]): Cells {
  return Object.fromEntries(names.map((name) => [name, cells[name] ?? null]))
}
