import * as Flags from '@oclif/core/flags'
import { resolve } from 'node:path'
import { withIntent } from '../../src/audit/with-intent.ts'
import { KvxError } from '../../src/core/errors.ts'
import { backUpHome } from '../../src/keyring/home-backup.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class BackupHome extends KvxCommand {
  static override summary =
    'Copy the keyring, the configuration and the encrypted backups into one signed file.'
  static override description =
    'With that file and the recipients of the backups the home can be made again on another machine: `kvx restore --from home`. It holds no key in the clear. With `home-backup: FILE` in kvx.yaml it is written after each change of the keyring by itself.'
  static override examples = [
    {
      description: 'To a disk that is elsewhere',
      command: '<%= config.bin %> backup home --out /mnt/offsite/kvx-home.json',
    },
    { description: 'To the configured place', command: '<%= config.bin %> backup home' },
  ]
  static override flags = {
    out: Flags.string({ description: 'the file; the configured home-backup unless told', helpValue: 'FILE' }),
  }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.backup.home/1', async () => {
      const { flags } = await this.parse(BackupHome)
      const workspace = await openWorkspace(flags)
      const path = flags.out === undefined ? workspace.config.homeBackup : resolve(flags.out)
      if (path === undefined) {
        throw new KvxError('USAGE', 'there is no place for the copy', {
          hint: 'Give it with `--out FILE`, or set `home-backup: FILE` in kvx.yaml.',
        })
      }
      if (path.startsWith(`${workspace.home.path}/`)) {
        throw new KvxError('USAGE', 'a copy inside the home goes with the home', {
          hint: 'Choose a file outside it, best on another machine.',
        })
      }
      if (flags['dry-run']) return { data: { file: path, written: false }, lines: [`would write ${path}`] }
      const done = await withIntent(workspace.audit, { action: 'backup.home' }, async () =>
        backUpHome(workspace.home, workspace.config, workspace.signer, path),
      )
      return {
        data: {
          file: path,
          written: true,
          ...done,
          auditKeyFingerprint: workspace.signer.publicKeyFingerprint,
        },
        lines: [
          `${path}  ${done.keys} keys, ${done.backups} files of backups; no key in the clear`,
          `signed by the audit key ${workspace.signer.publicKeyFingerprint}`,
          'Keep it, and that fingerprint, away from this machine.',
        ],
      }
    })
  }
}
