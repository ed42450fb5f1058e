import { Flags } from '@oclif/core'
import { withIntent } from '../../src/audit/with-intent.ts'
import { confirmBackup } from '../../src/backup/confirm.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { currentActor } from '../../src/platform/actor.ts'
import { acquireLock } from '../../src/platform/lock.ts'
import { backupData } from '../../src/ui/backup-view.ts'
import { askLine } from '../../src/ui/prompts.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'

export default class BackupConfirm extends KvxCommand {
  static override summary = 'Record that a recipient opened a backup and read its receipt back.'
  static override description =
    'The receipt is a code inside the encrypted backup; it tells nothing about the key. Case, dashes and spaces do not matter.'
  static override examples = [
    { description: 'Typed at the prompt', command: '<%= config.bin %> backup confirm B7K2M9' },
    {
      description: 'In one line',
      command: '<%= config.bin %> backup confirm B7K2M9 --receipt 20QH-UMYA-NKS3-6YQF',
    },
  ]
  static override args = {
    id: argument({ description: 'the backup, as `kvx backup list` names it', required: true }),
  }
  static override flags = {
    receipt: Flags.string({ description: 'the code that the recipient read out', helpValue: 'CODE' }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.backup.confirm/1', async () => {
      const { args, flags } = await this.parse(BackupConfirm)
      const workspace = await openWorkspace(flags)
      const code =
        flags.receipt ??
        (await askLine('Receipt, as the recipient reads it:', answersOf(flags), '--receipt CODE'))
      const lock = await acquireLock(workspace.home.backups, 'the backups', { waitMs: 10_000 })
      try {
        const home = { directory: workspace.home.backups, signer: workspace.signer, verify: workspace.verify }
        const intent = { action: 'backup.confirm', data: { backup: args.id.slice(0, 40) } }
        const backup = await withIntent(workspace.audit, intent, async () =>
          confirmBackup(home, args.id, { code, by: currentActor() }),
        )
        const { manifest } = backup
        return {
          data: backupData(backup),
          lines: [
            `backup ${manifest.id} of ${manifest.name}@${manifest.version} is confirmed`,
            `Next: kvx run list shows whether a rotation waited for it; kvx rotate ${manifest.name} --activate goes on`,
          ],
        }
      } finally {
        lock.release()
      }
    })
  }
}
