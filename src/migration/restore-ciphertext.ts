import { withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { exists } from '../platform/files.ts'
import { backupPath, readBackup } from './ciphertext-backup.ts'
import type { Events } from './events.ts'
import type { RunRow } from './journal.ts'
import { lockRun, runDirectory } from './runs.ts'
import { declaredWorkloads, openSession, type Session } from './session.ts'
import type { CiphertextRestore } from './workload.ts'

export type RestoreRequest = {
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
  request: RestoreRequest,
): Promise<CiphertextRestore> {
  if (!(await exists(backupPath(runDirectory(workspace, run.id))))) throw noBackup(run)
  await refuseUndeclared(workspace, run)
  const lock = await lockRun(workspace, run.id)
  const session = await openSession(workspace, { key: run.key, exclusive: true })
  try {
    const look = await pass(workspace, session, run, { ...request, write: false })
    const accepted = request.acceptLoss?.count ?? 0
    if (look.changedSince > accepted) throw writtenSince(run, look.changedSince)
    if (request.dryRun) return look
    const intent = { action: 'run.restore', subject: run.key, run: run.id, data: lossData(request, look) }
    return await withIntent(workspace.audit, intent, async (conclusion) => {
      const done = await pass(workspace, session, run, { ...request, write: true })
      conclusion.conclude({
        restored: done.restored,
        inserted: done.inserted,
        changedSince: done.changedSince,
      })
      return done
    })
  } finally {
    await session.close()
    lock.release()
  }
}

/** What the backup holds must be declared still: nothing of it is left out in silence. */
async function refuseUndeclared(workspace: Workspace, run: RunRow): Promise<void> {
  const declared = new Set(declaredWorkloads(workspace.config).map(({ name }) => name))
  for await (const { envelope } of readBackup(runDirectory(workspace, run.id), run)) {
    if (declared.has(envelope)) continue
    throw new KvxError('PLAN_DIFFERS', `the configuration does not declare ${envelope} any more`, {
      hint: 'Put the declaration back as it was when the run was made. Nothing was restored.',
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

async function pass(
  workspace: Workspace,
  session: Session,
  run: RunRow,
  request: RestoreRequest & { readonly write: boolean },
): Promise<CiphertextRestore> {
  const sum = { restored: 0, inserted: 0, same: 0, changedSince: 0 }
  for (const workload of session.workloads) {
    const part = await workload.restore({
      runDirectory: runDirectory(workspace, run.id),
      run,
      write: request.write,
      overwrite: request.acceptLoss !== undefined,
      events: request.events,
    })
    sum.restored += part.restored
    sum.inserted += part.inserted
    sum.same += part.same
    sum.changedSince += part.changedSince
  }
  return sum
}
