import { openWorkspace } from '../../src/keyring/workspace.ts'
import { Journal } from '../../src/migration/journal.ts'
import { runTable } from '../../src/ui/run-view.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class RunList extends KvxCommand {
  static override summary = 'List runs, the newest first.'
  static override examples = [
    { description: 'Is anything unfinished?', command: '<%= config.bin %> run list' },
  ]
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.run.list/1', async () => {
      const { flags } = await this.parse(RunList)
      const journal = Journal.open((await openWorkspace(flags)).home, { look: true })
      try {
        const runs = journal.list()
        const [open] = journal.unfinished()
        const command =
          open?.status === 'waiting'
            ? `kvx rotate ${open.key} --activate`
            : `kvx run resume ${open?.id ?? ''}`
        const next = open === undefined ? [] : [`Next: ${command}`]
        return { data: { runs }, lines: [...runTable(runs), ...next] }
      } finally {
        journal.close()
      }
    })
  }
}
