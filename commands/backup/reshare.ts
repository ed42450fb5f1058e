import * as Flags from '@oclif/core/flags'
import { parseCustodian } from '../../src/backup/shares/custodians.ts'
import { reshareKeyOf } from '../../src/keyring/reshare-key.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { shareSource } from '../../src/ui/collect-shares.ts'
import { openShareInput } from '../../src/ui/share-reader.ts'
import { resharedData, resharedLines, undeliveredWarnings } from '../../src/ui/share-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'
import { shareFdFlag, surroundings, surroundingsFlags } from '../_program/share-flags.ts'
import { agreement, cardFlags, handOverBy, splitFlags } from '../_program/split-flags.ts'

export default class BackupReshare extends KvxCommand {
  static override summary =
    'Deal a key anew: other custodians, other numbers, or fresh shares for the same people.'
  static override description =
    'The key stays as it is. People and numbers come from the flags, else from the configuration, else from the old set. The old set counts until every custodian of the new one confirmed; then it is superseded, and closed when all its shares are destroyed (`kvx backup confirm SET --destroyed I,J`). Old shares still open this key until they are destroyed: could enough of them be in wrong hands, then rotate the key first.'
  static override examples = [
    {
      description: 'One custodian goes, another comes: as the configuration says now',
      command: '<%= config.bin %> backup reshare master',
    },
    {
      description: 'The key file is gone: custodians of the old set enter their shares',
      command: '<%= config.bin %> backup reshare KVXDEM --from shares',
    },
    {
      description: 'All three in place of two of them, with the fingerprints of their OpenPGP keys',
      command:
        "<%= config.bin %> backup reshare master --threshold 3 --custodian 'A. Boole=FPR' --custodian 'C. Dirac=FPR' --custodian 'E. Fermi=FPR'",
    },
  ]
  static override args = {
    subject: argument({ description: 'NAME, NAME@VERSION, or the share set', required: true }),
  }
  static override flags = {
    from: Flags.option({
      description: 'where the key comes from: its file in the home, or a quorum of the old shares',
      options: ['home', 'shares'] as const,
      default: 'home' as const,
    })(),
    ...splitFlags,
    ...cardFlags,
    ...shareFdFlag,
    ...surroundingsFlags,
  }

  async run(): Promise<void> {
    await this.finish('kvx.backup.reshare/1', async () => {
      const { args, flags } = await this.parse(BackupReshare)
      const answers = answersOf(flags)
      const around = surroundings(flags)
      const workspace = await openWorkspace(flags)
      const asks = flags.from === 'shares' && !flags['dry-run']
      const input = asks ? await openShareInput(flags['share-fd'], answers) : undefined
      try {
        const reshared = await reshareKeyOf(workspace, {
          subject: args.subject,
          threshold: flags.threshold,
          of: flags.of,
          custodians: (flags.custodian ?? []).map(parseCustodian),
          keyFiles: flags['key-file'] ?? [],
          dryRun: flags['dry-run'],
          source: input && shareSource(input, answers),
          ...handOverBy(flags, answers, () => input?.close()),
          ...agreement(flags, answers, `kvx backup reshare ${args.subject}`),
        })
        const [failure] = reshared.undelivered
        return {
          data: resharedData(reshared),
          lines: resharedLines(reshared),
          warnings: [...around, ...reshared.warnings, ...undeliveredWarnings(reshared)],
          ...(failure === undefined ? {} : { failure }),
        }
      } finally {
        input?.close()
      }
    })
  }
}
