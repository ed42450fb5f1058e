import { withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import { keyOf, versionOf } from '../keyring/keyring.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { exists } from '../platform/files.ts'
import { randomId } from '../platform/random.ts'
import { unreadableReasons, type UnreadableReason } from './envelope/reasons.ts'
import {
  backupPath,
  openBackupWriter,
  overwrittenName,
  readBackup,
  type BackupWriter,
} from './ciphertext-backup.ts'
import type { Events } from './events.ts'
import type { RunRow } from './journal.ts'
import { findNewest, type NewestEntries } from './repeated-entries.ts'
import { lockRun, runDirectory } from './runs.ts'
import { breathe } from './scan.ts'
import { openSession, type Session } from './session.ts'
import { emptyRestore, type CiphertextRestore, type RestoreOptions, type RestoreTally } from './workload.ts'

export type RestoreRequest = {
  readonly dryRun: boolean
  /** How many records that something else wrote since may be overwritten, with the reason that is signed. */
  readonly acceptLoss: { readonly count: number; readonly reason: string } | undefined
  readonly events: Events
}

/**
 * Brings back the ciphertext that a run replaced: records that are missing or still hold what the run wrote.
 * Records that something else wrote since are counted and left alone. Everything that would be written is opened
 * once with the keys at hand before the first write, and what is overwritten is kept in the run's folder.
 * @throws VALUES_REMAIN when there are records that something else wrote and their loss is not accepted, or when old
 *   bytes need a retired version; UNREADABLE_RECORDS when old bytes open with no key; nothing was changed then
 */
export async function restoreCiphertext(
  workspace: Workspace,
  run: RunRow,
  request: RestoreRequest,
): Promise<CiphertextRestore> {
  if (!(await exists(backupPath(runDirectory(workspace, run.id))))) throw noBackup(run)
  const lock = await lockRun(workspace, run.id)
  try {
    return await restoreLocked(workspace, run, request)
  } finally {
    lock.release()
  }
}

async function restoreLocked(
  workspace: Workspace,
  run: RunRow,
  request: RestoreRequest,
): Promise<CiphertextRestore> {
  const directory = runDirectory(workspace, run.id)
  const session = await openSession(workspace, { key: run.key, exclusive: true })
  try {
    const newest = await findNewest(directory, run)
    refuseUndeclared(session, newest)
    const read = { session, directory, run, newest }
    const found = await pass(read, { ...request, write: false, overwritten: nowhere })
    refuseLoss(run, found, request)
    refuseRetired(session, run, found)
    if (request.dryRun) return countsOf(found)
    const intent = { action: 'run.restore', subject: run.key, run: run.id, data: lossData(request, found) }
    return await withIntent(workspace.audit, intent, async (conclusion) => {
      const writer = overwrittenWriter(directory, run)
      try {
        const done = countsOf(await pass(read, { ...request, write: true, overwritten: writer }))
        const { restored, inserted, changedSince } = done
        conclusion.conclude({ restored, inserted, changedSince, overwritten: writer.name() })
        return done
      } finally {
        await writer.close()
      }
    })
  } finally {
    await session.close()
  }
}

const nowhere: Pick<BackupWriter, 'append'> = { append: async () => undefined }

/** The backup of what this restore overwrites, made with its first entry. */
function overwrittenWriter(directory: string, run: RunRow): BackupWriter & { readonly name: () => string } {
  const name = overwrittenName(randomId())
  let writer: BackupWriter | undefined
  return {
    append: async (entries) => {
      writer ??= await openBackupWriter(directory, run, name)
      await writer.append(entries)
    },
    close: async () => writer?.close(),
    name: () => (writer === undefined ? '' : name),
  }
}

function countsOf({ restored, inserted, same, changedSince, unreadable }: RestoreTally): CiphertextRestore {
  return { restored, inserted, same, changedSince, unreadable }
}

/** What the backup holds must be declared still: nothing of it is left out in silence. */
function refuseUndeclared({ workloads }: Session, { records }: NewestEntries): void {
  for (const envelope of records.keys()) {
    if (workloads.some(({ name }) => name === envelope)) continue
    throw new KvxError('PLAN_DIFFERS', `the configuration does not declare ${envelope} any more`, {
      hint: 'Put the declaration back as it was when the run was made. Nothing was restored.',
    })
  }
}

/** @throws UNREADABLE_RECORDS, VALUES_REMAIN unless so much loss is accepted */
function refuseLoss(run: RunRow, found: RestoreTally, request: RestoreRequest): void {
  if (found.lossy <= (request.acceptLoss?.count ?? 0)) return
  if (found.first === undefined) throw writtenSince(run, found.changedSince)
  const { unreadable, lossy, first } = found
  const reason = unreadableReasons[first.reason as UnreadableReason] ?? first.reason
  throw new KvxError(
    'UNREADABLE_RECORDS',
    `the old bytes of ${unreadable} ${unreadable === 1 ? 'record' : 'records'} open with no key of this home, e.g. ${first.envelope} ${first.record}: ${reason}; nothing was changed`,
    {
      hint: `Bring the missing version back first: \`kvx key show ${run.key}\`. To put bytes there that nothing opens: \`--accept-loss ${lossy} --reason TEXT\`.`,
      details: { run: run.id, unreadable, changedSince: found.changedSince },
    },
  )
}

/** Values do not come back under a version that is proven to be needed by none. @throws VALUES_REMAIN */
function refuseRetired({ ring }: Session, run: RunRow, { versions }: RestoreTally): void {
  for (const version of versions) {
    if (versionOf(keyOf(ring, run.key), run.key, version).retired === null) continue
    const subject = `${run.key}@${version}`
    throw new KvxError('VALUES_REMAIN', `the old bytes lie under ${subject}, which is retired`, {
      hint: `Take the mark back first: \`kvx key unretire ${subject}\`. Nothing was changed.`,
      details: { run: run.id },
    })
  }
}

function noBackup(run: RunRow): KvxError {
  return new KvxError(
    'BACKUP_UNKNOWN',
    `run ${run.id} has no ciphertext backup: it moved no values, or was forgotten`,
    {
      hint: `To undo what it did: \`kvx run rollback ${run.id}\`.`,
    },
  )
}

function lossData({ acceptLoss }: RestoreRequest, look: CiphertextRestore): Record<string, string | number> {
  return acceptLoss === undefined ? {} : { acceptedLoss: look.changedSince, reason: acceptLoss.reason }
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

type Reading = {
  readonly session: Session
  readonly directory: string
  readonly run: RunRow
  readonly newest: NewestEntries
}

/** Reads the backup once and gives each record's last bytes to its workload. */
async function pass(
  { session, directory, run, newest }: Reading,
  request: RestoreRequest & Pick<RestoreOptions, 'write' | 'overwritten'>,
): Promise<RestoreTally> {
  const restoring = new Map(
    session.workloads.map((workload) => [
      workload.name,
      workload.restore({
        runDirectory: directory,
        run,
        write: request.write,
        overwrite: request.acceptLoss !== undefined,
        overwritten: request.overwritten,
        total: newest.records.get(workload.name) ?? 0,
        events: request.events,
      }),
    ]),
  )
  let position = -1
  for await (const entry of readBackup(directory, run)) {
    position++
    if (position % 500 === 0) await breathe(run.id)
    if (newest.isNewest(entry, position)) await restoring.get(entry.envelope)?.add(entry)
  }
  const sum = emptyRestore()
  for (const one of restoring.values()) add(sum, await one.end())
  return sum
}

function add(sum: RestoreTally, part: RestoreTally): void {
  for (const name of ['restored', 'inserted', 'same', 'changedSince', 'unreadable', 'lossy'] as const)
    sum[name] += part[name]
  sum.first ??= part.first
  for (const version of part.versions) sum.versions.add(version)
}
