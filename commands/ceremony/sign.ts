import { resolve } from 'node:path'
import * as Flags from '@oclif/core/flags'
import { digestLines } from '../../src/ceremony/digest.ts'
import { ceremonyFolder } from '../../src/ceremony/folder.ts'
import { signAsHome, signAsRole } from '../../src/ceremony/sign.ts'
import { verdictOf, verifyRecord } from '../../src/ceremony/verify.ts'
import { KvxError } from '../../src/core/errors.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { confirmStep } from '../../src/ui/prompts.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'

export default class CeremonySign extends KvxCommand {
  static override summary = 'Sign the record of a ceremony, with OpenPGP or with the audit key of the home.'
  static override description =
    'Verifies the record first, shows its SHA-256, and signs the bytes of record.json with gpg at hand (a detached signature, which plain `gpg --verify` takes), or with the Ed25519 key that signs this home’s log. Several people sign, each on a machine of their own if they like: the folder travels.'
  static override examples = [
    {
      description: 'The witness, whose OpenPGP key the record names',
      command: '<%= config.bin %> ceremony sign ceremony-20270131T090000Z-k3v9x0 --role witness',
    },
    {
      description: 'The home itself',
      command: '<%= config.bin %> ceremony sign ceremony-20270131T090000Z-k3v9x0 --audit-key',
    },
  ]
  static override args = { folder: argument({ description: 'the folder of the ceremony', required: true }) }
  static override flags = {
    role: Flags.string({
      description: 'sign as this role, with gpg',
      helpValue: 'ROLE',
      exclusive: ['audit-key'],
    }),
    'audit-key': Flags.boolean({ description: 'sign with the audit key of the home' }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.ceremony.sign/1', async () => {
      const { args, flags } = await this.parse(CeremonySign)
      if (flags.role === undefined && !flags['audit-key']) {
        throw new KvxError('USAGE', 'who signs?', { hint: 'Say `--role ROLE` or `--audit-key`.' })
      }
      const folder = ceremonyFolder(resolve(args.folder))
      const verified = await verifyRecord(folder)
      const verdict = verdictOf(verified.checks)
      if (verdict?.code === 'DAMAGED') throw verdict
      const { record, bytes, digest } = verified
      const shown = ['SHA-256 of the record:', ...digestLines(digest)]
      const data = { ceremony: record.ceremony, record: digest, role: flags.role ?? null }
      if (flags['dry-run'])
        return { data: { ...data, signature: null }, lines: [...shown, 'dry run: nothing was signed'] }
      if (!flags.json && !flags.quiet) process.stderr.write(`${shown.join('\n')}\n`)
      await confirmStep('Is this what was read aloud at the end of the ceremony?', answersOf(flags))
      const interactive = process.stdin.isTTY && !flags['no-input']
      const signature =
        flags.role === undefined
          ? await signAsHome(folder, { record, sha256: digest.sha256 }, (await openWorkspace(flags)).signer)
          : await signAsRole(folder, { record, bytes }, flags.role, { interactive })
      return {
        data: { ...data, signature },
        lines: [`signed  ${signature}`, `Next: kvx ceremony verify ${folder.path}`],
      }
    })
  }
}
