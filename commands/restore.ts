import { Flags } from '@oclif/core'
import { restoreKey } from '../src/keyring/restore-key.ts'
import { confirmTyped } from '../src/ui/prompts.ts'
import { argument } from './_program/arguments.ts'
import { KvxCommand } from './_program/kvx-command.ts'
import { restoreHomeCommand } from './_program/restore-home-command.ts'
import { answersOf } from './_program/run-flags.ts'

export default class Restore extends KvxCommand {
  static override summary = 'Bring a key back from a backup, or a whole home from its copy.'
  static override description =
    'Opens the backup with gpg, compares the full fingerprint, and puts the key file back into the home; with --out it writes a bare file instead, without a home. A different live key is never overwritten. What nothing proves is labelled unproven.'
  static override examples = [
    {
      description: 'Back into the home',
      command: '<%= config.bin %> restore --from gpg backups/master.v2.B7K2M9.asc',
    },
    {
      description: 'First the home, on a new machine, from the copy that `backup home` made',
      command: '<%= config.bin %> restore --from home /mnt/offsite/kvx-home.json --home /var/lib/kvx',
    },
    {
      description: 'Without a home, against a fingerprint from a card or a report',
      command:
        '<%= config.bin %> restore --from gpg master.v2.B7K2M9.asc --out ./master.key --expect-fingerprint 50a3461d7a131425…',
    },
  ]
  static override args = { file: argument({ description: 'the encrypted backup', required: true }) }
  static override flags = {
    from: Flags.option({
      description: 'what the key comes from',
      options: ['gpg', 'home'] as const,
      required: true,
    })(),
    out: Flags.string({
      description: 'write a bare key file here, raw bytes, mode 0600; needs no home',
      helpValue: 'FILE',
    }),
    'audit-to': Flags.string({
      description: 'log here where the home’s log cannot be written; `kvx audit adopt` takes it in later',
      helpValue: 'FILE',
    }),
    'expect-fingerprint': Flags.string({
      description:
        'the fingerprint, 64 hex digits, known from elsewhere: of the key, or of the audit key with --from home',
      helpValue: 'FP',
    }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.restore/1', async () => {
      const { args, flags } = await this.parse(Restore)
      if (flags.from === 'home') return restoreHomeCommand(args.file, flags)
      const restored = await restoreKey({
        file: args.file,
        out: flags.out,
        expectFingerprint: flags['expect-fingerprint'],
        config: flags.config,
        home: flags.home,
        auditTo: flags['audit-to'],
        interactive: process.stdin.isTTY && !flags['no-input'],
        dryRun: flags['dry-run'],
        confirm: async (subject) => confirmTyped(`Put ${subject} back?`, subject, answersOf(flags)),
      })
      return {
        data: {
          name: restored.name,
          version: restored.version,
          fingerprint: restored.fingerprint,
          checkValue: restored.checkValue,
          path: restored.path,
          source: 'gpg',
          proven: restored.proven,
          changed: restored.changed,
        },
        lines: [
          `${restored.name}@${restored.version}  check value ${restored.checkValue}  ${restored.proven ? 'proven' : 'UNPROVEN: nothing besides the file says that this is the key'}`,
          `fingerprint  ${restored.fingerprint}`,
          restored.changed
            ? `written to ${restored.path}`
            : `${restored.path} ${flags['dry-run'] ? 'would be written' : 'holds it already; nothing to do'}`,
        ],
        warnings: restored.warnings,
      }
    })
  }
}
