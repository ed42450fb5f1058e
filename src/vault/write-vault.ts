import type { ContentTags } from '../core/content-tags.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { exists } from '../platform/files.ts'
import { randomSecret } from '../platform/random.ts'
import { writeStreamed } from '../platform/stream-file.ts'
import { removeLeftover } from '../platform/temp-file.ts'
import { PieceDigest } from './digest.ts'
import {
  headDigest,
  isKeyOf,
  openSegments,
  openVaultFile,
  opensFirstSegment,
  sealVault,
  type VaultFile,
} from './vault-file.ts'
import { moveSegments, proveSegments, type Watch } from './segments.ts'
import {
  describeVault,
  lockDirectory,
  type OpenedVault,
  openWithKey,
  refuseOlder,
  type Vault,
  vaultPath,
} from './vaults.ts'

/** The new plaintext of a vault, made from the old one where there is one. */
export type Content = (old: AsyncIterable<Buffer> | undefined) => AsyncIterable<Uint8Array>

export type WriteHooks = {
  /** Under this key instead of the one that seals. */
  readonly key?: Secret
  /** Of a move to another key: called before each segment; what it throws stops it. */
  readonly watch?: Watch
  /** With the lock held and the vault open; false leaves it as it is. */
  readonly isWanted?: (file: VaultFile | undefined) => Promise<boolean>
  /** Called with the old file in its place, right before the new one, whose head has this digest, gets the name. */
  readonly keepOld?: (old: VaultFile, newHead: string) => Promise<void>
}

export type MoveHooks = WriteHooks & { readonly key: Secret }

/** Writes a vault under another key, as {@link writeVault} does. A vault that is not there stays so. */
export async function reencryptVault(
  vault: Vault,
  hooks: MoveHooks,
): Promise<{ readonly generation: bigint } | undefined> {
  return await writeVault(vault, 'unchanged', hooks)
}

/**
 * Writes a vault under the directory's lock, so that concurrent writers lose nothing: the old one is opened and
 * verified, the new one sealed into a temporary file, fsynced, read back and opened, then it gets the name.
 * Owner, mode and ACL of an existing file stay. Durable when it returns.
 * @returns undefined when `isWanted` said no
 * @throws READ_BACK_FAILED, LOCKED, UNSAFE_DIRECTORY and what reading throws: the old vault is untouched
 */
export async function writeVault(
  vault: Vault,
  content: Content | 'unchanged',
  hooks: WriteHooks = {},
): Promise<{ readonly generation: bigint } | undefined> {
  const lock = await lockDirectory(vault)
  try {
    const remembered = await vault.memory.remembered(vault.name)
    const old = await openWithKey(vault)
    try {
      if (old === undefined && content === 'unchanged') return undefined
      if (hooks.isWanted !== undefined && !(await hooks.isWanted(old?.file))) return undefined
      if (old !== undefined) refuseOlder(vault, old.file, remembered)
      const before = old?.file.header.generation ?? 0n
      const generation = (before > remembered ? before : remembered) + 1n
      const sealing = hooks.key ?? (await vault.keys.sealing(vault.name))
      try {
        await replaceVault(vault, content, { old, sealing, generation, hooks })
      } finally {
        if (hooks.key === undefined) sealing.wipe()
      }
      await vault.memory.raise(vault.name, generation)
      return { generation }
    } finally {
      old?.key.wipe()
      await old?.file.close()
    }
  } finally {
    lock.release()
  }
}

/** Finishes what a writer that was killed left behind: an unfinished file, a generation not yet remembered. */
export async function settleVault(vault: Vault): Promise<void> {
  if (!(await exists(vault.directory))) return
  const lock = await lockDirectory(vault)
  try {
    await removeLeftover(vaultPath(vault))
    if (!(await exists(vaultPath(vault)))) return
    const { generation } = await describeVault(vault)
    if (generation !== undefined) await vault.memory.raise(vault.name, generation)
  } finally {
    lock.release()
  }
}

type Replacement = {
  readonly old: OpenedVault | undefined
  readonly sealing: Secret
  readonly generation: bigint
  readonly hooks: WriteHooks
}

async function replaceVault(
  vault: Vault,
  content: Content | 'unchanged',
  replacement: Replacement,
): Promise<void> {
  const { old, sealing, generation, hooks } = replacement
  const { keepOld } = hooks
  const request = { name: vault.name, generation, key: sealing }
  const { watch = () => undefined } = hooks
  let holds: Holds | undefined
  let head = ''
  await writeStreamed(vaultPath(vault), {
    expected: old?.file.reader.facts,
    access: await vault.keys.access(vault.name),
    fill: async (sheet) => {
      if (content !== 'unchanged') {
        const source = content(old && openSegments(old.file, old.key))
        const digest = new PieceDigest()
        await sealVault({ ...request, source, onSegment: async (piece) => digest.add(piece) }, sheet.write)
        const expected = await digest.finish()
        holds = async (file) => hasDigest(file, sealing, expected)
      } else if (old !== undefined) {
        const tags = await moveSegments(old, { ...request, sheet }, watch)
        holds = async (file) => holdsSegments(file, sealing, tags, watch)
      }
    },
    prove: async (temporary) => {
      head = await proveWritten(temporary, { ...request, old, holds })
    },
    ...(old === undefined || keepOld === undefined ? {} : { keepOld: async () => keepOld(old.file, head) }),
  })
}

/** Whether a file, read from the medium's side, holds what was written. */
type Holds = (file: VaultFile) => Promise<boolean>

type Written = {
  readonly name: string
  readonly generation: bigint
  readonly key: Secret
  readonly old: OpenedVault | undefined
  /** Undefined where nothing was written. */
  readonly holds: Holds | undefined
}

/**
 * Reads the new file from the medium's side: it opens with its key and no other one, and holds what it shall.
 * @returns the digest of its head
 * @throws READ_BACK_FAILED
 */
async function proveWritten(temporary: string, written: Written): Promise<string> {
  const { name, generation, key, old, holds } = written
  const file = await openVaultFile(temporary, name)
  const random = randomSecret(key.length)
  try {
    if (!isKeyOf(file, key) || file.header.generation !== generation)
      throw readBackFailed(name, 'has another header')
    if (!(await holds?.(file))) throw readBackFailed(name, 'does not hold what was written')
    for (const wrong of old === undefined || old.key.equals(key) ? [random] : [old.key, random]) {
      if (await opensFirstSegment(file, wrong))
        throw readBackFailed(name, 'opens with a key that it was not sealed with')
    }
    return headDigest(file)
  } finally {
    random.wipe()
    await file.close()
  }
}

async function hasDigest(file: VaultFile, key: Secret, expected: Buffer): Promise<boolean> {
  const digest = new PieceDigest()
  try {
    for await (const segment of openSegments(file, key)) await digest.add(segment)
  } catch (error) {
    throw isKvxError(error, 'DAMAGED') ? doesNotOpen(file) : error
  }
  return (await digest.finish()).equals(expected)
}

async function holdsSegments(
  file: VaultFile,
  key: Secret,
  tags: ContentTags,
  watch: Watch,
): Promise<boolean> {
  if (file.segments.count !== tags.count) return false
  const failure = await proveSegments(file, key, tags, watch)
  if (failure?.what === 'unreadable') throw doesNotOpen(file)
  return failure === undefined
}

function doesNotOpen(file: VaultFile): KvxError {
  return readBackFailed(file.header.name, 'does not open with its key')
}

function readBackFailed(name: string, what: string): KvxError {
  return new KvxError(
    'READ_BACK_FAILED',
    `the new file of the vault ${name} ${what}; the old one is untouched`,
    {
      hint: 'This points at the memory or the disk of this machine: look at `dmesg | tail`.',
    },
  )
}
