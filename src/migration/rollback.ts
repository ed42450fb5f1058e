import { withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import { activate, changeKeyring, keyOf, readKeyring, versionOf } from '../keyring/keyring.ts'
import { publishKey } from '../keyring/publish/publish.ts'
import { hasPreviousSlots, reloadReaders } from '../keyring/readers.ts'
import { configuredKey, type Workspace } from '../keyring/workspace.ts'
import { workOnData, type DataResult, type Throttle } from './data-run.ts'
import type { Events } from './events.ts'
import type { Journal, RunRow } from './journal.ts'
import { readPlan, refuseChangedTerms } from './plan.ts'
import { lockRun, refuseUnfinished } from './runs.ts'
import { openSession } from './session.ts'

/**
 * The same engine the other way round: the old version seals again, then everything under the new one moves
 * back. Possible until the old version is retired. Resumable like any run.
 * @throws STATE_TRANSITION when there is nothing to go back to, RUN_OPEN for another run of the key,
 *   PLAN_DIFFERS, LOCKED
 */
export async function rollBack(
  workspace: Workspace,
  journal: Journal,
  run: RunRow,
  options: Throttle & { readonly events: Events },
): Promise<DataResult> {
  const target = await checkWayBack(workspace, run)
  await refuseUnfinished(workspace, journal, run.key, run.id)
  const lock = await lockRun(workspace, run.id)
  try {
    const plan = await readPlan(workspace.home, run)
    // A rotation without data may have been followed by values under the new version: look everywhere.
    const session = await openSession(workspace, { key: run.key, exclusive: true })
    try {
      if (plan.terms.data)
        refuseChangedTerms(
          plan.terms,
          session.workloads.filter(({ name }) => name in plan.terms.envelopes),
          run.id,
        )
      await sealWithOldVersion(workspace, journal, run, target)
      const result = await workOnData(workspace, journal, session, {
        ...options,
        run: journal.get(run.id),
        target,
        before: [],
        finished: 'open',
      })
      const { failure } = result
      // Records that open with no known key hold nothing back: the others need their readers.
      if (failure === undefined || failure.code === 'RECORDS_QUARANTINED')
        await publishAgain(workspace, run.key)
      if (failure === undefined) journal.setStatus(run.id, 'rolled-back')
      return { ...result, run: journal.get(run.id) }
    } finally {
      await session.close()
    }
  } finally {
    lock.release()
  }
}

/** The version to go back to. @throws STATE_TRANSITION when there is none, or it is too late */
export async function checkWayBack(workspace: Workspace, run: RunRow): Promise<number> {
  const key = keyOf(await readKeyring(workspace.home), run.key)
  const refuse = (why: string, hint: string): KvxError =>
    new KvxError('STATE_TRANSITION', `run ${run.id} cannot be rolled back: ${why}`, { hint })
  if (run.fromVersion === null) {
    throw refuse('no version sealed before it', 'There is nothing to go back to.')
  }
  const from = versionOf(key, run.key, run.fromVersion)
  if (from.retired !== null) {
    throw refuse(
      `${run.key}@${run.fromVersion} is retired`,
      `Take the mark back first: \`kvx key unretire ${run.key}@${run.fromVersion}\`.`,
    )
  }
  if (from.state !== 'active' && from.state !== 'deactivated') {
    const subject = `${run.key}@${run.fromVersion}`
    throw refuse(
      `${subject} is ${from.state}`,
      from.state === 'suspended'
        ? `Take it back into use first: \`kvx key resume ${subject} --reason TEXT\`.`
        : `Nothing is sealed under it any more. Go forward: \`kvx rotate ${run.key}\`.`,
    )
  }
  const never = !hasSealed(key.versions[String(run.toVersion)]?.history)
  if (key.seals !== run.toVersion && key.seals !== run.fromVersion && !never) {
    throw refuse(
      `a later version, ${run.key}@${key.seals ?? '-'}, seals by now`,
      'Roll the later run back first: `kvx run list`.',
    )
  }
  return run.fromVersion
}

function hasSealed(history: readonly { readonly to: string }[] | undefined): boolean {
  return history?.some(({ to }) => to === 'active') ?? false
}

/** The pointer goes back, staged readers lose the version that nothing was sealed with. */
async function sealWithOldVersion(
  workspace: Workspace,
  journal: Journal,
  run: RunRow,
  target: number,
): Promise<void> {
  const config = configuredKey(workspace.config, run.key)
  const intent = { action: 'key.rollback', subject: `${run.key}@${target}`, run: run.id }
  await withIntent(workspace.audit, intent, async () => {
    journal.turnBack(run.id)
    await changeKeyring(workspace.home, (ring) => {
      const key = keyOf(ring, run.key)
      if (key.staged === run.toVersion) key.staged = null
      if (key.seals === run.toVersion) activate(ring, run.key, target, `rollback of run ${run.id}`)
    })
    const ring = await readKeyring(workspace.home)
    // Values may lie under both versions now; readers with one slot wait until they lie under one.
    const mixed = hasSealed(keyOf(ring, run.key).versions[String(run.toVersion)]?.history)
    const withdraw = mixed && !hasPreviousSlots(config)
    await publishKey(workspace.home, { name: run.key, config }, { withdraw })
    if (hasPreviousSlots(config)) await reloadReaders(config)
  })
}

/** Readers with one slot get their key back when all their data is under it. */
async function publishAgain(workspace: Workspace, name: string): Promise<void> {
  const config = configuredKey(workspace.config, name)
  if (hasPreviousSlots(config)) return
  await publishKey(workspace.home, { name, config })
  await reloadReaders(config)
}
