import { openWorkspace } from '../../src/keyring/workspace.ts'
import { Journal } from '../../src/migration/journal.ts'
import { restoreCiphertext } from '../../src/migration/restore-ciphertext.ts'
import { count } from '../../src/ui/columns.ts'
import { confirmStep } from '../../src/ui/prompts.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import {
  acceptedLoss,
  acceptLossFlags,
  answersOf,
  progressFlags,
  withProgress,
} from '../_program/run-flags.ts'

export default class RunRestore extends KvxCommand {
  static override summary = 'Bring back the ciphertext that a run replaced.'
  static override description =
    'Only records that are missing or still hold what the run wrote. Records that something else wrote since stop it; --accept-loss COUNT --reason TEXT overwrites them. To undo a run without losing writes, use `run rollback`. Everything that would come back is opened once before the first write: old bytes that no key of this home opens stop it as well. What is overwritten is kept in the folder of the run, as backup/overwritten-*.jsonl, until `run forget`.'
  static override examples = [
    {
      description: 'See what would come back',
      command: '<%= config.bin %> run restore 20260101T000000Z-abc123 --dry-run',
    },
    { description: 'Bring it back', command: '<%= config.bin %> run restore 20260101T000000Z-abc123 --yes' },
  ]
  static override args = { id: argument({ description: 'the run', required: true }) }
  static override flags = { ...progressFlags, ...acceptLossFlags }

  async run(): Promise<void> {
    await this.finish('kvx.run.restore/1', async () => {
      const { args, flags } = await this.parse(RunRestore)
      const workspace = await openWorkspace(flags)
      const journal = Journal.open(workspace.home, { look: flags['dry-run'] })
      try {
        const run = journal.get(args.id)
        if (!flags['dry-run']) await confirmStep(`Bring back what run ${run.id} replaced?`, answersOf(flags))
        return await withProgress(flags, async (events) => {
          const done = await restoreCiphertext(workspace, run, {
            dryRun: flags['dry-run'],
            acceptLoss: acceptedLoss(flags),
            events,
          })
          events.end()
          return {
            data: done,
            run: run.id,
            lines: [
              `${count(done.restored)} restored · ${count(done.inserted)} missing ones brought back · ${count(done.same)} were as before · ${count(done.changedSince)} written by something else since`,
              ...(flags['dry-run'] ? ['dry run: nothing was written'] : ['Next: kvx verify']),
            ],
          }
        })
      } finally {
        journal.close()
      }
    })
  }
}
