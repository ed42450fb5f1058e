import { openWorkspace } from '../../src/keyring/workspace.ts'
import { Journal } from '../../src/migration/journal.ts'
import { findRun } from '../../src/migration/resume.ts'
import { checkWayBack, rollBack } from '../../src/migration/rollback.ts'
import { confirmStep } from '../../src/ui/prompts.ts'
import { resultLines, runData } from '../../src/ui/run-view.ts'
import { optionalArgument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf, throttleFlags, withProgress } from '../_program/run-flags.ts'

export default class RunRollback extends KvxCommand {
  static override summary = 'Undo a run: the old version seals again and values under the new one move back.'
  static override description =
    'The same engine the other way round, possible until the old version is retired. The new version stays in the ring and opens; nothing is lost. Can be killed and resumed like any run.'
  static override examples = [
    {
      description: 'Undo a rotation with its data',
      command: '<%= config.bin %> run rollback 20260101T000000Z-abc123',
    },
  ]
  static override args = {
    id: optionalArgument({ description: 'the run; the only unfinished one without an id' }),
  }
  static override flags = throttleFlags

  async run(): Promise<void> {
    await this.finish('kvx.run.rollback/1', async () => {
      const { args, flags } = await this.parse(RunRollback)
      const workspace = await openWorkspace(flags)
      const journal = Journal.open(workspace.home, { look: flags['dry-run'] })
      try {
        const run = findRun(journal, args.id)
        const target = await checkWayBack(workspace, run)
        const subject = `${run.key}@${target}`
        if (flags['dry-run'])
          return {
            data: run,
            run: run.id,
            lines: [`${subject} would seal again; values under ${run.key}@${run.toVersion} would move back`],
          }
        await confirmStep(`Let ${subject} seal again and move values back?`, answersOf(flags))
        return await withProgress(flags, async (events) => {
          const result = await rollBack(workspace, journal, run, { ...flags, events })
          events.end()
          return {
            data: runData(result),
            lines: [...resultLines(result), `${subject} seals again`],
            run: run.id,
            ...(result.failure === undefined ? {} : { failure: result.failure }),
          }
        })
      } finally {
        journal.close()
      }
    })
  }
}
