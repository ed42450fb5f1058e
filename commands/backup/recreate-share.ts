import * as Flags from '@oclif/core/flags'
import { cardFacts } from '../../src/backup/cards/card-facts.ts'
import type { ShareSet } from '../../src/backup/shares/share-set.ts'
import type { Share } from '../../src/core/share/share-text.ts'
import { recreateShareOf } from '../../src/keyring/recreate-share.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { type CardOutput, openCardOutput, putCard } from '../../src/ui/card-output.ts'
import { shareSource } from '../../src/ui/collect-shares.ts'
import { openShareInput } from '../../src/ui/share-reader.ts'
import { recreatedData, recreatedLines } from '../../src/ui/share-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'
import { shareFdFlag, surroundings, surroundingsFlags } from '../_program/share-flags.ts'

export default class BackupRecreateShare extends KvxCommand {
  static override summary =
    'Make one lost share again, exactly as it was dealt, out of a quorum of the others.'
  static override description =
    'For a card that burnt or a file that was lost, and the same custodian: the share is byte for byte the one that was dealt, so that no further share comes into the world. It is encrypted to the custodian’s OpenPGP key, or handed over as a card. Could somebody have found the lost one? Then deal new shares instead (`kvx backup reshare`) and rotate the key.'
  static override examples = [
    {
      description: 'Custodians enter their shares; the new file is encrypted to custodian 2',
      command: '<%= config.bin %> backup recreate-share KVXDEM --index 2',
    },
    {
      description: 'The same person has a new OpenPGP key',
      command:
        '<%= config.bin %> backup recreate-share KVXDEM --index 2 --openpgp D2FF8AE2A19FE2B1C9B9D8A4B1B9B6E0C0FFEE00 --key-file new.asc',
    },
    {
      description: 'As a card on this screen',
      command: '<%= config.bin %> backup recreate-share master --index 2 --card',
    },
  ]
  static override args = {
    subject: argument({ description: 'the share set, or NAME[@VERSION] of its key', required: true }),
  }
  static override flags = {
    index: Flags.integer({
      description: 'which share was lost',
      min: 1,
      max: 32,
      required: true,
      helpValue: 'I',
    }),
    openpgp: Flags.string({
      description: 'another OpenPGP key of the same custodian',
      helpValue: 'FPR',
      exclusive: ['card', 'out'],
    }),
    'key-file': Flags.string({
      description: 'a file with the public key of the custodian',
      multiple: true,
      helpValue: 'FILE',
    }),
    card: Flags.boolean({ description: 'show a card on this terminal, in place of an encrypted file' }),
    out: Flags.string({ description: 'a card as PDF into this file in memory', helpValue: 'FILE' }),
    discreet: Flags.boolean({ description: 'a card that names neither key nor custodian' }),
    ...shareFdFlag,
    ...surroundingsFlags,
  }

  async run(): Promise<void> {
    await this.finish('kvx.backup.recreate-share/1', async () => {
      const { args, flags } = await this.parse(BackupRecreateShare)
      const answers = answersOf(flags)
      const around = surroundings(flags)
      const output =
        flags.card || flags.out !== undefined
          ? await openCardOutput(flags.out, { noInput: answers.noInput, mayPipe: false })
          : undefined
      const workspace = await openWorkspace(flags)
      const request = {
        subject: args.subject,
        index: flags.index,
        openpgp: flags.openpgp,
        keyFiles: flags['key-file'] ?? [],
        dryRun: flags['dry-run'],
      }
      const input = flags['dry-run'] ? undefined : await openShareInput(flags['share-fd'], answers)
      try {
        const recreated = await recreateShareOf(workspace, {
          ...request,
          source: input === undefined ? noSource : shareSource(input, answers),
          card:
            output &&
            (async (share, set) => {
              input?.close()
              await handCard(output, { share, set, discreet: flags.discreet })
            }),
        })
        return {
          data: recreatedData(recreated),
          lines: recreatedLines(recreated, output?.kind === 'file' ? output.path : undefined),
          warnings: [...around, ...recreated.warnings],
          ...(recreated.undelivered === undefined ? {} : { failure: recreated.undelivered }),
        }
      } finally {
        input?.close()
      }
    })
  }
}

/** A dry run asks for no share. */
const noSource = { collect: async () => undefined, retry: undefined }

async function handCard(
  output: CardOutput,
  card: { readonly share: Share; readonly set: ShareSet; readonly discreet: boolean },
): Promise<void> {
  const { share, set, discreet } = card
  await putCard(output, share, await cardFacts(set, { index: share.index, discreet }))
}
