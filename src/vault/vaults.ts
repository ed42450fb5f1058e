import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isKvxError, KvxError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { Access } from '../platform/access.ts'
import { exists, listDirectory, removeFile } from '../platform/files.ts'
import { acquireLock, type Lock } from '../platform/lock.ts'
import { notice } from '../platform/notices.ts'
import { randomSecret } from '../platform/random.ts'
import { writeStreamed } from '../platform/stream-file.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'
import { PieceDigest } from './digest.ts'
import type { GenerationMemory } from './generations.ts'
import { headerCheckValue, isVaultName, requireVaultName } from './header.ts'
import {
  headDigest,
  isKeyOf,
  openSegments,
  openVaultFile,
  opensFirstSegment,
  sealVault,
  type VaultFile,
} from './vault-file.ts'

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
  /** Remember also what a reader saw. Its failure is a notice: reading goes on. */
  readonly raiseOnRead: boolean
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

type Opened = { readonly file: VaultFile; readonly key: Secret }

/** An open vault. It stays the same file while its name is given to a newer one. */
export type VaultContent = {
  readonly file: VaultFile
  /** Of the plaintext, in bytes. */
  readonly length: number
  /** The plaintext from its beginning, as often as it is asked for. */
  segments(): AsyncIterable<Buffer>
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
    })
    if (vault.raiseOnRead && generation > remembered) await remember(vault, generation)
    return { result, generation }
  } finally {
    key.wipe()
    await file.close()
  }
}

async function remember(vault: Vault, generation: bigint): Promise<void> {
  try {
    await vault.memory.raise(vault.name, generation)
  } catch (error) {
    if (!isKvxError(error)) throw error
    notice(
      'GENERATION_NOT_REMEMBERED',
      `generation ${generation} of ${vault.name} is not remembered: ${error.message}`,
    )
  }
}

async function openWithKey(vault: Vault): Promise<Opened | undefined> {
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

function refuseOlder(vault: Vault, file: VaultFile, remembered: bigint): void {
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

async function lockDirectory(vault: Vault): Promise<Lock> {
  await checkDirectoryTrust(vault.directory)
  return acquireLock(vault.directory, `the vault directory ${vault.directory}`, { waitMs: lockWaitMs })
}

/** The new plaintext of a vault, made from the old one where there is one. */
export type Content = (old: AsyncIterable<Buffer> | undefined) => AsyncIterable<Uint8Array>

export type WriteHooks = {
  /** Under this key instead of the one that seals. */
  readonly key?: Secret
  /** The new plaintext must be the old one, byte for byte. */
  readonly unchanged?: boolean
  /** With the lock held and the vault open; false leaves it as it is. */
  readonly isWanted?: (file: VaultFile | undefined) => Promise<boolean>
  /** Called with the old file in its place, right before the new one, whose head has this digest, gets the name. */
  readonly keepOld?: (old: VaultFile, newHead: string) => Promise<void>
}

/**
 * Writes a vault under the directory's lock, so that concurrent writers lose nothing: the old one is opened and
 * verified, the new one sealed into a temporary file, fsynced, read back and opened, then it gets the name.
 * Owner, mode and ACL of an existing file stay. Durable when it returns.
 * @returns undefined when `isWanted` said no
 */
export async function writeVault(
  vault: Vault,
  content: Content,
  hooks: WriteHooks = {},
): Promise<{ readonly generation: bigint } | undefined> {
  const lock = await lockDirectory(vault)
  try {
    const remembered = await vault.memory.remembered(vault.name)
    const old = await openWithKey(vault)
    const sealing = hooks.key ?? (await vault.keys.sealing(vault.name))
    try {
      if (hooks.isWanted !== undefined && !(await hooks.isWanted(old?.file))) return undefined
      if (old !== undefined) refuseOlder(vault, old.file, remembered)
      const before = old?.file.header.generation ?? 0n
      const generation = (before > remembered ? before : remembered) + 1n
      await replaceVault(vault, content, { old, sealing, generation, hooks })
      await vault.memory.raise(vault.name, generation)
      return { generation }
    } finally {
      if (hooks.key === undefined) sealing.wipe()
      old?.key.wipe()
      await old?.file.close()
    }
  } finally {
    lock.release()
  }
}

type Replacement = {
  readonly old: Opened | undefined
  readonly sealing: Secret
  readonly generation: bigint
  readonly hooks: WriteHooks
}

async function replaceVault(vault: Vault, content: Content, replacement: Replacement): Promise<void> {
  const { old, sealing, generation, hooks } = replacement
  const { keepOld } = hooks
  const digest = new PieceDigest()
  const add = async (piece: Buffer): Promise<void> => digest.add(piece)
  const source = old && openSegments(old.file, old.key)
  // Where nothing may change, what is compared with comes from the old file, not from what was sealed.
  const fromOld = hooks.unchanged === true && source !== undefined
  const request = {
    name: vault.name,
    generation,
    key: sealing,
    source: content(fromOld ? tee(source, add) : source),
  }
  let head = ''
  await writeStreamed(vaultPath(vault), {
    expected: old?.file.reader.facts,
    access: await vault.keys.access(vault.name),
    fill: async (write) => sealVault({ ...request, ...(fromOld ? {} : { onSegment: add }) }, write),
    prove: async (temporary) => {
      const wrong = old === undefined || old.key.equals(sealing) ? [] : [old.key]
      head = await proveWritten(temporary, { ...request, digest: await digest.finish(), wrong })
    },
    ...(old === undefined || keepOld === undefined ? {} : { keepOld: async () => keepOld(old.file, head) }),
  })
}

async function* tee(
  segments: AsyncIterable<Buffer>,
  see: (segment: Buffer) => Promise<void>,
): AsyncGenerator<Buffer> {
  for await (const segment of segments) {
    await see(segment)
    yield segment
  }
}

type Written = {
  readonly name: string
  readonly generation: bigint
  readonly key: Secret
  readonly digest: Buffer
  /** Keys that must not open it, beside a random one. */
  readonly wrong: readonly Secret[]
}

/**
 * @returns the digest of its head
 * @throws READ_BACK_FAILED unless the file opens with the key alone and holds what was sealed
 */
async function proveWritten(temporary: string, written: Written): Promise<string> {
  const fail = (what: string): KvxError =>
    new KvxError(
      'READ_BACK_FAILED',
      `the new file of the vault ${written.name} ${what}; the old one is untouched`,
      {
        hint: 'This points at the memory or the disk of this machine: look at `dmesg | tail`.',
      },
    )
  const file = await openVaultFile(temporary, written.name)
  const random = randomSecret(written.key.length)
  try {
    if (!isKeyOf(file, written.key) || file.header.generation !== written.generation)
      throw fail('has another header')
    const digest = new PieceDigest()
    try {
      for await (const segment of openSegments(file, written.key)) await digest.add(segment)
    } catch (error) {
      throw isKvxError(error, 'DAMAGED') ? fail('does not open with its key') : error
    }
    if (!(await digest.finish()).equals(written.digest)) throw fail('does not hold what was written')
    for (const key of [...written.wrong, random]) {
      if (await opensFirstSegment(file, key)) throw fail('opens with a key that it was not sealed with')
    }
    return headDigest(file)
  } finally {
    random.wipe()
    await file.close()
  }
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
