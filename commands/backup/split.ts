import { Flags } from '@oclif/core'
import { parseCustodian } from '../../src/backup/shares/custodians.ts'
import { parseSubject } from '../../src/keyring/keyring.ts'
import { splitKeyOf } from '../../src/keyring/split-key.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { custodianLines, shareSetData, splitLines } from '../../src/ui/share-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class BackupSplit extends KvxCommand {
  static override summary = 'Split a key among people: any k of n shares rebuild it, fewer tell nothing.'
  static override description =
    'Makes one file for each custodian, encrypted to that OpenPGP key alone, and a signed public manifest beside them. Every quorum is recombined before anything is written. The set is pending until each custodian has verified the share and read a receipt back (`kvx backup confirm`); only an active set counts as a backup. Nothing is shown on the screen.'
  static override examples = [
    { description: 'As the configuration says', command: '<%= config.bin %> backup split master' },
    {
      description: 'Two of three people',
      command:
        "<%= config.bin %> backup split master@2 --threshold 2 --custodian 'A. Boole=D2FF8AE2A19FE2B1C9B9D8A4B1B9B6E0C0FFEE00' --custodian 'C. Dirac=…' --custodian 'E. Fermi=…'",
    },
  ]
  static override args = { subject: argument({ description: 'NAME or NAME@VERSION', required: true }) }
  static override flags = {
    threshold: Flags.integer({ description: 'how many shares rebuild the key, 2 to 32', helpValue: 'K' }),
    of: Flags.integer({ description: 'how many shares there are; the custodians’ number', helpValue: 'N' }),
    custodian: Flags.string({
      description: 'who gets a share, with the OpenPGP fingerprint; the configured ones unless told',
      multiple: true,
      helpValue: 'NAME=FPR',
    }),
    'key-file': Flags.string({
      description: 'a file with public keys of custodians',
      multiple: true,
      helpValue: 'FILE',
    }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.backup.split/1', async () => {
      const { args, flags } = await this.parse(BackupSplit)
      const split = await splitKeyOf(await openWorkspace(flags), {
        ...parseSubject(args.subject),
        threshold: flags.threshold,
        of: flags.of,
        custodians: (flags.custodian ?? []).map(parseCustodian),
        keyFiles: flags['key-file'] ?? [],
        dryRun: flags['dry-run'],
      })
      const { plan, custodians, warnings, stored } = split
      if (stored !== undefined) {
        return { data: shareSetData(stored), lines: splitLines(stored, custodians), warnings }
      }
      const shares = custodians.map(({ name }, at) => ({ index: at + 1, custodian: name, file: null }))
      return {
        data: { set: null, threshold: plan.threshold, of: plan.of, shares, state: null, manifest: null },
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
