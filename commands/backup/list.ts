import { listBackups } from '../../src/backup/backups.ts'
import { listShareSets } from '../../src/backup/shares/share-sets.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { backupData, backupTable } from '../../src/ui/backup-view.ts'
import { shareSetData, shareSetTable } from '../../src/ui/share-view.ts'
import { optionalArgument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class BackupList extends KvxCommand {
  static override summary = 'List the backups and share sets of the home, and whether they count.'
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
      const dealt = await listShareSets(home.backups)
      const sets = dealt.sets.filter(({ set }) => args.name === undefined || set.name === args.name)
      const isOnlySets = backups.length === 0 && sets.length > 0
      const tables = [
        isOnlySets ? [] : backupTable({ ...all, backups }),
        shareSetTable({ ...dealt, sets }),
      ].filter(({ length }) => length > 0)
      return {
        data: { backups: backups.map(backupData), shareSets: sets.map(shareSetData) },
        lines: tables.flatMap((table, at) => (at === 0 ? table : ['', ...table])),
        warnings: [...all.problems, ...dealt.problems],
      }
    })
  }
}
