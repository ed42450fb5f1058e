import { openWorkspace } from '../../src/keyring/workspace.ts'
import { forgetRun } from '../../src/migration/forget.ts'
import { Journal } from '../../src/migration/journal.ts'
import { confirmTyped } from '../../src/ui/prompts.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'

export default class RunForget extends KvxCommand {
  static override summary = 'Remove the ciphertext backup of a finished run.'
  static override description =
    'The backup holds old bytes, which lie under an old version of the key, and what restores of the run overwrote. Plan, report and journal stay. `run restore` is not possible afterwards; `run rollback` is.'
  static override examples = [
    {
      description: 'After the values were proven',
      command: '<%= config.bin %> run forget 20260101T000000Z-abc123',
    },
  ]
  static override args = { id: argument({ description: 'the run', required: true }) }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.run.forget/1', async () => {
      const { args, flags } = await this.parse(RunForget)
      const workspace = await openWorkspace(flags)
      const journal = Journal.open(workspace.home, { look: flags['dry-run'] })
      try {
        const run = journal.get(args.id)
        if (!flags['dry-run'])
          await confirmTyped(`Remove the ciphertext backup of run ${run.id}?`, run.id, answersOf(flags))
        const had = await forgetRun(workspace, run, flags['dry-run'])
        const done = flags['dry-run'] ? 'would be removed' : 'is removed'
        return {
          data: { run: run.id, removed: had && !flags['dry-run'] },
          run: run.id,
          lines: [
            had
              ? `the ciphertext backup of ${run.id} ${done}`
              : 'there is no ciphertext backup; nothing to do',
          ],
        }
      } finally {
        journal.close()
      }
    })
  }
}
