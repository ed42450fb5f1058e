import { withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import { changeKeyring, keyOf, readKeyring } from '../keyring/keyring.ts'
import type { Workspace } from '../keyring/workspace.ts'
import type { Journal, RunRow } from './journal.ts'
import { lockRun } from './runs.ts'

export type Abandoned = {
  /** The version that seals from here on, as it did before; null when none does. */
  readonly seals: number | null
}

/**
 * Gives up an unfinished run whose store, declaration or folder is gone, so that neither resume nor rollback can go
 * on. No value and no key is touched: values lie under the versions that they lie under, all of which open, and the
 * data, not the journal, says which. A version that was only staged is staged no more.
 * @throws NOTHING_TO_RESUME when the run is over, LOCKED while a process works on it
 */
export async function abandonRun(
  workspace: Workspace,
  journal: Journal,
  run: RunRow,
  reason: string,
): Promise<Abandoned> {
  requireUnfinished(run)
  const lock = await lockRun(workspace, run.id)
  try {
    requireUnfinished(journal.get(run.id))
    const data = { kind: run.kind, direction: run.direction, reason }
    const intent = { action: 'run.abandon', subject: `${run.key}@${run.toVersion}`, run: run.id, data }
    return await withIntent(workspace.audit, intent, async (conclusion) => {
      await changeKeyring(workspace.home, (ring) => {
        const key = keyOf(ring, run.key)
        if (key.staged === run.toVersion) key.staged = null
      })
      journal.setStatus(run.id, 'abandoned')
      const { seals } = keyOf(await readKeyring(workspace.home), run.key)
      conclusion.conclude({ seals: seals ?? 0 })
      return { seals }
    })
  } finally {
    lock.release()
  }
}

/** @throws NOTHING_TO_RESUME */
export function requireUnfinished(run: RunRow): void {
  if (run.status === 'open' || run.status === 'waiting') return
  throw new KvxError('NOTHING_TO_RESUME', `run ${run.id} is ${run.status}`, {
    hint: `\`kvx run show ${run.id}\` tells what it did.`,
  })
}
