import { changeMembers, parseMembers } from '../../src/vault/members.ts'
import { writeVault } from '../../src/vault/write-vault.ts'
import { writtenLines } from '../../src/ui/vault-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { backupWarnings, changeVault, openNamedVault, readInput, vaultFlags } from './_vault.ts'

export default class VaultPut extends KvxCommand {
  static override summary = 'Add members to a vault, or replace them.'
  static override description =
    'Merges a JSON object into the vault, which is made when there is none. What is given as an argument stays in the history of the shell and can be seen by every user while the command runs: give `-` and pipe the object in.'
  static override examples = [
    {
      description: 'From standard input, where nobody sees it',
      command: 'pass show tk/token.json | <%= config.bin %> vault put tk -',
    },
    { description: 'The form of KVCrypt', command: '<%= config.bin %> vault put tk \'{"key":"value"}\'' },
    {
      description: 'Without a configuration',
      command:
        '<%= config.bin %> vault put tk - --key-dir /opt/coord/.sys --storage-dir /opt/coord/vaults < new.json',
    },
  ]
  static override args = {
    vault: argument({ description: 'the vault', required: true }),
    object: argument({ description: 'a JSON object, or - for standard input', required: true }),
  }
  static override flags = vaultFlags

  async run(): Promise<void> {
    await this.finish('kvx.vault.put/1', async () => {
      const { args, flags } = await this.parse(VaultPut)
      const input = args.object === '-' ? await readInput() : Buffer.from(args.object)
      const put = parseMembers(input)
      const named = await openNamedVault(args.vault, flags)
      if (flags['dry-run']) {
        const data = { vault: args.vault, members: put.size, generation: null }
        return { data, lines: [`${put.size} members would be put into ${args.vault}; nothing was written`] }
      }
      const { generation } = await changeVault(named, 'put', async () => {
        const done = await writeVault(named.vault, (old) => changeMembers(old, { put, remove: new Set() }))
        return { result: undefined, generation: done?.generation }
      })
      return {
        data: { vault: args.vault, members: put.size, generation: String(generation) },
        lines: writtenLines(
          args.vault,
          generation,
          `${put.size} ${put.size === 1 ? 'member' : 'members'} put`,
        ),
        warnings: await backupWarnings(named),
      }
    })
  }
}
