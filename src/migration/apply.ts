import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { KvxError } from '../core/errors.ts'
import { now } from '../platform/clock.ts'
import { openBackupWriter, type BackupWriter } from './ciphertext-backup.ts'
import type { Census } from './census.ts'
import { stopIfInterrupted, type Events } from './events.ts'
import type { QuarantineRow, RunRow } from './journal.ts'
import { FreshDeks } from './fresh-deks.ts'
import { countsOf, toChange, type Counts } from './plan.ts'
import { QuarantineFile } from './quarantine-file.ts'
import { rememberPlaces } from './places.ts'
import type { EnvelopeResult } from './report.ts'
import type { Session } from './session.ts'
import type { Rate, Workload } from './workload.ts'

/** After so many sweeps a writer that goes on sealing under the old key is named and the run stops. */
const maxSweeps = 8
/** So many sweeps go at once; then those that readers' caches may still undo wait for the caches to end. */
const quickSweeps = 2

export type ApplyOptions = {
  readonly run: RunRow
  /** The version that everything shall lie under: the run's target, or on the way back where it came from. */
  readonly target: number
  readonly batch: number | undefined
  readonly rate: Rate | undefined
  readonly before: readonly Counts[]
  readonly events: Events
  /** The last sweep begins no earlier than this (milliseconds since 1970): readers' caches have ended by then. */
  readonly settleMs: number
}

export type Applied = {
  readonly envelopes: readonly EnvelopeResult[]
  /** The first of them by name; `quarantine.jsonl` in the run's directory has them all. */
  readonly quarantine: readonly QuarantineRow[]
  /** How many there are. */
  readonly quarantined: number
  /** Envelopes that a writer went on sealing under another version until the sweeps were used up. */
  readonly active: readonly string[]
}

/**
 * Sweeps each envelope until a full look finds nothing under another version than the target. May be called
 * again after any crash: the data decides what remains, not the journal.
 */
export async function applyToData(session: Session, options: ApplyOptions): Promise<Applied> {
  const directory = join(session.workspace.home.runs, options.run.id)
  const fresh = options.run.kind === 'new-deks' ? await FreshDeks.ofRun(directory, options.run) : undefined
  const backup = await openBackupWriter(directory, options.run)
  const envelopes: EnvelopeResult[] = []
  const quarantine: QuarantineRow[] = []
  const active: string[] = []
  const censuses: Census[] = []
  const names = await QuarantineFile.begin(directory)
  try {
    for (const workload of session.workloads) {
      const done = await applyToOne(workload, { ...options, backup, directory, names, fresh })
      envelopes.push(done.result)
      quarantine.push(...done.quarantine)
      censuses.push(done.after)
      if (done.isActive) active.push(workload.name)
    }
  } finally {
    await names.close()
    await backup.close()
  }
  for (const workload of session.workloads) await workload.settle()
  await rememberPlaces(session, censuses)
  const quarantined = envelopes.reduce((sum, one) => sum + one.quarantined, 0)
  return { envelopes, quarantine, quarantined, active }
}

async function applyToOne(
  workload: Workload,
  options: ApplyOptions & {
    readonly backup: BackupWriter
    readonly directory: string
    readonly names: QuarantineFile
    readonly fresh: FreshDeks | undefined
  },
): Promise<{
  readonly result: EnvelopeResult
  readonly quarantine: readonly QuarantineRow[]
  readonly after: Census
  /** Something went on writing under another version until the sweeps were used up. */
  readonly isActive: boolean
}> {
  const before = options.before.find((census) => census.envelope === workload.name)
  let [changed, lost, sweeps] = [0, 0, 0]
  for (;;) {
    const begun = now().getTime()
    const swept = await workload.sweep({
      target: options.target,
      run: options.run.id,
      runDirectory: options.directory,
      backup: options.backup,
      batch: options.batch,
      rate: options.rate,
      events: options.events,
      total: before?.records ?? 0,
      kind: options.run.kind,
      fresh: options.fresh,
    })
    sweeps++
    changed += swept.changed
    lost += swept.lost
    await options.names.again()
    const after = await workload.census({
      phase: 'verify',
      events: options.events,
      run: options.run.id,
      fresh: options.fresh,
      unreadable: async (named) => options.names.add(workload.name, named),
    })
    const pending = toChange(after, options.target, options.run.kind)
    if (pending > 0 && sweeps < quickSweeps) continue
    if (begun < options.settleMs) {
      await waitUntil(options.settleMs, options.run.id)
      continue
    }
    // Nothing moves any more, and there are records that do not open: those hold the others of their group back.
    const isHeld = swept.changed + swept.lost === 0 && after.unreadable > 0
    if (pending > 0 && !isHeld && sweeps < maxSweeps) continue
    await options.names.keep()
    const quarantine = after.named.map(({ record, reason }) => ({ envelope: workload.name, record, reason }))
    const counts = { changed, lost, sweeps, before }
    return { result: resultOf(workload, after, counts), quarantine, after, isActive: pending > 0 && !isHeld }
  }
}

function resultOf(
  { name }: Workload,
  after: Census,
  {
    changed,
    lost,
    sweeps,
    before,
  }: {
    readonly changed: number
    readonly lost: number
    readonly sweeps: number
    readonly before: Counts | undefined
  },
): EnvelopeResult {
  return {
    name,
    records: after.records,
    changed,
    unchanged: Math.max(0, after.records - changed),
    retried: lost,
    quarantined: after.unreadable,
    sweeps,
    before,
    after: countsOf(after),
  }
}

/** Waits for readers' caches to end, a second at a time so that a signal is heard. */
async function waitUntil(timeMs: number, run: string): Promise<void> {
  while (now().getTime() < timeMs) {
    stopIfInterrupted(run)
    await sleep(Math.min(1000, Math.max(1, timeMs - now().getTime())))
  }
}

/** What a run that did its work still has to say: records set aside, or a writer that goes on. */
export function partialFailure(applied: Applied, run: string, key: string): KvxError | undefined {
  if (applied.active.length > 0) {
    return new KvxError(
      'WRITER_ACTIVE',
      `something goes on writing values under another version of ${key} into ${applied.active.join(', ')}`,
      {
        hint: `Find the program that still has the old key and restart it, then \`kvx run resume ${run}\`.`,
        details: { run, envelopes: applied.active },
      },
    )
  }
  const aside = applied.quarantined
  if (aside === 0) return undefined
  return new KvxError(
    'RECORDS_QUARANTINED',
    `${aside} ${aside === 1 ? 'record was set aside because it does' : 'records were set aside because they do'} not open`,
    {
      hint: `\`kvx run show ${run}\` names them with their reasons. Mend them, then \`kvx run resume ${run}\`.`,
      details: { run, quarantined: aside },
    },
  )
}
