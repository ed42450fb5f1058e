import { join } from 'node:path'
import { withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import { keyOf, readKeyring } from '../keyring/keyring.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { currentActor } from '../platform/actor.ts'
import { exists, makeDirectory } from '../platform/files.ts'
import { whileLocked } from '../platform/lingering-lock.ts'
import { acquireLock, type Lock } from '../platform/lock.ts'
import { randomId } from '../platform/random.ts'
import { writeState } from '../platform/state-file.ts'
import { refuseOpenRun } from './gates.ts'
import type { Journal, RunRow } from './journal.ts'
import { encodePlan, planPath, type Plan } from './plan.ts'

export function runDirectory(workspace: Workspace, run: string): string {
  return join(workspace.home.runs, run)
}

const creationWaitMs = 10_000

/**
 * Writes the plan into the home and the run into the journal, both durable, with an entry in the audit log before
 * the first of them. Two commands that start at the same moment cannot both open a run for one key.
 * @param facts what a resume must know and the plan does not say
 * @throws RUN_OPEN; PLAN_DIFFERS when another run changed the key after the plan was made
 */
export async function startRun(
  workspace: Workspace,
  journal: Journal,
  plan: Plan,
  facts: Readonly<Record<string, string>> = {},
): Promise<RunRow> {
  return await whileLocked(
    workspace.home.runs,
    { what: 'the list of runs', waitMs: creationWaitMs },
    async () => {
      const { kind, key, from, to } = plan.terms
      refuseOpenRun(journal, key)
      await refuseStalePlan(workspace, plan)
      const id = randomId()
      const data = { kind, planDigest: plan.digest }
      const intent = { action: 'run.begin', subject: `${key}@${to}`, run: id, data }
      return await withIntent(workspace.audit, intent, async () => {
        await makeDirectory(runDirectory(workspace, id), 0o700)
        await writeState(planPath(workspace.home, id), encodePlan(plan))
        const actor = currentActor()
        const row = { id, kind, key, fromVersion: from, toVersion: to, planDigest: plan.digest, actor }
        return journal.create(row, facts)
      })
    },
  )
}

/** Between the plan and the run lies a person's yes: what seals may have changed meanwhile. */
async function refuseStalePlan(workspace: Workspace, { terms }: Plan): Promise<void> {
  const { seals, next } = keyOf(await readKeyring(workspace.home), terms.key)
  const current = terms.kind === 'rotate' ? seals === terms.from && next === terms.to : seals === terms.to
  if (current) return
  throw new KvxError('PLAN_DIFFERS', `${terms.key} changed after this was planned`, {
    hint: 'Nothing was changed. Run the command again: it plans anew.',
  })
}

/**
 * A key with an unfinished run is not touched by another one.
 * @throws LOCKED naming the process that works on it, RUN_OPEN when none does
 */
export async function refuseUnfinished(
  workspace: Workspace,
  journal: Journal,
  key: string,
  except?: string,
): Promise<void> {
  const open = journal.unfinished().find((run) => run.key === key && run.id !== except)
  if (open === undefined) return
  // Where its folder is gone, no process holds it.
  if (await exists(runDirectory(workspace, open.id))) (await lockRun(workspace, open.id)).release()
  refuseOpenRun(journal, key, except)
}

/**
 * Held while a process works on a run, so that a resume never meets the process that it takes over from. A folder
 * that was lost is made again.
 */
export async function lockRun(workspace: Workspace, run: string): Promise<Lock> {
  await makeDirectory(runDirectory(workspace, run), 0o700)
  return acquireLock(runDirectory(workspace, run), `run ${run}`)
}
