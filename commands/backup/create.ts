import * as Flags from '@oclif/core/flags'
import { createBackupOf } from '../../src/keyring/backup-key.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { parseSubject } from '../../src/keyring/keyring.ts'
import { backupData, createdLines, recipientLines } from '../../src/ui/backup-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class BackupCreate extends KvxCommand {
  static override summary = 'Encrypt a key to people’s OpenPGP keys, and prove that it opens.'
  static override description =
    'The message is one that plain gpg 2.2 and later open. It counts as a backup when a private key at hand opened it (tested), or when a recipient read its receipt back (`kvx backup confirm`). Recipients’ public keys come from the gpg keyring or from --key-file.'
  static override examples = [
    {
      description: 'The version that seals, to the configured recipients',
      command: '<%= config.bin %> backup create master',
    },
    { description: 'An older version', command: '<%= config.bin %> backup create master@1' },
    {
      description: 'To somebody who is not in the configuration',
      command:
        '<%= config.bin %> backup create master --recipient D2FF8AE2A19FE2B1C9B9D8A4B1B9B6E0C0FFEE00 --key-file alice.asc',
    },
  ]
  static override args = { subject: argument({ description: 'NAME or NAME@VERSION', required: true }) }
  static override flags = {
    recipient: Flags.string({
      description: 'OpenPGP fingerprint, 40 hex digits; the configured ones unless told',
      multiple: true,
      helpValue: 'FPR',
    }),
    'key-file': Flags.string({
      description: 'a file with public keys of recipients',
      multiple: true,
      helpValue: 'FILE',
    }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.backup.create/1', async () => {
      const { args, flags } = await this.parse(BackupCreate)
      const workspace = await openWorkspace(flags)
      const made = await createBackupOf(workspace, {
        ...parseSubject(args.subject),
        recipients: flags.recipient ?? [],
        keyFiles: flags['key-file'] ?? [],
        dryRun: flags['dry-run'],
      })
      if (made.created === undefined) {
        return {
          data: { recipients: made.recipients.map(({ fingerprint, expires }) => ({ fingerprint, expires })) },
          lines: [...recipientLines(made.recipients), 'dry run: nothing was written'],
          warnings: made.warnings,
        }
      }
      return {
        data: backupData(made.created.backup),
        lines: createdLines(made.created.backup, made.recipients),
        warnings: [...made.warnings, ...made.created.warnings],
      }
    })
  }
}
