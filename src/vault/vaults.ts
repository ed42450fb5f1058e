import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isKvxError, KvxError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import type { Access } from '../platform/access.ts'
import { exists, listDirectory, removeFile } from '../platform/files.ts'
import { acquireLock, type Lock } from '../platform/lock.ts'
import { notice } from '../platform/notices.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'
import type { GenerationMemory } from './generations.ts'
import { headerCheckValue, isVaultName, requireVaultName } from './header.ts'
import { proveSegments, type Watch } from './segments.ts'
import { isKeyOf, notAuthentic, openSegments, openVaultFile, type VaultFile } from './vault-file.ts'

/** Keys of vaults, as secrets that the caller wipes. */
export type VaultKeys = {
  sealing(vault: string): Promise<Secret>
  opening(vault: string): Promise<readonly Secret[]>
  /** For a new vault file. */
  access(vault: string): Promise<Access>
  /** What people call the key with this short fingerprint; undefined for one that is not known. */
  nameOf(vault: string, fingerprint: string): Promise<string | undefined>
}

/** One vault: where it lies and what opens it. */
export type Vault = {
  readonly name: string
  readonly directory: string
  readonly keys: VaultKeys
  readonly memory: GenerationMemory
  /** Remembers also what a reader saw. Its failure is a notice: reading goes on. */
  readonly readMemory?: GenerationMemory
  /** Take an older generation than is remembered. */
  readonly acceptGeneration: boolean
}

export function vaultPath(vault: { readonly directory: string; readonly name: string }): string {
  requireVaultName(vault.name)
  return join(resolve(vault.directory), `${vault.name}.enc`)
}

/** A rotation may come between the look at the file and the look at the keys: then both are looked at again. */
const keyAttempts = 4
const keyPauseMs = 60

export type OpenedVault = { readonly file: VaultFile; readonly key: Secret }

/** An open vault. It stays the same file while its name is given to a newer one. */
export type VaultContent = {
  readonly file: VaultFile
  /** Of the plaintext, in bytes. */
  readonly length: number
  /** The plaintext from its beginning, as often as it is asked for. */
  segments(): AsyncIterable<Buffer>
  /** Opens all of it, and gives nothing out. */
  prove(watch: Watch): Promise<void>
}

/**
 * Opens a vault and hands its plaintext out in segments. What `use` makes of them counts only when this returns:
 * by then the last segment was verified. A segment is wiped when the next one is asked for.
 * @returns undefined where there is no such vault
 * @throws WRONG_KEY when no key at hand is the one that the header names; DAMAGED for whatever was changed,
 *   cut off, extended or exchanged, and for an older generation than is remembered
 */
export async function readVault<T>(
  vault: Vault,
  use: (content: VaultContent) => Promise<T>,
): Promise<{ readonly result: T; readonly generation: bigint } | undefined> {
  // Before the file: a writer may go on in between, and what it writes is newer than what is remembered here.
  const remembered = await vault.memory.remembered(vault.name)
  const opened = await openWithKey(vault)
  if (opened === undefined) return undefined
  const { file, key } = opened
  const { generation } = file.header
  try {
    refuseOlder(vault, file, remembered)
    const result = await use({
      file,
      length: file.segments.plaintextLength,
      segments: () => openSegments(file, key),
      prove: async (watch) => {
        const failure = await proveSegments(file, key, undefined, watch)
        if (failure !== undefined) throw notAuthentic(file, failure.index)
      },
    })
    await rememberRead(vault, generation)
    return { result, generation }
  } finally {
    key.wipe()
    await file.close()
  }
}

async function rememberRead(vault: Vault, generation: bigint): Promise<void> {
  try {
    await vault.readMemory?.raise(vault.name, generation)
  } catch (error) {
    if (!isKvxError(error)) throw error
    notice(
      'GENERATION_NOT_REMEMBERED',
      `generation ${generation} of ${vault.name} is not remembered: ${error.message}`,
    )
  }
}

/** @returns undefined where there is no file; the caller wipes the key and closes the file */
export async function openWithKey(vault: Vault): Promise<OpenedVault | undefined> {
  const path = vaultPath(vault)
  for (let attempt = 1; ; attempt++) {
    if (!(await exists(path))) return undefined
    const file = await openVaultFile(path, vault.name)
    try {
      const key = await keyFor(vault, file)
      if (key !== undefined) return { file, key }
      if (attempt === keyAttempts) throw noKey(vault, file)
    } catch (error) {
      await file.close()
      throw error
    }
    await file.close()
    await sleep(keyPauseMs)
  }
}

async function keyFor(vault: Vault, file: VaultFile): Promise<Secret | undefined> {
  const keys = await vault.keys.opening(vault.name)
  const found = keys.find((key) => isKeyOf(file, key))
  for (const key of keys) if (key !== found) key.wipe()
  return found
}

function noKey(vault: Vault, file: VaultFile): KvxError {
  const value = headerCheckValue(file.header)
  return new KvxError(
    'WRONG_KEY',
    `the vault ${vault.name} lies under the key with the check value ${value}, and no key at hand is that one`,
    {
      hint: 'Bring that key back: `kvx backup list` names the backups with their check values. The vault was left as it is.',
      details: { vault: vault.name, checkValue: value },
    },
  )
}

export function refuseOlder(vault: Vault, file: VaultFile, remembered: bigint): void {
  const { generation } = file.header
  if (generation >= remembered || vault.acceptGeneration) return
  throw new KvxError(
    'DAMAGED',
    `the vault ${vault.name} has generation ${generation}, and generation ${remembered} was seen already: an older copy was put back`,
    {
      hint: 'Put back the newest copy. Where the older one is meant, read it with `--accept-generation`; the next write with that flag makes it the newest.',
      details: { vault: vault.name, generation: String(generation), remembered: String(remembered) },
    },
  )
}

/** Writers of one directory go one after the other; a large vault takes a while. */
const lockWaitMs = 120_000

export async function lockDirectory(vault: Vault): Promise<Lock> {
  await checkDirectoryTrust(vault.directory)
  return acquireLock(vault.directory, `the vault directory ${vault.directory}`, { waitMs: lockWaitMs })
}

/**
 * Removes a whole vault. Its generation stays remembered: an old copy put back later is noticed, and a new vault
 * of that name goes on counting.
 * @returns false where there is none
 */
export async function removeVault(vault: Vault): Promise<boolean> {
  const lock = await lockDirectory(vault)
  try {
    const path = vaultPath(vault)
    if (!(await exists(path))) return false
    const { generation } = await describeVault(vault)
    if (generation !== undefined) await vault.memory.raise(vault.name, generation)
    await removeFile(path)
    return true
  } finally {
    lock.release()
  }
}

/** What can be told of a vault without any key; `problem` for a file that is no vault. */
export type VaultFacts = {
  readonly name: string
  readonly path: string
  /** Of the file, in bytes. */
  readonly size: number
  readonly generation: bigint | undefined
  /** 16 hex digits of the key's fingerprint. */
  readonly fingerprint: string | undefined
  readonly problem: string | undefined
}

/** @throws FILE_NOT_FOUND */
export async function describeVault(vault: {
  readonly directory: string
  readonly name: string
}): Promise<VaultFacts> {
  const path = vaultPath(vault)
  const common = { name: vault.name, path }
  try {
    const file = await openVaultFile(path, vault.name)
    await file.close()
    const { generation, fingerprint } = file.header
    return { ...common, size: file.reader.facts.size, generation, fingerprint, problem: undefined }
  } catch (error) {
    if (!isKvxError(error, 'DAMAGED') && !isKvxError(error, 'UNSAFE_FILE_TYPE')) throw error
    return { ...common, size: 0, generation: undefined, fingerprint: undefined, problem: error.message }
  }
}

/** The names of the vaults in a directory, sorted. Files that are called otherwise are none. */
export async function vaultNames(directory: string): Promise<readonly string[]> {
  const files = await listDirectory(directory)
  return files
    .filter((file) => file.endsWith('.enc'))
    .map((file) => file.slice(0, -'.enc'.length))
    .filter(isVaultName)
}

/** @throws FILE_NOT_FOUND for a vault that was never written */
export function missingVault(vault: { readonly directory: string; readonly name: string }): KvxError {
  return new KvxError('FILE_NOT_FOUND', `there is no vault ${vault.name} in ${vault.directory}`, {
    hint: `The first write makes it: \`kvx vault put ${vault.name} -\`.`,
  })
}
