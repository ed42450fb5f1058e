import { KvxError } from '../../src/core/errors.ts'
import { pickMember, wholeContent } from '../../src/vault/members.ts'
import { parseExact } from '../../src/ui/exact-json.ts'
import { valueText } from '../../src/ui/vault-view.ts'
import { argument, optionalArgument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { openNamedVault, readNamedVault, vaultFlags } from './_vault.ts'

export default class VaultGet extends KvxCommand {
  static override summary = 'Print one member of a vault, or all of it.'
  static override description =
    'A string is printed as it is, everything else as JSON. Nothing is printed before the whole vault was verified. Ends in 2 when there is no such member or vault.'
  static override examples = [
    { description: 'One value', command: '<%= config.bin %> vault get tk key' },
    { description: 'All of it as JSON', command: '<%= config.bin %> vault get tk -' },
    {
      description: 'Without a configuration',
      command: '<%= config.bin %> vault get tk key --key-dir /opt/coord/.sys --storage-dir /opt/coord/vaults',
    },
  ]
  static override args = {
    vault: argument({ description: 'the vault', required: true }),
    member: optionalArgument({ description: 'the member’s name; all of the vault for - or without one' }),
  }
  static override flags = vaultFlags

  async run(): Promise<void> {
    await this.finish('kvx.vault.get/1', async () => {
      const { args, flags } = await this.parse(VaultGet)
      const member = args.member === '-' ? undefined : args.member
      const named = await openNamedVault(args.vault, flags)
      const { result, generation } = await readNamedVault(named, async (content) =>
        member === undefined ? wholeContent(content) : pickMember(content.segments(), member),
      )
      if (result === undefined) {
        throw new KvxError('KEY_UNKNOWN', `the vault ${args.vault} has no member of that name`, {
          hint: `\`kvx vault get ${args.vault} -\` shows all of it.`,
        })
      }
      const json = result.toString('utf8')
      result.fill(0)
      const value = parseExact(json)
      return {
        data: {
          vault: args.vault,
          generation: String(generation),
          ...(member === undefined ? {} : { member }),
          value,
        },
        lines: [valueText(value, json)],
      }
    })
  }
}
