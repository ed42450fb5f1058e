import * as Flags from '@oclif/core/flags'
import { KvxError } from '../src/core/errors.ts'
import { openWorkspace } from '../src/keyring/workspace.ts'
import { Journal } from '../src/migration/journal.ts'
import { takeStatus } from '../src/migration/status.ts'
import { statusLines } from '../src/ui/status-view.ts'
import { KvxCommand } from './_program/kvx-command.ts'

export default class Status extends KvxCommand {
  static override summary = 'Keys, their ages and backups, unfinished runs, and what is due.'
  static override description =
    'Reads the home and the published places and opens no record: for that, `kvx verify`. Each item that is due comes with its command.'
  static override examples = [
    { description: 'A look in the morning', command: '<%= config.bin %> status' },
    {
      description: 'For a timer: exit 3 when something is due',
      command: '<%= config.bin %> status --due --quiet',
    },
  ]
  static override flags = { due: Flags.boolean({ description: 'exit 3 when something is due' }) }

  async run(): Promise<void> {
    await this.finish('kvx.status/1', async () => {
      const { flags } = await this.parse(Status)
      const workspace = await openWorkspace(flags)
      const journal = Journal.open(workspace.home, { look: true })
      try {
        const status = await takeStatus(workspace, journal)
        const items = status.due.length
        const [first] = status.due
        return {
          data: status,
          lines: statusLines(status),
          ...(flags.due && first !== undefined
            ? {
                failure: new KvxError('FINDINGS', `${items} ${items === 1 ? 'item is' : 'items are'} due`, {
                  hint: `The first: \`${first.command}\`.`,
                }),
              }
            : {}),
        }
      } finally {
        journal.close()
      }
    })
  }
}
