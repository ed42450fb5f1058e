import { KvxError } from '../core/errors.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { lockRun } from './runs.ts'
import { workOnData, type DataResult, type Throttle } from './data-run.ts'
import type { Events } from './events.ts'
import type { Journal, RunRow } from './journal.ts'
import { readPlan, refuseChangedTerms, refuseOtherNames, type StoredPlan } from './plan.ts'
import { publishAgain, rollBack } from './rollback.ts'
import { continueRotation, type RotationMode, type RotationResult } from './rotation.ts'
import { declaredWorkloads, emptySession, openSession } from './session.ts'
import { turnForward } from './turn-forward.ts'

export type ResumeOptions = Throttle & {
  readonly events: Events
  readonly activate: boolean
  readonly stageOnly: boolean
  readonly rolledOut: boolean
  readonly withoutReason: string | undefined
  /** A rollback turns round and goes forward again. */
  readonly forward?: boolean
}

export type Resumed =
  | { readonly kind: 'rotation'; readonly result: RotationResult }
  | { readonly kind: 'data'; readonly result: DataResult }

/**
 * The run that is meant: the named one, or the only one that is not finished.
 * @throws RUN_UNKNOWN, NOTHING_TO_RESUME, USAGE when several are unfinished
 */
export function findRun(journal: Journal, id: string | undefined): RunRow {
  if (id !== undefined) return journal.get(id)
  const open = journal.unfinished()
  const [only] = open
  if (only !== undefined && open.length === 1) return only
  if (only === undefined) {
    throw new KvxError('NOTHING_TO_RESUME', 'no run is unfinished', {
      hint: '`kvx run list` shows the finished ones. To undo one of those: `kvx run rollback ID`.',
    })
  }
  throw new KvxError('USAGE', `${open.length} runs are unfinished: ${open.map(({ id }) => id).join(', ')}`, {
    hint: 'Name the one you mean.',
  })
}

/**
 * Goes on with a run in the direction that it had. The data decides what remains.
 * @throws NOTHING_TO_RESUME when it is finished, PLAN_DIFFERS when the configuration changed, LOCKED when another
 *   process works on it
 */
export async function resumeRun(
  workspace: Workspace,
  journal: Journal,
  run: RunRow,
  options: ResumeOptions,
): Promise<Resumed> {
  if (run.status !== 'open' && run.status !== 'waiting') {
    throw new KvxError('NOTHING_TO_RESUME', `run ${run.id} is ${run.status}`, {
      hint: `\`kvx run show ${run.id}\` tells what it did.`,
    })
  }
  if (run.direction === 'back' && options.forward !== true)
    return { kind: 'data', result: await rollBack(workspace, journal, run, options) }
  const lock = await lockRun(workspace, run.id)
  try {
    const plan = await readPlan(workspace.home, run)
    if (plan.terms.data) refuseOtherNames(plan.terms, declaredWorkloads(workspace.config), run.id)
    return options.forward === true
      ? await goForward(workspace, journal, { run, plan }, options)
      : await goOn(workspace, journal, { run, plan }, options)
  } finally {
    lock.release()
  }
}

type Planned = { readonly run: RunRow; readonly plan: StoredPlan }

async function goForward(
  workspace: Workspace,
  journal: Journal,
  { run, plan }: Planned,
  options: ResumeOptions,
): Promise<Resumed> {
  const turned = await turnForward(workspace, journal, run)
  const activate = options.activate || turned.hadSealed
  const resumed = await goOn(workspace, journal, { run: turned.run, plan }, { ...options, activate })
  if (resumed.kind === 'rotation') return resumed
  const { failure } = resumed.result
  if (failure === undefined || failure.code === 'RECORDS_QUARANTINED') await publishAgain(workspace, run.key)
  return resumed
}

/** A rotation without data looks at no store and at no declaration. */
async function goOn(
  workspace: Workspace,
  journal: Journal,
  { run, plan }: Planned,
  options: ResumeOptions,
): Promise<Resumed> {
  const names = Object.keys(plan.terms.envelopes)
  const session = plan.terms.data
    ? await openSession(workspace, { names, key: run.key, exclusive: true })
    : await emptySession(workspace)
  try {
    if (plan.terms.data) refuseChangedTerms(plan.terms, session.workloads, run.id)
    if (run.kind === 'rotate') {
      const mode: RotationMode = modeOf(journal, run)
      const rotation = { run, terms: plan.terms, before: plan.counts, session }
      return {
        kind: 'rotation',
        result: await continueRotation(workspace, journal, rotation, { ...options, mode }),
      }
    }
    const work = { ...options, run, target: run.toVersion, before: plan.counts }
    return { kind: 'data', result: await workOnData(workspace, journal, session, work) }
  } finally {
    await session.close()
  }
}

/** A crash between the run and its first step leaves no mode: staged is the way that asks before it acts. */
function modeOf(journal: Journal, run: RunRow): RotationMode {
  const step = journal.steps(run.id).find(({ name }) => name === 'mode')
  return step?.detail === 'offline' ? 'offline' : 'staged'
}
