import { listBackups } from '../../src/backup/backups.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { backupData, backupTable } from '../../src/ui/backup-view.ts'
import { optionalArgument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class BackupList extends KvxCommand {
  static override summary = 'List the backups of the home, and whether they were proven to open.'
  static override examples = [{ description: 'Of one key', command: '<%= config.bin %> backup list master' }]
  static override args = { name: optionalArgument({ description: 'the key; all of them without a name' }) }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.backup.list/1', async () => {
      const { args, flags } = await this.parse(BackupList)
      const { home } = await openWorkspace(flags)
      const all = await listBackups(home.backups)
      const backups = all.backups.filter(
        ({ manifest }) => args.name === undefined || manifest.name === args.name,
      )
      return {
        data: { backups: backups.map(backupData) },
        lines: backupTable({ ...all, backups }),
        warnings: all.problems,
      }
    })
  }
}
