import { resolve } from 'node:path'
import * as Flags from '@oclif/core/flags'
import type { PlannedWork } from '../../src/approvals/plan-file.ts'
import { KvxError } from '../../src/core/errors.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { makePlanFile } from '../../src/migration/apply-plan.ts'
import { Journal } from '../../src/migration/journal.ts'
import { createFile } from '../../src/platform/create-file.ts'
import type { ProgressForm } from '../../src/ui/progress.ts'
import { approveLines, planFileLines } from '../../src/ui/plan-view.ts'
import type { Outcome } from './kvx-command.ts'
import { gateFlags, onErrorFlag, withoutReason, withProgress, workFlags } from './run-flags.ts'

/** Flags of every `kvx plan COMMAND`; the others are those of the command itself. */
export const planFlags = {
  out: Flags.string({ description: 'the file to write; never over another one', helpValue: 'FILE' }),
  expires: Flags.string({
    description: 'how long the plan is good, e.g. 12h; 7d or what the policy says unless told',
    helpValue: 'TIME',
  }),
  tolerance: Flags.integer({
    description: 'by so many records each count may differ when it is applied, where the application goes on',
    default: 0,
    min: 0,
    helpValue: 'COUNT',
  }),
  ...workFlags,
}

export const approvalFlag = {
  approval: Flags.string({
    description: 'a signature that does not lie beside the plan; can be given more than once',
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'FILE',
  }),
}

type PlanFlags = {
  readonly out: string | undefined
  readonly expires: string | undefined
  readonly tolerance: number
  readonly progress: ProgressForm
  readonly config: string | undefined
  readonly home: string | undefined
  readonly quiet: boolean
  readonly 'dry-run': boolean
}

/** A flag that was not given has no value, whatever its type says; a plan says false. */
export function isSet(flag: boolean | undefined): boolean {
  return flag ?? false
}

/** What a plan of work on data shares: description, flags, and the words to call it by. */
export const planDataFlags = { ...planFlags, ...onErrorFlag, ...gateFlags }

export function planDataDescription(what: string): string {
  return `Opens everything that ${what} would touch, once, and writes down what it found: counts, fingerprints and states of keys, the digest of kvx.yaml, the home, an end of its time. No secrets. Others approve the file, and \`kvx apply\` does exactly this or refuses.`
}

export function planDataExamples(command: DataCommand): { description: string; command: string }[] {
  const line = `<%= config.bin %> plan ${command} app.secrets`
  return [
    { description: 'Write the plan', command: `${line} --out plan.json` },
    {
      description: 'Beside an application that goes on, for two days',
      command: `${line} --tolerance 500 --expires 2d --out plan.json`,
    },
  ]
}

type DataCommand = 'rewrap' | 'reencrypt' | 'seal'

type PlanDataFlags = PlanFlags & {
  readonly 'on-error': 'stop' | 'quarantine'
  readonly 'rolled-out': boolean
  readonly 'without-backup': boolean
  readonly reason: string | undefined
  readonly 'new-deks'?: boolean
  readonly offline?: boolean
}

/** `kvx plan rewrap`, `reencrypt` and `seal`. */
export async function planDataCommand(
  command: DataCommand,
  names: readonly string[],
  flags: PlanDataFlags,
): Promise<Outcome> {
  const work = {
    command,
    names: [...names],
    newDeks: isSet(flags['new-deks']),
    offline: isSet(flags.offline),
    onError: flags['on-error'],
    rolledOut: isSet(flags['rolled-out']),
    withoutBackup: withoutReason(flags) ?? null,
  }
  return planCommand(work, flags)
}

/** Looks at what the work would touch and writes the plan; the work itself is `kvx apply`. */
export async function planCommand(work: PlannedWork, flags: PlanFlags): Promise<Outcome> {
  const { out } = flags
  if (out === undefined && !flags['dry-run']) {
    throw new KvxError('USAGE', 'the plan needs a file', {
      hint: 'Name it: `--out plan.json`; or look at it alone with `--dry-run`.',
    })
  }
  const workspace = await openWorkspace(flags)
  const journal = Journal.open(workspace.home, { look: true })
  try {
    const made = await withProgress(flags, async (events) =>
      makePlanFile(workspace, journal, work, { ...flags, events }),
    )
    const { file, examined, required } = made
    const lines = [...planFileLines(file), ...(examined.isDone ? ['nothing is left to do'] : [])]
    const data = { file: null, digest: file.digest, required, plan: file.plan, done: examined.isDone }
    if (out === undefined || flags['dry-run'] || examined.isDone) {
      return { data, lines: [...lines, 'no file was written'] }
    }
    await createFile(resolve(out), file.bytes, { mode: 0o644 })
    return {
      data: { ...data, file: resolve(out) },
      lines: [...lines, `wrote  ${out}`, ...approveLines(out, required)],
    }
  } finally {
    journal.close()
  }
}
