import { KvxError } from '../../src/core/errors.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { openConfiguredVault } from '../../src/migration/vault-keys.ts'
import { exists } from '../../src/platform/files.ts'
import { createKeyProvider, providedKeys } from '../../src/vault/key-provider.ts'
import { describeVault, vaultNames, vaultPath, type VaultKeys } from '../../src/vault/vaults.ts'
import { listData, listLines, type ListedVault } from '../../src/ui/vault-view.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { placeFlags, standalone, type PlaceFlags } from './_vault.ts'

export default class VaultList extends KvxCommand {
  static override summary = 'List vaults with their generations, sizes and keys, without opening them.'
  static override description =
    'Reads the open part of each file, which is proven only when the vault is opened (`kvx verify`). Ends in 3 when a file is no vault.'
  static override examples = [
    { description: 'What the configuration names', command: '<%= config.bin %> vault list' },
    {
      description: 'What lies in a directory',
      command: '<%= config.bin %> vault list --storage-dir /opt/coord/vaults',
    },
  ]
  static override flags = placeFlags

  async run(): Promise<void> {
    await this.finish('kvx.vault.list/1', async () => {
      const { flags } = await this.parse(VaultList)
      const vaults: ListedVault[] = []
      for (const place of await places(flags)) {
        if (!(await exists(vaultPath(place)))) {
          vaults.push({ name: place.name, path: vaultPath(place), facts: undefined, key: undefined })
          continue
        }
        const facts = await describeVault(place)
        const key = facts.fingerprint && (await place.keys.nameOf(place.name, facts.fingerprint))
        vaults.push({ name: place.name, path: facts.path, facts, key })
      }
      const broken = vaults.filter(({ facts }) => facts?.problem !== undefined)
      const failure = new KvxError('FINDINGS', `${broken.length} of ${vaults.length} files cannot be used`, {
        hint: `Look at each: \`kvx inspect ${broken[0]?.path ?? ''}\`.`,
      })
      return {
        data: { vaults: vaults.map(listData) },
        lines: listLines(vaults),
        ...(broken.length === 0 ? {} : { failure }),
      }
    })
  }
}

type Place = { readonly name: string; readonly directory: string; readonly keys: VaultKeys }

async function places(flags: PlaceFlags): Promise<readonly Place[]> {
  const bare = standalone(flags)
  if (bare === undefined) {
    const workspace = await openWorkspace(flags)
    const options = { acceptGeneration: false, withRetired: true }
    return Object.keys(workspace.config.vaults).map((name) => openConfiguredVault(workspace, name, options))
  }
  const keys = providedKeys(createKeyProvider({ keyDir: bare.keyDir }))
  return (await vaultNames(bare.storageDir)).map((name) => ({ name, directory: bare.storageDir, keys }))
}
