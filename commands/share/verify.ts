import { resolve } from 'node:path'
import * as Flags from '@oclif/core/flags'
import { parseSigningKey } from '../../src/approvals/detached-signature.ts'
import { writeSignedReceipt } from '../../src/approvals/share-receipt.ts'
import { readTravellingManifest, requireDealt } from '../../src/backup/shares/examine.ts'
import { makeReceiptStatement, type ReadReceipt } from '../../src/backup/shares/receipt-statement.ts'
import type { ShareSet } from '../../src/backup/shares/share-set.ts'
import { KvxError } from '../../src/core/errors.ts'
import type { Share } from '../../src/core/share/share-text.ts'
import { receiptSlots } from '../../src/core/share/receipt.ts'
import { freeTarget } from '../../src/keyring/restore-target.ts'
import { kvxVersion } from '../../src/version.ts'
import { readOneShare } from '../../src/ui/share-reader.ts'
import { receiptLines, type VerifiedShare, verifiedData, verifiedLines } from '../../src/ui/share-view.ts'
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
    {
      description: 'A receipt to send instead of reading it out',
      command:
        '<%= config.bin %> share verify --manifest KVXDEM.json --receipt receipt.json --sign ~/.ssh/id_ed25519',
    },
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
    receipt: Flags.string({
      description: 'write a receipt that you sign; nothing of the share is in it, send it with its signature',
      helpValue: 'FILE',
      dependsOn: ['sign'],
    }),
    sign: Flags.string({
      description: 'your key: the fingerprint of an OpenPGP key, or the file of an SSH key',
      helpValue: 'KEY',
      dependsOn: ['receipt'],
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
      const out = flags.receipt === undefined ? undefined : await freeTarget(flags.receipt)
      const signing = flags.sign === undefined ? undefined : parseSigningKey(flags.sign)
      const share = await readOneShare(flags['share-fd'], answersOf(flags))
      const { slot } = flags
      const seen = look(share, manifest?.set, slot)
      const isProven = manifest?.signature !== undefined
      const signed =
        out === undefined || signing === undefined || flags['dry-run']
          ? undefined
          : await writeSignedReceipt(seen.statement, out, { signing, interactive: canUnlock(flags) })
      const failure = finding(seen.verified, isProven)
      return {
        data: verifiedData(seen.verified, signed),
        lines: [...verifiedLines(seen.verified), ...receiptLines(signed)],
        warnings: manifest?.warnings ?? [],
        ...(failure === undefined ? {} : { failure }),
      }
    })
  }
}

/** Everything that has to be known of a share, which is wiped. @throws KvxError BACKUP_UNUSABLE */
function look(
  share: Share,
  set: ShareSet | undefined,
  slot: number,
): { readonly verified: VerifiedShare; readonly statement: ReadReceipt } {
  try {
    const custodian = set && requireDealt(share, set).custodian
    const statement = makeReceiptStatement(share, { slot, custodian, kvxVersion })
    const { receipt } = statement.statement
    return { verified: { share, set, custodian, receipt, slot }, statement }
  } finally {
    share.point.wipe()
  }
}

/** Standard input may be the share, out of gpg; a passphrase is asked for elsewhere. */
function canUnlock(flags: { readonly 'no-input': boolean }): boolean {
  return (!flags['no-input'] && process.stderr.isTTY) || process.env['DISPLAY'] !== undefined
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
