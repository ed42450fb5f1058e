import { join } from 'node:path'
import type { Workspace } from '../keyring/workspace.ts'
import { currentActor } from '../platform/actor.ts'
import { makeDirectory } from '../platform/files.ts'
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
 * Writes the plan into the home and the run into the journal, both durable. Two commands that start at the same
 * moment cannot both open a run for one key.
 * @throws RUN_OPEN
 */
export async function startRun(workspace: Workspace, journal: Journal, plan: Plan): Promise<RunRow> {
  const lock = await acquireLock(workspace.home.runs, 'the list of runs', { waitMs: creationWaitMs })
  try {
    refuseOpenRun(journal, plan.terms.key)
    const id = randomId()
    await makeDirectory(runDirectory(workspace, id), 0o700)
    await writeState(planPath(workspace.home, id), encodePlan(plan))
    return journal.create({
      id,
      kind: plan.terms.kind,
      key: plan.terms.key,
      fromVersion: plan.terms.from,
      toVersion: plan.terms.to,
      planDigest: plan.digest,
      actor: currentActor(),
    })
  } finally {
    lock.release()
  }
}

/** Held while a process works on a run, so that a resume never meets the process that it takes over from. */
export async function lockRun(workspace: Workspace, run: string): Promise<Lock> {
  return acquireLock(runDirectory(workspace, run), `run ${run}`)
}
