import { withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import {
  activate,
  changeKeyring,
  keyOf,
  readKeyring,
  requireActivatable,
  versionOf,
} from '../keyring/keyring.ts'
import type { KeyRecord } from '../keyring/keyring-file.ts'
import { loadMaterial, removeUnfinishedMaterial } from '../keyring/material.ts'
import { publishKey } from '../keyring/publish/publish.ts'
import { hasPreviousSlots, reloadReaders } from '../keyring/readers.ts'
import { configuredKey, type Workspace } from '../keyring/workspace.ts'
import { workOnData, type DataResult, type Throttle } from './data-run.ts'
import type { Events } from './events.ts'
import type { Journal, RunRow } from './journal.ts'
import { readPlan, refuseChangedTerms } from './plan.ts'
import { lockRun, refuseUnfinished } from './runs.ts'
import { emptySession, openSession } from './session.ts'

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
  await checkWayBack(workspace, run)
  await refuseUnfinished(workspace, journal, run.key, run.id)
  const lock = await lockRun(workspace, run.id)
  try {
    const plan = await readPlan(workspace.home, run)
    // A rotation without data may have been followed by values under the new version: look everywhere. Under one
    // that never sealed there is nothing, and no store is needed.
    const sealed = await hasSealedVersion(workspace, run)
    const session = sealed
      ? await openSession(workspace, { key: run.key, exclusive: true })
      : await emptySession(workspace)
    try {
      if (plan.terms.data && sealed)
        refuseChangedTerms(
          plan.terms,
          session.workloads.filter(({ name }) => name in plan.terms.envelopes),
          run.id,
        )
      // Once more with everything locked: nothing is written, not even the direction, before all of it holds.
      const target = await checkWayBack(workspace, journal.get(run.id))
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

/**
 * The version to go back to, with everything looked at that the way back needs.
 * @throws STATE_TRANSITION when there is none, or it is too late; KEYRING_DAMAGED and its like for its key file
 */
export async function checkWayBack(workspace: Workspace, run: RunRow): Promise<number> {
  const ring = await readKeyring(workspace.home)
  const key = keyOf(ring, run.key)
  const from = requireFrom(run)
  if (run.kind === 'new-deks' || run.kind === 'seal') {
    const hint = `The bytes that it replaced come back with \`kvx run restore ${run.id}\`.`
    throw notBack(run, 'it moved no values from one version to another', hint)
  }
  if (run.status === 'abandoned' || run.status === 'rolled-back') {
    throw notBack(run, `it is ${run.status}`, `\`kvx run show ${run.id}\` tells what it did.`)
  }
  requireUsable(run, key, from)
  if (key.seals !== run.toVersion && key.seals !== from) {
    const later = `a later version, ${run.key}@${key.seals ?? '-'}, seals by now`
    throw notBack(run, later, 'Roll the later run back first: `kvx run list`.')
  }
  if (key.seals !== from) requireActivatable(ring, run.key, from)
  const needed = hasSealed(key.versions[String(run.toVersion)]?.history) ? [from, run.toVersion] : [from]
  for (const version of needed) await requireMaterial(workspace, run, key, version)
  return from
}

function requireFrom(run: RunRow): number {
  if (run.fromVersion !== null) return run.fromVersion
  throw notBack(
    run,
    'no version sealed before it',
    `The bytes that it replaced come back with \`kvx run restore ${run.id}\`.`,
  )
}

function notBack(run: RunRow, why: string, hint: string): KvxError {
  return new KvxError('STATE_TRANSITION', `run ${run.id} cannot be rolled back: ${why}`, { hint })
}

function requireUsable(run: RunRow, key: KeyRecord, version: number): void {
  const subject = `${run.key}@${version}`
  const { state, retired } = versionOf(key, run.key, version)
  if (retired !== null) {
    throw notBack(run, `${subject} is retired`, `Take the mark back first: \`kvx key unretire ${subject}\`.`)
  }
  if (state === 'active' || state === 'deactivated') return
  const hint =
    state === 'suspended'
      ? `Take it back into use first: \`kvx key resume ${subject} --reason TEXT\`.`
      : `Nothing is sealed under it any more. ${wayForward(run)}`
  throw notBack(run, `${subject} is ${state}`, hint)
}

function wayForward(run: RunRow): string {
  if (run.status !== 'open' && run.status !== 'waiting') return `Go forward: \`kvx rotate ${run.key}\`.`
  const flag = run.direction === 'back' ? ' --forward' : ''
  return `Go forward: \`kvx run resume ${run.id}${flag}\`.`
}

async function requireMaterial(
  workspace: Workspace,
  run: RunRow,
  key: KeyRecord,
  version: number,
): Promise<void> {
  try {
    const record = versionOf(key, run.key, version)
    ;(await loadMaterial(workspace.home, run.key, version, record)).wipe()
  } catch (error) {
    if (!(error instanceof KvxError) || version !== run.fromVersion) throw error
    throw new KvxError(error.code, error.message, {
      hint: `${error.hint ?? ''} Without it there is no way back. ${wayForward(run)}`.trim(),
      details: error.details,
    })
  }
}

async function hasSealedVersion(workspace: Workspace, run: RunRow): Promise<boolean> {
  const key = keyOf(await readKeyring(workspace.home), run.key)
  return hasSealed(key.versions[String(run.toVersion)]?.history)
}

/** Whether anything can lie under a version: it was active once. */
export function hasSealed(history: readonly { readonly to: string }[] | undefined): boolean {
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
    // A run that was killed while it made the new version leaves no part of its key behind.
    await removeUnfinishedMaterial(workspace.home, run.key, run.toVersion)
    const ring = await readKeyring(workspace.home)
    // Values may lie under both versions now; readers with one slot wait until they lie under one.
    const mixed = hasSealed(keyOf(ring, run.key).versions[String(run.toVersion)]?.history)
    const withdraw = mixed && !hasPreviousSlots(config)
    await publishKey(workspace.home, { name: run.key, config }, { withdraw })
    if (hasPreviousSlots(config)) await reloadReaders(config)
  })
}

/** Readers with one slot get their key back when all their data is under it. */
export async function publishAgain(workspace: Workspace, name: string): Promise<void> {
  const config = configuredKey(workspace.config, name)
  if (hasPreviousSlots(config)) return
  await publishKey(workspace.home, { name, config })
  await reloadReaders(config)
}
