import * as Flags from '@oclif/core/flags'
import { withIntent } from '../../src/audit/with-intent.ts'
import { KvxError } from '../../src/core/errors.ts'
import { readKeyring } from '../../src/keyring/keyring.ts'
import { openWorkspace, type Workspace } from '../../src/keyring/workspace.ts'
import { isBackedUp, sealingVersion } from '../../src/migration/gates.ts'
import { configuredVault, openConfiguredVault } from '../../src/migration/vault-keys.ts'
import { streamStdin } from '../../src/platform/stream-file.ts'
import { createKeyProvider, defaultKeyDirectory, providedKeys } from '../../src/vault/key-provider.ts'
import { directoryMemory } from '../../src/vault/generations.ts'
import { maxInputBytes } from '../../src/vault/members.ts'
import { missingVault, readVault, type Vault, type VaultContent } from '../../src/vault/vaults.ts'
import type { Warning } from '../_program/document.ts'

export const defaultStorageDirectory = '/opt/coord/vaults'

/** Flags of every vault command. With one of the directories it works without a configuration and a home. */
export const placeFlags = {
  'key-dir': Flags.string({
    description: `where NAME.key lies, without a configuration; ${defaultKeyDirectory} when only --storage-dir is given`,
    helpValue: 'DIR',
    helpGroup: 'PLACE',
  }),
  'storage-dir': Flags.string({
    description: `where NAME.enc lies, without a configuration; ${defaultStorageDirectory} when only --key-dir is given`,
    helpValue: 'DIR',
    helpGroup: 'PLACE',
  }),
}

export const vaultFlags = {
  ...placeFlags,
  'accept-generation': Flags.boolean({
    description:
      'take a vault although a newer generation of it was seen: an older copy was put back on purpose',
    helpGroup: 'GATES',
  }),
}

export type PlaceFlags = {
  readonly config: string | undefined
  readonly home: string | undefined
  readonly 'key-dir': string | undefined
  readonly 'storage-dir': string | undefined
}

export type VaultFlags = PlaceFlags & { readonly 'accept-generation': boolean }

/** The two directories where no configuration is meant; undefined where one is. */
export function standalone(
  flags: PlaceFlags,
): { readonly keyDir: string; readonly storageDir: string } | undefined {
  if (flags['key-dir'] === undefined && flags['storage-dir'] === undefined) return undefined
  return {
    keyDir: flags['key-dir'] ?? defaultKeyDirectory,
    storageDir: flags['storage-dir'] ?? defaultStorageDirectory,
  }
}

/** A vault, and the workspace whose log its changes go to; none for bare directories. */
export type NamedVault = { readonly vault: Vault; readonly workspace: Workspace | undefined }

export async function openNamedVault(name: string, flags: VaultFlags): Promise<NamedVault> {
  const acceptGeneration = flags['accept-generation']
  const place = standalone(flags)
  if (place === undefined) {
    const workspace = await openWorkspace(flags)
    return {
      vault: openConfiguredVault(workspace, name, { acceptGeneration, withRetired: false }),
      workspace,
    }
  }
  const keys = providedKeys(createKeyProvider({ keyDir: place.keyDir }))
  const memory = directoryMemory(place.storageDir, async () => keys.access(name))
  const vault = { name, directory: place.storageDir, keys, memory, acceptGeneration }
  return { vault, workspace: undefined }
}

/** Reads a vault that must exist. @throws FILE_NOT_FOUND */
export async function readNamedVault<T>(
  { vault }: NamedVault,
  use: (content: VaultContent) => Promise<T>,
): Promise<{ readonly result: T; readonly generation: bigint }> {
  const read = await readVault(vault, use)
  if (read === undefined) throw missingVault(vault)
  return read
}

/** A change with an entry in the log before it and one after it. The log holds no name or value of a member. */
export async function changeVault<T>(
  { vault, workspace }: NamedVault,
  action: 'put' | 'delete' | 'import',
  change: () => Promise<{ readonly result: T; readonly generation: bigint | undefined }>,
): Promise<{ readonly result: T; readonly generation: bigint | undefined }> {
  if (workspace === undefined) return change()
  return withIntent(
    workspace.audit,
    { action: `vault.${action}`, subject: vault.name },
    async (conclusion) => {
      const done = await change()
      if (done.generation !== undefined) conclusion.conclude({ generation: String(done.generation) })
      return done
    },
  )
}

/** A vault under a key whose loss nobody could mend is lost with it. */
export async function backupWarnings({ vault, workspace }: NamedVault): Promise<readonly Warning[]> {
  if (workspace === undefined) return []
  const { key } = configuredVault(workspace, vault.name)
  const ring = await readKeyring(workspace.home)
  const version = sealingVersion(ring, key)
  if (await isBackedUp(workspace, ring, key, version)) return []
  const message = `${key}@${version} has no tested backup, and this vault is lost with it: \`kvx backup create ${key}\``
  return [{ code: 'NO_TESTED_BACKUP', message }]
}

/** All of standard input in one buffer. @throws USAGE for more than fits, INPUT_EMPTY, NO_TERMINAL */
export async function readInput(): Promise<Buffer> {
  const parts: Buffer[] = []
  let length = 0
  for await (const part of streamStdin()) {
    parts.push(part)
    length += part.length
    if (length <= maxInputBytes) continue
    throw new KvxError('USAGE', `standard input has more than ${maxInputBytes} bytes`, {
      hint: 'Bring a whole vault in with `kvx vault import`, which streams. Nothing was changed.',
    })
  }
  if (length > 0) return Buffer.concat(parts)
  throw new KvxError('INPUT_EMPTY', 'standard input is empty or closed', {
    hint: 'Pipe one JSON object in, e.g. `kvx vault put NAME - < FILE`.',
  })
}
