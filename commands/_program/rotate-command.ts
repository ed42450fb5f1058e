import type { ApprovedBy } from '../../src/approvals/gate.ts'
import { KvxError } from '../../src/core/errors.ts'
import { everyReader, hasPreviousSlots } from '../../src/keyring/readers.ts'
import { configuredKey, type Workspace } from '../../src/keyring/workspace.ts'
import type { Events } from '../../src/migration/events.ts'
import type { Journal, RunRow } from '../../src/migration/journal.ts'
import { countsOf } from '../../src/migration/plan.ts'
import { resumeRun } from '../../src/migration/resume.ts'
import {
  continueRotation,
  prepareRotation,
  startRotation,
  type PreparedRotation,
  type RotationOptions,
  type RotationResult,
} from '../../src/migration/rotation.ts'
import { lockRun } from '../../src/migration/runs.ts'
import { unstage } from '../../src/migration/unstage.ts'
import type { Rate } from '../../src/migration/workload.ts'
import { confirmStep } from '../../src/ui/prompts.ts'
import { planLines } from '../../src/ui/run-view.ts'
import { answersOf, withoutReason } from './run-flags.ts'

type RotateFlags = Parameters<typeof answersOf>[0] & {
  readonly stage: boolean
  readonly activate: boolean
  readonly unstage: boolean
  readonly offline: boolean
  readonly then: 'data' | undefined
  readonly batch: number | undefined
  readonly rate: Rate | undefined
  readonly 'on-error': 'stop' | 'quarantine'
  readonly 'rolled-out': boolean
  readonly 'without-backup': boolean
  readonly reason: string | undefined
  readonly 'dry-run': boolean
  readonly quiet: boolean
  readonly json: boolean
}

export type RotateCommand = {
  readonly workspace: Workspace
  readonly journal: Journal
  readonly name: string
  readonly flags: RotateFlags
  readonly events: Events & { readonly end: () => void }
}

export type RotateOutcome = {
  readonly run: RunRow | undefined
  readonly reached: RotationResult['reached'] | 'planned' | 'unstaged'
  readonly places: RotationResult['places']
  readonly data: RotationResult['data']
}

/** `rotate` begins a rotation, or goes on with one that waits. */
export async function rotateCommand(command: RotateCommand): Promise<RotateOutcome> {
  const { flags } = command
  if (flags.unstage) return unstageCommand(command)
  return flags.activate ? goOn(command) : begin(command)
}

async function begin(command: RotateCommand): Promise<RotateOutcome> {
  const { workspace, journal, name, flags, events } = command
  const prepared = await prepareRotation(workspace, journal, {
    name,
    mode: flags.offline ? 'offline' : 'staged',
    data: flags.then === 'data',
    withoutReason: withoutReason(flags),
    stageOnly: flags.stage,
    onError: flags['on-error'],
    dryRun: flags['dry-run'],
    events,
  })
  try {
    events.end()
    const without = withoutReason(flags)
    const backup = without === undefined ? 'made and proven before the first use' : `none (${without})`
    const key = configuredKey(workspace.config, name)
    const shown = [
      ...planLines(prepared.plan, backup),
      ...(flags.offline ? [`  offline: ${everyReader(key)} must be stopped until it is over`] : []),
      ...(hasPreviousSlots(key) ? [] : ['  until the run is over, the published place holds no key']),
    ]
    if (flags['dry-run']) return planned(flags, ...shown)
    if (!flags.json && !flags.quiet) process.stderr.write(`${shown.join('\n')}\n`)
    await confirmStep(`Rotate ${name}?`, answersOf(flags))
    return await carryOutRotation(workspace, journal, prepared, options(command))
  } finally {
    await prepared.session.close()
  }
}

/** Starts the prepared rotation and brings it as far as it may go. */
export async function carryOutRotation(
  workspace: Workspace,
  journal: Journal,
  prepared: PreparedRotation,
  options: Omit<RotationOptions, 'mode'> & { readonly approvedBy?: ApprovedBy },
): Promise<RotationResult> {
  const run = await startRotation(workspace, journal, prepared, options.approvedBy)
  const lock = await lockRun(workspace, run.id)
  try {
    const { plan, session, mode } = prepared
    const rotation = { run, terms: plan.terms, before: plan.censuses.map(countsOf), session }
    return await continueRotation(workspace, journal, rotation, { ...options, mode })
  } finally {
    lock.release()
  }
}

function planned(flags: RotateFlags, ...shown: readonly string[]): RotateOutcome {
  if (!flags.json && !flags.quiet)
    process.stdout.write(`${[...shown, 'dry run: nothing was written'].join('\n')}\n`)
  return { run: undefined, reached: 'planned', places: [], data: undefined }
}

function options(command: RotateCommand) {
  const { flags, events } = command
  return {
    activate: flags.activate,
    rolledOut: flags['rolled-out'],
    stageOnly: flags.stage,
    withoutReason: withoutReason(flags),
    batch: flags.batch,
    rate: flags.rate,
    events,
  }
}

async function goOn(command: RotateCommand): Promise<RotateOutcome> {
  const { workspace, journal, name, flags } = command
  const run = waitingRotation(journal, name)
  if (flags.then === 'data') {
    throw new KvxError('USAGE', `run ${run.id} was planned, and goes on as it was planned`, {
      hint: `Activate it, then move the data: \`kvx rotate ${name} --activate\` and \`kvx rewrap\` or \`kvx reencrypt\`.`,
    })
  }
  if (flags['dry-run']) return planned(flags, `would go on with the rotation ${run.id} of ${name}`)
  await confirmStep(`Go on with the rotation ${run.id} of ${name}?`, answersOf(flags))
  const resumed = await resumeRun(workspace, journal, run, { ...options(command), activate: true })
  if (resumed.kind === 'rotation') return resumed.result
  throw new TypeError('a rotation resumes as a rotation')
}

function waitingRotation(journal: Journal, name: string): RunRow {
  const run = journal
    .unfinished()
    .find(({ key, kind, direction }) => key === name && kind === 'rotate' && direction === 'forward')
  if (run !== undefined) return run
  throw new KvxError('NOTHING_TO_RESUME', `no rotation of ${name} is under way`, {
    hint: `Begin one with \`kvx rotate ${name} --stage\`.`,
  })
}

async function unstageCommand(command: RotateCommand): Promise<RotateOutcome> {
  const { workspace, journal, name, flags } = command
  const run = waitingRotation(journal, name)
  if (flags['dry-run']) return planned(flags, `would take ${name}@${run.toVersion} back`)
  await confirmStep(`Take the staged version of ${name} back?`, answersOf(flags))
  const places = await unstage(workspace, journal, run)
  return { run: journal.get(run.id), reached: 'unstaged', places, data: undefined }
}
