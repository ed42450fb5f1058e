import { parseCustodian } from '../../src/backup/shares/custodians.ts'
import { parseSubject } from '../../src/keyring/keyring.ts'
import { splitKeyOf } from '../../src/keyring/split-key.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import {
  custodianLines,
  plannedSplitData,
  shareSetData,
  splitLines,
  undeliveredWarnings,
} from '../../src/ui/share-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'
import { surroundings, surroundingsFlags } from '../_program/share-flags.ts'
import { agreement, cardFlags, handOverBy, splitFlags } from '../_program/split-flags.ts'

export default class BackupSplit extends KvxCommand {
  static override summary = 'Split a key among people: any k of n shares rebuild it, fewer tell nothing.'
  static override description =
    'Makes one file for each custodian, encrypted to that OpenPGP key alone, and a signed public manifest beside them. A custodian without an OpenPGP key gets a card, which is shown on this terminal or printed from memory, and types it back: that needs a terminal. Every quorum is recombined before anything is written. On a terminal the machine is looked at first, as `kvx ceremony preflight` does, and everybody sees the list and the nonce of the ceremony in words, and agrees. The set is pending until each custodian has verified the share and read a receipt back (`kvx backup confirm`); only an active set counts as a backup.'
  static override examples = [
    { description: 'As the configuration says', command: '<%= config.bin %> backup split master' },
    {
      description: 'Two of three people, with the fingerprints of their OpenPGP keys',
      command:
        "<%= config.bin %> backup split master@2 --threshold 2 --custodian 'A. Boole=FPR' --custodian 'C. Dirac=FPR' --custodian 'E. Fermi=FPR'",
    },
    {
      description: 'One of them by card, as PDF in memory',
      command:
        "<%= config.bin %> backup split master --threshold 2 --custodian 'A. Boole=FPR' --custodian 'C. Dirac=FPR' --custodian 'E. Fermi' --card-dir /dev/shm/me",
    },
  ]
  static override args = { subject: argument({ description: 'NAME or NAME@VERSION', required: true }) }
  static override flags = {
    ...splitFlags,
    ...cardFlags,
    ...surroundingsFlags,
  }

  async run(): Promise<void> {
    await this.finish('kvx.backup.split/1', async () => {
      const { args, flags } = await this.parse(BackupSplit)
      const around = surroundings(flags)
      const split = await splitKeyOf(await openWorkspace(flags), {
        ...parseSubject(args.subject),
        threshold: flags.threshold,
        of: flags.of,
        custodians: (flags.custodian ?? []).map(parseCustodian),
        keyFiles: flags['key-file'] ?? [],
        dryRun: flags['dry-run'],
        ...handOverBy(flags, answersOf(flags)),
        ...agreement(flags, answersOf(flags), `kvx backup split ${args.subject}`),
      })
      const { plan, custodians, stored } = split
      const warnings = [...around, ...split.warnings]
      if (stored !== undefined) {
        const [failure] = split.undelivered
        return {
          data: shareSetData(stored),
          lines: splitLines(stored, custodians),
          warnings: [...warnings, ...undeliveredWarnings(split)],
          ...(failure === undefined ? {} : { failure }),
        }
      }
      return {
        data: plannedSplitData(split),
        lines: [
          `${split.subject} would be split: any ${plan.threshold} of ${plan.of} shares rebuild it`,
          ...custodianLines(custodians),
          'dry run: nothing was written',
        ],
        warnings,
      }
    })
  }
}
