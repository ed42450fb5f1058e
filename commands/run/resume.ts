import * as Flags from '@oclif/core/flags'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { Journal } from '../../src/migration/journal.ts'
import { findRun, resumeRun } from '../../src/migration/resume.ts'
import { rotationData, rotationLines } from '../../src/ui/rotation-view.ts'
import { resultLines, runData } from '../../src/ui/run-view.ts'
import { optionalArgument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { gateFlags, throttleFlags, withoutReason, withProgress } from '../_program/run-flags.ts'

export default class RunResume extends KvxCommand {
  static override summary = 'Go on with a run that was killed, interrupted, or waits.'
  static override description =
    'The data decides what remains: each record is asked which key opens it. Without an id the only unfinished run is taken. A changed configuration is exit 7, with the names of what differs.'
  static override examples = [
    { description: 'The only unfinished run', command: '<%= config.bin %> run resume' },
    {
      description: 'A rotation that waited for its readers',
      command: '<%= config.bin %> run resume 20260101T000000Z-abc123 --rolled-out',
    },
    {
      description: 'A rollback whose old version was compromised meanwhile',
      command: '<%= config.bin %> run resume 20260101T000000Z-abc123 --forward',
    },
  ]
  static override args = { id: optionalArgument({ description: 'the run' }) }
  static override flags = {
    forward: Flags.boolean({
      description: 'turn a rollback round: the new version seals again, and values move to it',
    }),
    ...throttleFlags,
    ...gateFlags,
  }

  async run(): Promise<void> {
    await this.finish('kvx.run.resume/1', async () => {
      const { args, flags } = await this.parse(RunResume)
      const workspace = await openWorkspace(flags)
      const journal = Journal.open(workspace.home, { look: flags['dry-run'] })
      try {
        const run = findRun(journal, args.id)
        if (flags['dry-run']) {
          return {
            data: run,
            run: run.id,
            lines: [`would go on with the ${run.kind} ${run.id} of ${run.key} (${run.status})`],
          }
        }
        return await withProgress(flags, async (events) => {
          const resumed = await resumeRun(workspace, journal, run, {
            ...flags,
            activate: flags['rolled-out'],
            stageOnly: false,
            rolledOut: flags['rolled-out'],
            withoutReason: withoutReason(flags),
            events,
          })
          events.end()
          if (resumed.kind === 'rotation') {
            const failure = resumed.result.data?.failure
            return {
              data: await rotationData(workspace, run.key, resumed.result),
              lines: await rotationLines(workspace, run.key, resumed.result),
              run: run.id,
              ...(failure === undefined ? {} : { failure }),
            }
          }
          const { failure } = resumed.result
          return {
            data: runData(resumed.result),
            lines: resultLines(resumed.result),
            run: run.id,
            ...(failure === undefined ? {} : { failure }),
          }
        })
      } finally {
        journal.close()
      }
    })
  }
}
