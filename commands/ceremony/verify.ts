import { resolve } from 'node:path'
import * as Flags from '@oclif/core/flags'
import { digestLines } from '../../src/ceremony/digest.ts'
import { ceremonyFolder } from '../../src/ceremony/folder.ts'
import { verdictOf, verifyRecord, verifySignatures } from '../../src/ceremony/verify.ts'
import { checkLines } from '../../src/ui/ceremony-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class CeremonyVerify extends KvxCommand {
  static override summary =
    'Is the record of a ceremony what was written and signed? Anybody can look, offline.'
  static override description =
    'Checks the plan, the chain of events, the artefacts, the signatures, and that no text in the record decodes as a share or a 32-byte key. Needs no home and no key; the public OpenPGP keys of the signers must be in the gpg keyring. Whose keys those are, you say: --signer and --expect-fingerprint. Ends in 0 when all is proven, 3 when something is open, 5 when anything was changed.'
  static override examples = [
    {
      description: 'The record',
      command: '<%= config.bin %> ceremony verify ceremony-20270131T090000Z-k3v9x0',
    },
    {
      description: 'Against what you know from elsewhere: who signs, and the audit key of the place',
      command:
        '<%= config.bin %> ceremony verify ceremony-20270131T090000Z-k3v9x0 --signer D2FF8AE2A19FE2B1C9B9D8A4B1B9B6E0C0FFEE00 --expect-fingerprint AUDIT-FINGERPRINT',
    },
  ]
  static override args = { folder: argument({ description: 'the folder of the ceremony', required: true }) }
  static override flags = {
    signer: Flags.string({
      description: 'an OpenPGP fingerprint that must have signed; repeat it',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'FPR',
    }),
    'expect-fingerprint': Flags.string({
      description: 'the fingerprint of the audit key, from a card, the recovery kit or a report',
      helpValue: 'HEX',
    }),
  }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.ceremony.verify/1', async () => {
      const { args, flags } = await this.parse(CeremonyVerify)
      const folder = ceremonyFolder(resolve(args.folder))
      const verified = await verifyRecord(folder)
      const signatures = await verifySignatures(folder, verified, {
        signers: (flags.signer ?? []).map((text) => text.replaceAll(/\s/g, '')),
        auditKey: flags['expect-fingerprint']?.replaceAll(/[\s:]/g, ''),
      })
      const checks = [...verified.checks, ...signatures]
      const { record, digest } = verified
      const failure = verdictOf(checks)
      return {
        data: {
          ceremony: record.ceremony,
          kind: record.kind,
          rehearsal: record.rehearsal,
          result: record.result,
          record: digest,
          deviations: record.deviations,
          checks,
        },
        lines: [
          `${record.rehearsal ? 'REHEARSAL  ' : ''}${record.title}: ${record.result}, ${record.deviations.length} deviations`,
          ...checkLines(checks),
          'SHA-256 of the record:',
          ...digestLines(digest),
        ],
        ...(failure === undefined ? {} : { failure }),
      }
    })
  }
}
