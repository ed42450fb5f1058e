import * as Flags from '@oclif/core/flags'
import { refuseUnapproved } from '../src/approvals/gate.ts'
import { errorCatalogue, KvxError } from '../src/core/errors.ts'
import { readKeyring, versionOfSubject } from '../src/keyring/keyring.ts'
import { openWorkspace, type Workspace } from '../src/keyring/workspace.ts'
import {
  cancelDestruction,
  destroyVersion,
  dueDestructions,
  scheduledDestructions,
  scheduleDestruction,
  type Destroyed,
  type Subject,
} from '../src/migration/destroy.ts'
import { Journal } from '../src/migration/journal.ts'
import { destroyedData, destroyedLines, scheduledLines } from '../src/ui/destroy-view.ts'
import { confirmTyped } from '../src/ui/prompts.ts'
import { optionalArgument } from './_program/arguments.ts'
import { requireWaitingTime } from './_program/destroy-flags.ts'
import { KvxCommand, type Outcome } from './_program/kvx-command.ts'
import {
  acceptedLoss,
  acceptLossFlags,
  answersOf,
  dropPlaceFlags,
  droppedPlaces,
  workFlags,
  withProgress,
} from './_program/run-flags.ts'

type DestroyFlags = Parameters<typeof answersOf>[0] &
  Parameters<typeof acceptedLoss>[0] &
  Parameters<typeof droppedPlaces>[0] &
  Parameters<typeof withProgress>[0] & { readonly after: string; readonly 'dry-run': boolean }

export default class Destroy extends KvxCommand {
  static override summary = 'Schedule the end of a retired version’s material, and carry out what is due.'
  static override description =
    'The material goes when the waiting time is over and nothing in the ledger needs it: ciphertext backups of runs, backups of the application, published copies. A last full scan comes right before. Ciphertext backups of runs that are older than 30 days hold nothing back: they are removed together with the version, with an entry in the audit log. Backups of the key elsewhere are listed: until they are destroyed, the key exists. Overwriting a file cannot reach flash, snapshots or other people’s copies.'
  static override examples = [
    { description: 'In a week', command: '<%= config.bin %> destroy master@1 --after 7d --confirm master@1' },
    { description: 'Stop it', command: '<%= config.bin %> destroy master@1 --cancel' },
    {
      description: 'Carry out what is due, from a timer',
      command: '<%= config.bin %> destroy --due --no-input',
    },
    {
      description: 'Carry out the one whose last values are lost anyway',
      command: '<%= config.bin %> destroy master@1 --due --accept-loss 2 --reason "rows of a test tenant"',
    },
  ]
  static override args = { subject: optionalArgument({ description: 'NAME@VERSION' }) }
  static override flags = {
    after: Flags.string({
      description: 'the waiting time, e.g. 12h or 7d',
      default: '7d',
      helpValue: 'TIME',
    }),
    cancel: Flags.boolean({ description: 'stop a scheduled destruction', exclusive: ['due'] }),
    due: Flags.boolean({
      description:
        'erase every version whose waiting time is over; with --accept-loss or --drop-place, the NAME@VERSION that it is about',
    }),
    ...workFlags,
    ...acceptLossFlags,
    ...dropPlaceFlags,
  }

  async run(): Promise<void> {
    await this.finish('kvx.destroy/1', async () => {
      const { args, flags } = await this.parse(Destroy)
      const workspace = await openWorkspace(flags)
      const journal = Journal.open(workspace.home, { look: flags['dry-run'] })
      try {
        if (flags.due) {
          const only = args.subject === undefined ? undefined : versionOfSubject(args.subject)
          if (only === undefined || isAboutOne(flags)) return await carryOut(workspace, journal, flags, only)
          throw new KvxError('USAGE', '`--due` erases everything that is due and takes no NAME@VERSION', {
            hint: 'Look first: `kvx destroy --due --dry-run`. One that shall stay: `kvx destroy NAME@VERSION --cancel`.',
          })
        }
        if (args.subject === undefined) {
          throw new KvxError('USAGE', 'say which version is meant', {
            hint: 'Name it: `kvx destroy NAME@VERSION`; or carry out what waits: `--due`.',
          })
        }
        const subject = versionOfSubject(args.subject)
        return flags.cancel
          ? await cancel(workspace, subject, flags)
          : await schedule(workspace, journal, subject, flags)
      } finally {
        journal.close()
      }
    })
  }
}

async function schedule(
  workspace: Workspace,
  journal: Journal,
  subject: Subject,
  flags: DestroyFlags,
): Promise<Outcome> {
  const label = `${subject.name}@${subject.version}`
  const afterMs = requireWaitingTime(flags.after)
  if (flags['dry-run'])
    return {
      data: { ...subject, scheduled: false },
      lines: [`${label} would be destroyed ${flags.after} from now`],
    }
  refuseUnapproved(workspace.config, ['destroy'], undefined, `destroy ${label} --after ${flags.after}`)
  await confirmTyped(`Destroy ${label} in ${flags.after}?`, label, answersOf(flags))
  const scheduled = await scheduleDestruction(workspace, journal, subject, { afterMs })
  return { data: { ...subject, ...scheduled }, lines: scheduledLines(label, scheduled) }
}

async function cancel(workspace: Workspace, subject: Subject, flags: DestroyFlags): Promise<Outcome> {
  if (!flags['dry-run']) await cancelDestruction(workspace, subject)
  return {
    data: { ...subject, due: null },
    lines: [`the destruction of ${subject.name}@${subject.version} is cancelled`],
  }
}

/** What an operator accepts is said of one version, never of whatever is due besides. */
function isAboutOne(flags: DestroyFlags): boolean {
  return flags['accept-loss'] !== undefined || flags['drop-place'] !== undefined
}

function chooseDue(
  all: readonly Subject[],
  flags: DestroyFlags,
  only: Subject | undefined,
): readonly Subject[] {
  const labels = all.map(({ name, version }) => `${name}@${version}`)
  if (only !== undefined) {
    const due = all.filter(({ name, version }) => name === only.name && version === only.version)
    if (due.length > 0) return due
    throw new KvxError('LEDGER_OPEN', `${only.name}@${only.version} is not due`, {
      hint: labels.length === 0 ? 'Nothing is due now.' : `Due are: ${labels.join(', ')}.`,
    })
  }
  if (all.length < 2 || !isAboutOne(flags)) return all
  throw new KvxError('USAGE', `${labels.join(' and ')} are due, and a loss is accepted for one version`, {
    hint: `Name it: \`kvx destroy ${labels[0] ?? ''} --due --accept-loss COUNT --reason TEXT\`. Nothing was erased.`,
  })
}

async function carryOut(
  workspace: Workspace,
  journal: Journal,
  flags: DestroyFlags,
  only: Subject | undefined,
): Promise<Outcome> {
  const ring = await readKeyring(workspace.home)
  const due = chooseDue(dueDestructions(ring), flags, only)
  if (due.length === 0 || flags['dry-run']) {
    const lines =
      due.length === 0
        ? [
            'nothing is due',
            ...scheduledDestructions(ring).map(
              ({ name, version, due }) => `  ${name}@${version} not before ${due}`,
            ),
          ]
        : due.map(({ name, version }) => `${name}@${version} is due`)
    return { data: { destroyed: [], due: due.map(({ name, version }) => `${name}@${version}`) }, lines }
  }
  return withProgress(flags, async (events) => {
    const done: Destroyed[] = []
    const failures: KvxError[] = []
    for (const subject of due) {
      try {
        done.push(
          await destroyVersion(workspace, journal, subject, {
            acceptLoss: acceptedLoss(flags),
            drop: droppedPlaces(flags),
            events,
          }),
        )
      } catch (error) {
        // What is done is told whatever comes after it, and one that a gate holds back does not hold up another.
        if (!(error instanceof KvxError)) throw error
        failures.push(error)
        if (error.exit !== errorCatalogue.LEDGER_OPEN) break
      }
    }
    events.end()
    const [failure, ...more] = failures
    return {
      data: { destroyed: done.map(destroyedData), ...failure?.details },
      lines: done.flatMap(destroyedLines),
      warnings: more.map(({ code, message }) => ({ code, message })),
      ...(failure === undefined ? {} : { failure }),
    }
  })
}
