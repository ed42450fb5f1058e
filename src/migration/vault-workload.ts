import { join } from 'node:path'
import { isKvxError, KvxError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { keyOf, versionOf } from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import { loadMaterial } from '../keyring/material.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { exists, makeDirectory } from '../platform/files.ts'
import { randomSecret } from '../platform/random.ts'
import { linkFile, openStreamReader, streamFrom, writeStreamed } from '../platform/stream-file.ts'
import { PieceDigest } from '../vault/digest.ts'
import {
  headDigest,
  openSegments,
  openVaultFile,
  opensFirstSegment,
  type VaultFile,
} from '../vault/vault-file.ts'
import { readVault, type Vault, vaultPath } from '../vault/vaults.ts'
import { reencryptVault, settleVault, writeVault } from '../vault/write-vault.ts'
import { CensusTaker, type Census } from './census.ts'
import type { Opened } from './envelope/open-record.ts'
import type { UnreadableReason } from './envelope/reasons.ts'
import type { BackupEntry } from './ciphertext-backup.ts'
import { stopIfInterrupted } from './events.ts'
import { configuredVault, openConfiguredVault, versionBy } from './vault-keys.ts'
import {
  emptyRestore,
  type CensusOptions,
  type Place,
  type RestoreOptions,
  type RestoreTally,
  type Restoring,
  type SweepOptions,
  type SweepResult,
  type Workload,
} from './workload.ts'

type OpenVault = {
  readonly workspace: Workspace
  readonly ring: Keyring
  readonly key: string
  readonly vault: Vault
}

/** A vault lies in one file of its directory. */
export function vaultPlace(name: string, directory: string): Place {
  return { store: directory, table: name, columns: ['content'] }
}

/** A vault as the engine sees it: one record, the file, under the version that its header names. */
export function vaultWorkload(workspace: Workspace, ring: Keyring, name: string): Workload {
  const { key, directory } = configuredVault(workspace, name)
  const vault = openConfiguredVault(workspace, name, { acceptGeneration: false, withRetired: true })
  const open: OpenVault = { workspace, ring, key, vault }
  return {
    name,
    key,
    work: 'reencrypt',
    normalised: { vault: { directory, key } },
    plaintext: false,
    place: vaultPlace(name, directory),
    renewable: false,
    sharesDeks: false,
    requireSealable: () => undefined, // a vault's key has 32 bytes by its format
    census: async (options) => takeVaultCensus(open, options),
    sweep: async (options) => sweepVault(open, options),
    restore: (options) => vaultRestoring(open, options),
    warnings: async () => [],
    settle: async () => settleVault(vault),
  }
}

/**
 * Opens the whole body with the version that the header names.
 * @throws DAMAGED when an older copy was put back: nothing is done with it until that is settled
 */
async function takeVaultCensus(open: OpenVault, options: CensusOptions): Promise<Census> {
  const { vault } = open
  const taker = new CensusTaker(vault.name)
  const found = await lookAt(open, options.run)
  if (found !== undefined) taker.add(found, () => vaultPath(vault))
  const unreadable = taker.takeUnnoted()
  if (unreadable.length > 0) await options.unreadable?.(unreadable)
  options.events.progress({
    phase: options.phase,
    envelope: vault.name,
    done: taker.records,
    total: taker.records,
  })
  return taker.take()
}

async function lookAt(open: OpenVault, run: string | undefined): Promise<Opened | undefined> {
  const { vault, ring, key } = open
  const header = await headerOf(vault)
  if (header === undefined) return undefined
  if (header === 'unreadable') return unreadable('shape')
  try {
    const read = await readVault(vault, async (opened) => {
      await opened.prove(() => stopIfInterrupted(run))
      await refuseRandomKey(opened.file)
      return versionBy(ring, key, opened.file.header.fingerprint)
    })
    if (read === undefined) return undefined
    return read.result === undefined ? unreadable('no-known-key') : sealedUnder(read.result)
  } catch (error) {
    if (isUnreadable(error)) return unreadable('no-known-key')
    throw error
  }
}

/** What one file does not open for. An older copy is no such thing: it opens, and must not be taken. */
function isUnreadable(error: unknown): boolean {
  if (isKvxError(error, 'WRONG_KEY')) return true
  return isKvxError(error, 'DAMAGED') && error.details['path'] !== undefined
}

function unreadable(reason: UnreadableReason): Opened {
  return { kind: 'unreadable', reason }
}

function sealedUnder(version: number): Opened {
  return {
    kind: 'sealed',
    // A vault has no columns.
    state: {},
    versions: new Set([version]),
    labels: { settled: version, wrong: new Set(), foreign: false },
    bare: false,
    under: [],
    wipe: () => undefined,
  }
}

async function headerOf(vault: Vault): Promise<VaultFile['header'] | 'unreadable' | undefined> {
  const path = vaultPath(vault)
  if (!(await exists(path))) return undefined
  try {
    const file = await openVaultFile(path, vault.name)
    await file.close()
    return file.header
  } catch (error) {
    if (isKvxError(error, 'DAMAGED')) return 'unreadable'
    throw error
  }
}

async function refuseRandomKey(file: VaultFile): Promise<void> {
  const random = randomSecret(32)
  try {
    if (!(await opensFirstSegment(file, random))) return
    throw new KvxError('LAYOUT_NOT_PROVEN', `${file.reader.path}: a random key opens the vault`, {
      hint: 'This points at the memory of this machine. Nothing was changed.',
    })
  } finally {
    random.wipe()
  }
}

/**
 * Moves the vault to the target: its plaintext streams from the old file into a new one, which is read back,
 * opened and compared before it gets the name. The old file lies in the run's backup by then.
 */
async function sweepVault(open: OpenVault, options: SweepOptions): Promise<SweepResult> {
  const { vault, ring, key } = open
  const result = { seen: 0, changed: 0, lost: 0, unreadable: [] }
  const header = await headerOf(vault)
  if (header === undefined) return result
  const isWanted = async (file: VaultFile | undefined): Promise<boolean> =>
    file !== undefined && versionBy(ring, key, file.header.fingerprint) !== options.target
  const target = await materialOf(open, options.target)
  try {
    const done = await reencryptVault(vault, {
      key: target,
      watch: () => stopIfInterrupted(options.run),
      isWanted,
      keepOld: async (old, newHead) => keepOld(vault, old, { ...options, newHead }),
    })
    options.events.progress({ phase: 'reencrypt', envelope: vault.name, done: 1, total: 1 })
    return { ...result, seen: 1, changed: done === undefined ? 0 : 1 }
  } catch (error) {
    if (isKvxError(error, 'LOCKED')) return { ...result, seen: 1, lost: 1 }
    if (!isUnreadable(error)) throw error
    const row = { envelope: vault.name, record: vaultPath(vault), reason: 'no-known-key' }
    return { ...result, seen: 1, unreadable: [row] }
  } finally {
    target.wipe()
  }
}

async function materialOf({ workspace, ring, key }: OpenVault, version: number): Promise<Secret> {
  return loadMaterial(workspace.home, key, version, versionOf(keyOf(ring, key), key, version))
}

/** The old file under a second name in the run's backup, or a copy where that is another file system. Durable. */
async function keepOld(
  vault: Vault,
  old: VaultFile,
  options: SweepOptions & { readonly newHead: string },
): Promise<void> {
  const name = await linkOld(vault, old, options.runDirectory)
  await options.backup.append([
    {
      envelope: vault.name,
      id: [vault.name],
      row: { file: name },
      changed: ['file'],
      wrote: options.newHead,
    },
  ])
}

/** @returns the name of the old file in the run's backup */
async function linkOld(vault: Vault, old: VaultFile, runDirectory: string, prefix = ''): Promise<string> {
  const directory = join(runDirectory, 'backup')
  await makeDirectory(directory, 0o700)
  const name = `${prefix}${backupName(vault.name, old)}`
  const to = join(directory, name)
  if (!(await exists(to)) || !(await holdsSame(to, vault.name, old))) {
    const path = vaultPath(vault)
    if (!(await linkFile(path, to))) await copyFile(path, to)
  }
  return name
}

/** The head tells apart two files of one generation, as a writer and a restored copy make them. */
function backupName(name: string, old: VaultFile): string {
  return `${name}.enc.g${old.header.generation}.${headDigest(old).slice(0, 8)}`
}

async function holdsSame(path: string, name: string, old: VaultFile): Promise<boolean> {
  const file = await openVaultFile(path, name)
  await file.close()
  return headDigest(file) === headDigest(old) && file.reader.facts.size === old.reader.facts.size
}

async function copyFile(from: string, to: string): Promise<void> {
  const reader = await openStreamReader(from)
  try {
    await writeStreamed(to, {
      expected: undefined,
      access: { mode: 0o600 },
      fill: async ({ write }) => {
        for await (const piece of streamFrom(reader)) await write(piece)
      },
    })
  } finally {
    await reader.close()
  }
}

/** A vault is one record: its last entry alone is given. */
function vaultRestoring(open: OpenVault, options: RestoreOptions): Restoring {
  let newest: BackupEntry | undefined
  return {
    add: async (entry) => {
      newest = entry
    },
    end: async () => (newest === undefined ? emptyRestore() : restoreVault(open, newest, options)),
  }
}

/** Brings the content of before the run back under the version of before, as a new generation. */
async function restoreVault(
  open: OpenVault,
  entry: BackupEntry,
  options: RestoreOptions,
): Promise<RestoreTally> {
  const path = join(options.runDirectory, 'backup', String(entry.row['file']))
  const backup = await openVaultFile(path, open.vault.name)
  try {
    const version = versionBy(open.ring, open.key, backup.header.fingerprint)
    if (version === undefined) throw keyGone(open.vault, options.run.id)
    const material = await materialOf(open, version)
    try {
      const kind = await compare(open, entry, { backup, material })
      const goes =
        kind === 'restored' || kind === 'inserted' || (kind === 'changedSince' && options.overwrite)
      if (options.write && goes)
        await writeVault(open.vault, () => openSegments(backup, material), {
          key: material,
          keepOld: async (old) => {
            await linkOld(open.vault, old, options.runDirectory, 'overwritten-')
          },
        })
      options.events.progress({ phase: 'restore', envelope: open.vault.name, done: 1, total: 1 })
      const lossy = kind === 'changedSince' ? 1 : 0
      return { ...emptyRestore(), [kind]: 1, lossy, versions: new Set(kind === 'same' ? [] : [version]) }
    } finally {
      material.wipe()
    }
  } finally {
    await backup.close()
  }
}

function keyGone(vault: Vault, run: string): KvxError {
  return new KvxError(
    'WRONG_KEY',
    `the backup of ${vault.name} in run ${run} lies under a key that the ring does not have`,
    {
      hint: 'Bring that key back first: `kvx backup list` names the backups with their check values.',
    },
  )
}

async function compare(
  open: OpenVault,
  entry: BackupEntry,
  old: { readonly backup: VaultFile; readonly material: Secret },
): Promise<'restored' | 'inserted' | 'same' | 'changedSince'> {
  const path = vaultPath(open.vault)
  if (!(await exists(path))) return 'inserted'
  const current = await openVaultFile(path, open.vault.name)
  try {
    const head = headDigest(current)
    if (head === entry.wrote) return 'restored'
    if (head === headDigest(old.backup)) return 'same'
    if (current.header.fingerprint !== old.backup.header.fingerprint) return 'changedSince'
    // An earlier attempt may have brought it back already, as a generation of its own.
    const [now, before] = [await digestOf(current, old.material), await digestOf(old.backup, old.material)]
    return now.equals(before) ? 'same' : 'changedSince'
  } finally {
    await current.close()
  }
}

async function digestOf(file: VaultFile, key: Secret): Promise<Buffer> {
  const digest = new PieceDigest()
  for await (const segment of openSegments(file, key)) await digest.add(segment)
  return digest.finish()
}
