import { resolve } from 'node:path'
import type { Conclusion } from '../src/audit/with-intent.ts'
import { KvxError } from '../src/core/errors.ts'
import { openWorkspace, type Workspace } from '../src/keyring/workspace.ts'
import {
  examinePlanned,
  readApprovals,
  type ReadApprovals,
  requireApplicable,
  underPlan,
} from '../src/migration/apply-plan.ts'
import type { ReadPlanFile } from '../src/approvals/plan-file.ts'
import { executeDataRun } from '../src/migration/data-run.ts'
import { destroyVersion, scheduleDestruction } from '../src/migration/destroy.ts'
import { Journal } from '../src/migration/journal.ts'
import type { ExaminedWork } from '../src/migration/planned-work.ts'
import { retireVersion } from '../src/migration/retire.ts'
import type { Rate } from '../src/migration/workload.ts'
import { destroyedData, destroyedLines, scheduledLines } from '../src/ui/destroy-view.ts'
import { approvalData, approvalLines, planFileLines } from '../src/ui/plan-view.ts'
import { confirmStep, confirmTyped } from '../src/ui/prompts.ts'
import { retiredData, retiredLines } from '../src/ui/retire-view.ts'
import { rotationData, rotationLines } from '../src/ui/rotation-view.ts'
import { resultLines, runData } from '../src/ui/run-view.ts'
import { argument } from './_program/arguments.ts'
import { requireWaitingTime } from './_program/destroy-flags.ts'
import { KvxCommand, type Outcome } from './_program/kvx-command.ts'
import { approvalFlag } from './_program/plan-command.ts'
import { carryOutRotation } from './_program/rotate-command.ts'
import { answersOf, throttleFlags, withProgress } from './_program/run-flags.ts'

type ApplyFlags = Parameters<typeof answersOf>[0] &
  Parameters<typeof withProgress>[0] & {
    readonly batch: number | undefined
    readonly rate: Rate | undefined
    readonly 'dry-run': boolean
    readonly json: boolean
    readonly quiet: boolean
  }

type Applying = {
  readonly workspace: Workspace
  readonly journal: Journal
  readonly file: ReadPlanFile
  readonly approvals: ReadApprovals
  readonly flags: ApplyFlags
}

export default class Apply extends KvxCommand {
  static override summary = 'Carry out a plan, exactly as it was approved or not at all.'
  static override description =
    'The policy’s approvals must lie beside the plan. Then everything is looked at again: another count, key, state, configuration or home than the plan says is exit 7, and nothing was changed. A plan is carried out once. Killed: `kvx run resume` goes on, without a second approval.'
  static override examples = [
    {
      description: 'Look whether it could be applied',
      command: '<%= config.bin %> apply plan.json --dry-run',
    },
    { description: 'Carry it out', command: '<%= config.bin %> apply plan.json' },
    {
      description: 'A retirement, in a script',
      command: '<%= config.bin %> apply plan.json --confirm master@1',
    },
  ]
  static override args = { plan: argument({ description: 'the file of the plan', required: true }) }
  static override flags = { ...approvalFlag, ...throttleFlags }

  async run(): Promise<void> {
    await this.finish('kvx.apply/1', async () => {
      const { args, flags } = await this.parse(Apply)
      const workspace = await openWorkspace(flags)
      const journal = Journal.open(workspace.home, { look: flags['dry-run'] })
      try {
        const read = await readApprovals(workspace.config, args.plan, flags.approval ?? [])
        await requireApplicable(workspace, journal, resolve(args.plan), read)
        return await applyPlan({ workspace, journal, ...read, flags })
      } finally {
        journal.close()
      }
    })
  }
}

async function applyPlan(applying: Applying): Promise<Outcome> {
  const { workspace, journal, file, approvals, flags } = applying
  return withProgress(flags, async (events) => {
    const examined = await examinePlanned(workspace, journal, file, events)
    try {
      events.end()
      const { required } = approvals
      const around = { digest: file.digest, approvals: approvalData(approvals, required) }
      const shown = [...planFileLines(file), ...approvalLines(approvals, required)]
      if (flags['dry-run'] || examined.isDone) {
        const tail = examined.isDone ? 'nothing is left to do' : 'dry run: nothing was written'
        return { data: { ...around, result: null }, lines: [...shown, tail] }
      }
      if (!flags.json && !flags.quiet) process.stderr.write(`${shown.join('\n')}\n`)
      await confirm(file, flags)
      const outcome = await underPlan(workspace, file, approvals, async (conclusion) =>
        concluded(await carryOut(applying, examined, events), conclusion),
      )
      events.end()
      return { ...outcome, data: { ...around, result: outcome.data } }
    } finally {
      await examined.close()
    }
  })
}

/** The same answers as the command itself asks for. */
async function confirm({ plan: { work } }: ReadPlanFile, flags: ApplyFlags): Promise<void> {
  if (work.command === 'retire' || work.command === 'destroy') {
    await confirmTyped('Carry out this plan?', `${work.name}@${work.version}`, answersOf(flags))
  } else await confirmStep('Carry out this plan?', answersOf(flags))
}

function concluded(outcome: Outcome, conclusion: Conclusion): Outcome {
  if (outcome.failure !== undefined) conclusion.exit(outcome.failure.exit)
  if (outcome.run !== undefined) conclusion.conclude({ startedRun: outcome.run })
  return outcome
}

type Events = Parameters<Parameters<typeof withProgress>[1]>[0]

async function carryOut(applying: Applying, examined: ExaminedWork, events: Events): Promise<Outcome> {
  const { workspace, journal, file, flags } = applying
  const { prepared } = examined
  const { work } = file.plan
  const approvedBy = { digest: file.digest }
  if (prepared.kind === 'data') {
    const result = await executeDataRun(workspace, journal, prepared.run, { ...flags, events, approvedBy })
    return {
      data: runData(result),
      lines: resultLines(result),
      run: result.run.id,
      ...(result.failure === undefined ? {} : { failure: result.failure }),
    }
  }
  if (prepared.kind === 'rotation' && work.command === 'rotate') {
    const done = await carryOutRotation(workspace, journal, prepared.rotation, {
      activate: false,
      rolledOut: work.rolledOut,
      stageOnly: work.stageOnly,
      withoutReason: work.withoutBackup ?? undefined,
      batch: flags.batch,
      rate: flags.rate,
      events,
      approvedBy,
    })
    return {
      data: await rotationData(workspace, work.name, done),
      lines: await rotationLines(workspace, work.name, done),
      run: done.run.id,
      ...(done.data?.failure === undefined ? {} : { failure: done.data.failure }),
    }
  }
  return carryOutVersion(applying, events)
}

async function carryOutVersion(applying: Applying, events: Events): Promise<Outcome> {
  const { workspace, journal, file } = applying
  const { work } = file.plan
  const approvedBy = { digest: file.digest }
  if (work.command === 'retire') {
    const done = await retireVersion(workspace, journal, {
      name: work.name,
      version: work.version,
      acceptLoss: work.acceptLoss ?? undefined,
      drop: work.drop ?? undefined,
      acceptShrunk: work.acceptShrunk ?? undefined,
      approvedBy,
      events,
    })
    return { data: retiredData(work, done), lines: retiredLines(work, done) }
  }
  if (work.command !== 'destroy') throw new KvxError('BUG', `${work.command} was prepared as something else`)
  const subject = { name: work.name, version: work.version }
  if (work.after !== null) {
    const afterMs = requireWaitingTime(work.after)
    const scheduled = await scheduleDestruction(workspace, journal, subject, { afterMs, approvedBy })
    const lines = scheduledLines(`${work.name}@${work.version}`, scheduled)
    return { data: { ...subject, ...scheduled }, lines }
  }
  const done = await destroyVersion(workspace, journal, subject, {
    acceptLoss: work.acceptLoss ?? undefined,
    drop: work.drop ?? undefined,
    approvedBy,
    events,
  })
  return { data: { destroyed: [destroyedData(done)] }, lines: destroyedLines(done) }
}
