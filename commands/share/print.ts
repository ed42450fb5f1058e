import { resolve } from 'node:path'
import * as Flags from '@oclif/core/flags'
import { cardFacts } from '../../src/backup/cards/card-facts.ts'
import { readTravellingManifest, requireDealt } from '../../src/backup/shares/examine.ts'
import { openCardOutput, putCard } from '../../src/ui/card-output.ts'
import { readOneShare } from '../../src/ui/share-reader.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'
import { surroundings, surroundingsFlags } from '../_program/share-flags.ts'

export default class SharePrint extends KvxCommand {
  static override summary = 'Make a card of one share: on this screen, as PDF in memory, or for a printer.'
  static override description =
    'Takes the share out of its encrypted message or as it is typed. On the screen it stands until Enter and is then cleared. A PDF goes into a pipe or into a file in memory, never to a disk; it has two A5 pages, a QR code, and how to rebuild the key without kvx. The code is read back before the card leaves. CUPS keeps printed jobs for a day: see PreserveJobFiles in cupsd.conf.'
  static override examples = [
    {
      description: 'From the encrypted file to a printer',
      command:
        'gpg --decrypt KVXDEM-share-2.asc | <%= config.bin %> share print --share-fd 0 --manifest KVXDEM.json --out - | lp -o media=A5',
    },
    {
      description: 'Show it on this screen, to copy it by hand',
      command: '<%= config.bin %> share print --share-fd 3 3< <(gpg --decrypt KVXDEM-share-2.asc)',
    },
    {
      description: 'A card that does not say what it opens',
      command: '<%= config.bin %> share print --discreet --out /dev/shm/me/card.pdf',
    },
  ]
  static override flags = {
    manifest: Flags.string({
      description: 'the public manifest: the share is compared with it, and the card names key and custodian',
      helpValue: 'FILE',
    }),
    'share-fd': Flags.integer({
      description: 'read the share from this descriptor',
      min: 0,
      helpValue: 'N',
    }),
    out: Flags.string({
      description: 'PDF into this file in memory, or - for a pipe; shown on the terminal without it',
      helpValue: 'FILE',
    }),
    discreet: Flags.boolean({ description: 'a PDF that names neither key nor custodian' }),
    ...surroundingsFlags,
  }

  async run(): Promise<void> {
    await this.finish('kvx.share.print/1', async () => {
      const { flags } = await this.parse(SharePrint)
      const answers = answersOf(flags)
      const around = surroundings(flags)
      const output = await openCardOutput(flags.out, { noInput: answers.noInput, mayPipe: !flags.json })
      const manifest =
        flags.manifest === undefined ? undefined : await readTravellingManifest(resolve(flags.manifest))
      const share = await readOneShare(flags['share-fd'], answers)
      try {
        if (manifest !== undefined) requireDealt(share, manifest.set)
        const facts = await cardFacts(manifest?.set, { index: share.index, discreet: flags.discreet })
        if (!flags['dry-run']) await putCard(output, share, facts)
        const set = share.setId.toUpperCase()
        const file = output.kind === 'file' && !flags['dry-run'] ? output.path : null
        const where = { screen: 'was shown', pipe: 'was sent on', file: `lies in ${file ?? 'FILE'}` }[
          output.kind
        ]
        const next = file === null ? [] : [`Print it, then remove it: lp -o media=A5 ${file} && rm ${file}`]
        const done = flags['dry-run']
          ? 'dry run: no card was made'
          : `the card of share ${share.index} of set ${set} ${where}`
        return {
          data: {
            set,
            index: share.index,
            of: share.of,
            threshold: share.threshold,
            dealt: manifest === undefined ? null : true,
            output: output.kind,
            file,
          },
          lines: output.kind === 'pipe' ? [] : [done, ...next],
          warnings: [...around, ...(manifest?.warnings ?? [])],
        }
      } finally {
        share.point.wipe()
      }
    })
  }
}
