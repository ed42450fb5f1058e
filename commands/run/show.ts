import { openWorkspace } from '../../src/keyring/workspace.ts'
import { Journal } from '../../src/migration/journal.ts'
import { quarantineLines, runTable } from '../../src/ui/run-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class RunShow extends KvxCommand {
  static override summary = 'Show one run: its steps, and the records that it set aside.'
  static override examples = [
    { description: 'By its id', command: '<%= config.bin %> run show 20260101T000000Z-abc123' },
  ]
  static override args = { id: argument({ description: 'the run', required: true }) }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.run.show/1', async () => {
      const { args, flags } = await this.parse(RunShow)
      const { home } = await openWorkspace(flags)
      const journal = Journal.open(home, { look: true })
      try {
        const run = journal.get(args.id)
        const quarantine = journal.quarantine(run.id)
        const steps = journal.steps(run.id)
        return {
          data: { ...run, steps, quarantine },
          run: run.id,
          lines: [
            ...runTable([run]),
            ...steps.map(({ name, at, detail }) => `  ${at}  ${name}${detail === '' ? '' : ` ${detail}`}`),
            ...(quarantine.length === 0 ? [] : ['set aside:', ...quarantineLines(quarantine)]),
            `files  ${home.runs}/${run.id}`,
          ],
        }
      } finally {
        journal.close()
      }
    })
  }
}
