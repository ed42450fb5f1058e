import * as Flags from '@oclif/core/flags'
import { keyOf, versionOf } from '../../src/keyring/keyring.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { executeDataRun, prepareDataRun } from '../../src/migration/data-run.ts'
import { isBackedUp } from '../../src/migration/gates.ts'
import { Journal } from '../../src/migration/journal.ts'
import { countsOf, type PlanTerms } from '../../src/migration/plan.ts'
import type { DataWork, Rate } from '../../src/migration/workload.ts'
import type { ProgressForm } from '../../src/ui/progress.ts'
import { confirmStep } from '../../src/ui/prompts.ts'
import { planLines, resultLines, runData } from '../../src/ui/run-view.ts'
import type { Outcome } from './kvx-command.ts'
import { answersOf, gateFlags, onErrorFlag, throttleFlags, withoutReason, withProgress } from './run-flags.ts'

export const dataRunFlags = { ...throttleFlags, ...onErrorFlag, ...gateFlags }

export const newDeksFlags = {
  'new-deks': Flags.boolean({
    description: 'give every record with a wrapped DEK a new one, and seal its values under that',
  }),
  offline: Flags.boolean({
    description: 'the application is stopped: needed for new DEKs that several records share',
    dependsOn: ['new-deks'],
  }),
}

type DataFlags = {
  readonly config: string | undefined
  readonly home: string | undefined
  readonly progress: ProgressForm
  readonly batch: number | undefined
  readonly rate: Rate | undefined
  readonly 'on-error': 'stop' | 'quarantine'
  readonly 'rolled-out': boolean
  readonly 'new-deks'?: boolean
  readonly offline?: boolean
  readonly 'without-backup': boolean
  readonly reason: string | undefined
  readonly 'dry-run': boolean
  readonly yes: boolean
  readonly confirm: string | undefined
  readonly 'no-input': boolean
  readonly quiet: boolean
  readonly json: boolean
}

/** `rewrap`, `reencrypt` and `seal`: plan, ask, work. */
export async function runDataCommand(
  work: DataWork | 'seal',
  names: readonly string[],
  flags: DataFlags,
): Promise<Outcome> {
  const newDeks = flags['new-deks'] === true
  const workspace = await openWorkspace(flags)
  const journal = Journal.open(workspace.home, { look: flags['dry-run'] })
  try {
    return await withProgress(flags, async (events) => {
      const prepared = await prepareDataRun(workspace, journal, {
        // DEKs lie where a rewrap has its work.
        work: newDeks ? 'rewrap' : work === 'seal' ? 'reencrypt' : work,
        ...(newDeks ? { kind: 'new-deks' } : work === 'seal' ? { kind: 'seal' } : {}),
        names,
        offline: flags.offline === true,
        rolledOut: flags['rolled-out'],
        withoutReason: withoutReason(flags),
        onError: flags['on-error'],
        dryRun: flags['dry-run'],
        events,
      })
      const { session, plan, pending } = prepared
      try {
        events.end()
        const { key, to } = plan.terms
        const without =
          versionOf(keyOf(session.ring, key), key, to).withoutBackup?.reason ?? withoutReason(flags)
        const backedUp = await isBackedUp(workspace, session.ring, key, to)
        const backup = backedUp ? 'tested or confirmed' : 'none yet'
        const shown = planLines(plan, without === undefined ? backup : `none (${without})`)
        if (flags['dry-run'] || pending === 0) return planned(plan.censuses.map(countsOf), shown, pending)
        if (!flags.json && !flags.quiet) process.stderr.write(`${shown.join('\n')}\n`)
        await confirmStep(`Change ${pending} records?`, answersOf(flags))
        const result = await executeDataRun(workspace, journal, prepared, { ...flags, events })
        events.end()
        const next = result.failure === undefined ? nextLine(plan.terms) : []
        return {
          data: runData(result),
          lines: [...resultLines(result), ...next],
          run: result.run.id,
          ...(result.failure === undefined ? {} : { failure: result.failure }),
        }
      } finally {
        await session.close()
      }
    })
  } finally {
    journal.close()
  }
}

function planned(counts: readonly object[], shown: readonly string[], pending: number): Outcome {
  const tail = pending === 0 ? 'nothing to do' : 'dry run: nothing was written'
  return {
    data: { run: null, envelopes: counts, seconds: 0, report: null, pending },
    lines: [...shown, tail],
  }
}

function nextLine(terms: PlanTerms): readonly string[] {
  if (terms.kind === 'seal' || terms.kind === 'new-deks') return ['Next: kvx verify']
  return terms.from === null ? [] : [`Next: kvx retire ${terms.key}@${terms.from}`]
}
