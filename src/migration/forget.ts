import { withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { removeFile } from '../platform/files.ts'
import { backupFiles } from './ciphertext-backup.ts'
import type { RunRow } from './journal.ts'
import { runDirectory } from './runs.ts'

/**
 * Removes the ciphertext backup of a finished run: its bytes lie under an old version by nature. So does what later
 * restores of the run kept of what they overwrote. Plan, report and journal stay.
 * @throws RUN_OPEN for an unfinished run
 */
export async function forgetRun(workspace: Workspace, run: RunRow, dryRun: boolean): Promise<boolean> {
  if (run.status === 'open' || run.status === 'waiting') {
    throw new KvxError('RUN_OPEN', `run ${run.id} is not finished, and its backup may still be needed`, {
      hint: `Finish it with \`kvx run resume ${run.id}\`, or undo it with \`kvx run rollback ${run.id}\`. Where both refuse: \`kvx run abandon ${run.id} --reason TEXT\`.`,
    })
  }
  const { replaced, overwritten } = await backupFiles(runDirectory(workspace, run.id))
  const files = [...replaced, ...overwritten]
  if (files.length === 0 || dryRun) return files.length > 0
  const intent = { action: 'run.forget', subject: run.key, run: run.id, data: { files: files.length } }
  await withIntent(workspace.audit, intent, async () => {
    for (const path of files) await removeFile(path)
  })
  return true
}
