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
 * @throws READ_BACK_FAILED, LOCKED, UNSAFE_DIRECTORY and what reading throws: the old vault is untouched
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
    try {
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

async function replaceVault(vault: Vault, content: Content, replacement: Replacement): Promise<void> {
  const { old, sealing, generation, hooks } = replacement
  const { keepOld } = hooks
  const source = content(old && openSegments(old.file, old.key))
  const request = { name: vault.name, generation, key: sealing, source }
  // What must be the old content is compared with the old file itself, everything else with what was sealed.
  const digest = hooks.unchanged === true ? undefined : new PieceDigest()
  const onSegment = async (piece: Buffer): Promise<void> => digest?.add(piece)
  let head = ''
  await writeStreamed(vaultPath(vault), {
    expected: old?.file.reader.facts,
    access: await vault.keys.access(vault.name),
    fill: async (write) => sealVault({ ...request, onSegment }, write),
    prove: async (temporary) => {
      head = await proveWritten(temporary, { ...request, old, digest: await digest?.finish() })
    },
    ...(old === undefined || keepOld === undefined ? {} : { keepOld: async () => keepOld(old.file, head) }),
  })
}

type Written = {
  readonly name: string
  readonly generation: bigint
  readonly key: Secret
  readonly old: OpenedVault | undefined
  /** Of what was sealed; undefined where it must be what the old file holds. */
  readonly digest: Buffer | undefined
}

/**
 * Reads the new file from the medium's side: it opens with its key and no other one, and holds what it shall.
 * @returns the digest of its head
 * @throws READ_BACK_FAILED
 */
async function proveWritten(temporary: string, written: Written): Promise<string> {
  const { name, generation, key, old, digest } = written
  const file = await openVaultFile(temporary, name)
  const random = randomSecret(key.length)
  try {
    if (!isKeyOf(file, key) || file.header.generation !== generation) throw failed(name, 'has another header')
    const isSame = digest === undefined ? holdsOld(file, written) : hasDigest(file, key, digest)
    const holds = await isSame.catch((error: unknown) => {
      throw isKvxError(error, 'DAMAGED') ? failed(name, 'does not open with its key') : error
    })
    if (!holds) throw failed(name, 'does not hold what was written')
    for (const wrong of old === undefined || old.key.equals(key) ? [random] : [old.key, random]) {
      if (await opensFirstSegment(file, wrong))
        throw failed(name, 'opens with a key that it was not sealed with')
    }
    return headDigest(file)
  } finally {
    random.wipe()
    await file.close()
  }
}

function failed(name: string, what: string): KvxError {
  return new KvxError(
    'READ_BACK_FAILED',
    `the new file of the vault ${name} ${what}; the old one is untouched`,
    {
      hint: 'This points at the memory or the disk of this machine: look at `dmesg | tail`.',
    },
  )
}

async function hasDigest(file: VaultFile, key: Secret, expected: Buffer): Promise<boolean> {
  const digest = new PieceDigest()
  for await (const segment of openSegments(file, key)) await digest.add(segment)
  return (await digest.finish()).equals(expected)
}

/** Both files side by side. One name makes one length of header, so that their segments hold the same parts. */
async function holdsOld(file: VaultFile, { key, old }: Written): Promise<boolean> {
  if (old === undefined || old.file.segments.plaintextLength !== file.segments.plaintextLength) return false
  const others = openSegments(old.file, old.key)
  try {
    for await (const segment of openSegments(file, key)) {
      const other = await others.next()
      if (other.done === true || !segment.equals(other.value)) return false
    }
    return (await others.next()).done === true
  } finally {
    await others.return(undefined)
  }
}
