import { nearest } from '../config/nearest.ts'
import type { VaultConfig } from '../config/schema.ts'
import { KvxError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { keyOf, readKeyring, versionOf, versionsOf } from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import { loadMaterial } from '../keyring/material.ts'
import { loadOpeners } from '../keyring/openers.ts'
import { configuredKey, type Workspace } from '../keyring/workspace.ts'
import type { Access } from '../platform/access.ts'
import { bothMemories, directoryMemory, homeMemory } from '../vault/generations.ts'
import { shortFingerprint } from '../vault/header.ts'
import type { Vault, VaultKeys } from '../vault/vaults.ts'
import { sealingVersion } from './gates.ts'

/** What `kvx.yaml` says of a vault. @throws STORE_UNKNOWN with the nearest name */
export function configuredVault(workspace: Workspace, name: string): VaultConfig {
  const { config } = workspace
  const vault = Object.hasOwn(config.vaults, name) ? config.vaults[name] : undefined
  if (vault !== undefined) return vault
  const meant = nearest(name, Object.keys(config.vaults))
  throw new KvxError('STORE_UNKNOWN', `${config.path} names no vault of that name`, {
    hint: meant === undefined ? `Add it under \`vaults:\` in ${config.path}.` : `Did you mean ${meant}?`,
  })
}

export type VaultOptions = {
  readonly acceptGeneration: boolean
  /** Open also what lies under a retired version: it is a finding, and finding it takes the key. */
  readonly withRetired: boolean
}

/** A configured vault with the keys of the ring, its generation remembered in the home and beside it. */
export function openConfiguredVault(workspace: Workspace, name: string, options: VaultOptions): Vault {
  const { directory, key } = configuredVault(workspace, name)
  const keys = ringKeys(workspace, key, options.withRetired)
  const home = homeMemory(workspace.home.path)
  const beside = directoryMemory(directory, async () => keys.access(name))
  return {
    name,
    directory,
    keys,
    memory: bothMemories(home, beside),
    readMemory: home,
    acceptGeneration: options.acceptGeneration,
  }
}

/** The versions of a key, read anew for each call: a writer that waited for its turn seals with what seals now. */
function ringKeys(workspace: Workspace, name: string, withRetired: boolean): VaultKeys {
  const load = async (ring: Keyring, version: number): Promise<Secret> =>
    loadMaterial(workspace.home, name, version, versionOf(keyOf(ring, name), name, version))
  return {
    sealing: async () => {
      const ring = await readKeyring(workspace.home)
      const version = sealingVersion(ring, name)
      const { state } = versionOf(keyOf(ring, name), name, version)
      if (state === 'active') return load(ring, version)
      throw new KvxError('STATE_TRANSITION', `${name}@${version} is ${state} and seals nothing`, {
        hint: `\`kvx key show ${name}\` tells its life.`,
      })
    },
    opening: async () => {
      const ring = await readKeyring(workspace.home)
      return [...(await loadOpeners(workspace.home, ring, name, { withRetired })).values()]
    },
    access: async () => readersOf(workspace, name),
    nameOf: async (_vault, fingerprint) => {
      const version = versionBy(await readKeyring(workspace.home), name, fingerprint)
      return version === undefined ? undefined : `${name}@${version}`
    },
  }
}

/** The version of a key that a vault's header names; undefined for one that the ring does not have. */
export function versionBy(ring: Keyring, name: string, fingerprint: string): number | undefined {
  const found = versionsOf(keyOf(ring, name)).find(
    ([, record]) => record.fingerprint !== null && shortFingerprint(record.fingerprint) === fingerprint,
  )
  return found?.[0]
}

/** Who reads the key reads the vault: a new file gets the readers of the first key file that is declared. */
function readersOf(workspace: Workspace, name: string): Access {
  for (const place of configuredKey(workspace.config, name).publish) {
    if (!('access' in place)) continue
    const { owner, group, readers, mode } = place.access
    return {
      mode: 0o600 | (Number.parseInt(mode, 8) & 0o040),
      readers,
      ...(owner === undefined ? {} : { owner }),
      ...(group === undefined ? {} : { group }),
    }
  }
  return { mode: 0o640 }
}
