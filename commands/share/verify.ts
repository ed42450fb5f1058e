import { resolve } from 'node:path'
import { Flags } from '@oclif/core'
import { readTravellingManifest, requireDealt } from '../../src/backup/shares/examine.ts'
import { shareReceipt } from '../../src/backup/shares/receipts.ts'
import { KvxError } from '../../src/core/errors.ts'
import { receiptSlots } from '../../src/core/share/receipt.ts'
import { readOneShare } from '../../src/ui/share-reader.ts'
import { type VerifiedShare, verifiedData, verifiedLines } from '../../src/ui/share-view.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'

export default class ShareVerify extends KvxCommand {
  static override summary = 'Check one share, alone and offline, and get the receipt that proves you hold it.'
  static override description =
    'Needs no configuration, no network and no other share. Says where a share is damaged, and with the manifest whether it is exactly the share that was dealt and whether its set still counts. The share is typed, pasted or scanned and never shown. Ends in 0 when all is well, 3 when it is intact but superseded or unproven, 5 when it is damaged or of another set.'
  static override examples = [
    {
      description: 'Out of the encrypted file',
      command:
        'gpg --decrypt KVXDEM-share-2.asc | <%= config.bin %> share verify --share-fd 0 --manifest KVXDEM.json',
    },
    { description: 'From a card, typed', command: '<%= config.bin %> share verify' },
    { description: 'Next year’s receipt', command: '<%= config.bin %> share verify --slot 2' },
  ]
  static override flags = {
    manifest: Flags.string({
      description: 'the public manifest that came with the share',
      helpValue: 'FILE',
    }),
    'share-fd': Flags.integer({
      description: 'read the share from this descriptor',
      min: 0,
      helpValue: 'N',
    }),
    slot: Flags.integer({
      description: 'which of the 8 receipts; each counts once',
      min: 1,
      max: receiptSlots,
      default: 1,
      helpValue: 'N',
    }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.share.verify/1', async () => {
      const { flags } = await this.parse(ShareVerify)
      const manifest =
        flags.manifest === undefined ? undefined : await readTravellingManifest(resolve(flags.manifest))
      const share = await readOneShare(flags['share-fd'], answersOf(flags))
      try {
        const custodian = manifest && requireDealt(share, manifest.set).custodian
        const receipt = shareReceipt(share, flags.slot)
        const verified: VerifiedShare = { share, set: manifest?.set, custodian, receipt, slot: flags.slot }
        const failure = finding(verified, manifest?.signature !== undefined)
        return {
          data: verifiedData(verified),
          lines: verifiedLines(verified),
          warnings: manifest?.warnings ?? [],
          ...(failure === undefined ? {} : { failure }),
        }
      } finally {
        share.point.wipe()
      }
    })
  }
}

/** Intact is not all: exit 3 where nothing proves the share, or where its set is over. */
function finding({ share, set }: VerifiedShare, isSigned: boolean): KvxError | undefined {
  const named = `share ${share.index} of set ${share.setId.toUpperCase()} is intact`
  if (share.rehearsal === true) {
    return new KvxError('FINDINGS', `REHEARSAL: ${named}, and no key is in it`, {
      hint: 'It is for practice alone, and `kvx restore` refuses it. The share of a key begins with KVX1.',
    })
  }
  if (set === undefined || !isSigned) {
    return new KvxError('FINDINGS', `${named}, but nothing proves that it is the one that was dealt`, {
      hint: `add the signed manifest: \`--manifest ${share.setId.toUpperCase()}.json\``,
    })
  }
  if (set.state === 'pending' || set.state === 'active') return undefined
  return new KvxError('FINDINGS', `${named}, but its set is ${set.state}`, {
    hint: 'hold it until you are asked to destroy it: until then it still helps to rebuild the key',
  })
}
