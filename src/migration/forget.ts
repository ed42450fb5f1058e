import { withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { exists, removeFile } from '../platform/files.ts'
import { backupPath } from './ciphertext-backup.ts'
import type { RunRow } from './journal.ts'
import { runDirectory } from './runs.ts'

/**
 * Removes the ciphertext backup of a finished run: its bytes lie under an old version by nature. Plan, report
 * and journal stay.
 * @throws RUN_OPEN for an unfinished run
 */
export async function forgetRun(workspace: Workspace, run: RunRow, dryRun: boolean): Promise<boolean> {
  if (run.status === 'open' || run.status === 'waiting') {
    throw new KvxError('RUN_OPEN', `run ${run.id} is not finished, and its backup may still be needed`, {
      hint: `Finish it with \`kvx run resume ${run.id}\`, or undo it with \`kvx run rollback ${run.id}\`.`,
    })
  }
  const path = backupPath(runDirectory(workspace, run.id))
  if (!(await exists(path)) || dryRun) return exists(path)
  await withIntent(workspace.audit, { action: 'run.forget', subject: run.key, run: run.id }, async () =>
    removeFile(path),
  )
  return true
}
