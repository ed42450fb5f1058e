import { withIntent } from '../../src/audit/with-intent.ts'
import { findBackup, verifyBackup } from '../../src/backup/backups.ts'
import { testBackup } from '../../src/backup/confirm.ts'
import { KvxError } from '../../src/core/errors.ts'
import { refreshCopy } from '../../src/keyring/keyring.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import * as Flags from '@oclif/core/flags'
import { backupData } from '../../src/ui/backup-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class BackupVerify extends KvxCommand {
  static override summary =
    'Compare a backup with its signed manifest; with --open, open it with the gpg at hand.'
  static override examples = [
    {
      description: 'Is the file still the one that was made?',
      command: '<%= config.bin %> backup verify B7K2M9',
    },
    { description: 'Does it open here?', command: '<%= config.bin %> backup verify B7K2M9 --open' },
  ]
  static override args = {
    id: argument({ description: 'the backup, as `kvx backup list` names it', required: true }),
  }
  static override flags = { open: Flags.boolean({ description: 'decrypt it with gpg and compare the key' }) }

  async run(): Promise<void> {
    await this.finish('kvx.backup.verify/1', async () => {
      const { args, flags } = await this.parse(BackupVerify)
      const workspace = await openWorkspace(flags)
      const backup = await findBackup(workspace.home.backups, args.id)
      const check = await verifyBackup(backup, workspace.verify)
      const subject = `${backup.manifest.name}@${backup.manifest.version}`
      if (!check.ok) {
        return {
          data: { ...backupData(backup), problems: check.problems },
          lines: check.problems.map(({ message }) => message),
          warnings: check.warnings,
          failure: new KvxError('DAMAGED', `backup ${backup.manifest.id} is not what was made`, {
            hint: `Make a new one: \`kvx backup create ${subject}\`.`,
          }),
        }
      }
      if (!flags.open || flags['dry-run']) {
        const lines = [
          `backup ${backup.manifest.id} of ${subject}: file and manifest are as they were made (${backup.manifest.state})`,
        ]
        return { data: { ...backupData(backup), problems: [] }, lines, warnings: check.warnings }
      }
      const home = { directory: workspace.home.backups, signer: workspace.signer, verify: workspace.verify }
      const opened = await withIntent(workspace.audit, { action: 'backup.test', subject }, async () =>
        testBackup(home, args.id, { interactive: process.stdin.isTTY && !flags['no-input'] }),
      )
      await refreshCopy(workspace.home)
      return {
        data: { ...backupData(opened), problems: [] },
        lines: [`backup ${opened.manifest.id} of ${subject} opened here, and holds the right key`],
        warnings: check.warnings,
      }
    })
  }
}
