import { KvxError } from '../../src/core/errors.ts'
import { removeMember } from '../../src/vault/store.ts'
import { missingVault, readVault, removeVault } from '../../src/vault/vaults.ts'
import { pickMember } from '../../src/vault/members.ts'
import { confirmTyped } from '../../src/ui/prompts.ts'
import { argument, optionalArgument } from '../_program/arguments.ts'
import { KvxCommand, type Outcome } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'
import { changeVault, type NamedVault, openNamedVault, vaultFlags } from './_vault.ts'

export default class VaultDelete extends KvxCommand {
  static override summary = 'Remove one member of a vault, or the whole vault.'
  static override description =
    'Asks for the name of what goes, or takes it from --confirm. The generation of a removed vault stays remembered, so that an old copy put back later is noticed.'
  static override examples = [
    { description: 'One member', command: '<%= config.bin %> vault delete tk key --confirm key' },
    { description: 'The whole vault', command: '<%= config.bin %> vault delete tk --confirm tk' },
  ]
  static override args = {
    vault: argument({ description: 'the vault', required: true }),
    member: optionalArgument({ description: 'the member’s name; the whole vault without one' }),
  }
  static override flags = vaultFlags

  async run(): Promise<void> {
    await this.finish('kvx.vault.delete/1', async () => {
      const { args, flags } = await this.parse(VaultDelete)
      const named = await openNamedVault(args.vault, flags)
      const { member } = args
      if (flags['dry-run']) return wouldDelete(named, member)
      const what = member === undefined ? `the vault ${args.vault}` : `a member of ${args.vault}`
      await confirmTyped(`Remove ${what}?`, member ?? args.vault, answersOf(flags))
      const { result } = await changeVault(named, 'delete', async () => ({
        result:
          member === undefined ? await removeVault(named.vault) : await removeMember(named.vault, member),
        generation: undefined,
      }))
      if (!result) throw notThere(named, member)
      return {
        data: { vault: args.vault, ...(member === undefined ? {} : { member }), deleted: true },
        lines: [`${member === undefined ? args.vault : `one member of ${args.vault}`} removed`],
      }
    })
  }
}

async function wouldDelete(named: NamedVault, member: string | undefined): Promise<Outcome> {
  const { vault } = named
  const found = await readVault(vault, async (content) =>
    member === undefined ? true : (await pickMember(content.segments(), member)) !== undefined,
  )
  if (found?.result !== true) throw notThere(named, member)
  return { data: { vault: vault.name, deleted: false }, lines: ['it is there; nothing was removed'] }
}

function notThere({ vault }: NamedVault, member: string | undefined): KvxError {
  if (member === undefined) return missingVault(vault)
  return new KvxError('KEY_UNKNOWN', `the vault ${vault.name} has no member of that name`, {
    hint: `\`kvx vault get ${vault.name} -\` shows all of it. Nothing was changed.`,
  })
}
