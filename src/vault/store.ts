import { directoryMemory } from './generations.ts'
import { providedKeys, type KeyProvider } from './key-provider.ts'
import { changeMembers, parseMembers, pickMember, wholeContent } from './members.ts'
import { describeVault, readVault, removeVault, type Vault, vaultNames } from './vaults.ts'
import { writeVault } from './write-vault.ts'

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue }

export type StoreOptions = {
  /** The directory of `NAME.enc`. It exists, and nobody else writes in it. */
  readonly storageDir: string
  readonly keyProvider: KeyProvider
  /** Take vaults with an older generation than was seen: after a restore that is meant. */
  readonly acceptGeneration?: boolean
}

export type VaultListing = {
  readonly name: string
  /** Of the file, in bytes. */
  readonly size: number
  /** Grows with every write; undefined for a file that is no vault, with `problem` saying why. */
  readonly generation: bigint | undefined
  readonly problem: string | undefined
}

/** Vaults of one directory: JSON objects, each sealed whole in a file of its own. */
export type Store = {
  /**
   * Adds members, replacing those of the same names. Concurrent writers, in other processes too, lose nothing.
   * Durable when it returns.
   */
  put(vault: string, members: Readonly<Record<string, JsonValue>>): Promise<void>
  /** One member, or undefined where there is none. */
  get(vault: string, member: string): Promise<JsonValue | undefined>
  /** The whole object, or undefined where there is no such vault. */
  get(vault: string): Promise<Readonly<Record<string, JsonValue>> | undefined>
  list(): Promise<readonly VaultListing[]>
  /** Removes one member, or without a name the whole vault. False where there is none. */
  delete(vault: string, member?: string): Promise<boolean>
}

/**
 * A store of vaults. Nothing of a vault is given out before its last segment was verified.
 * Errors have a `code` and say what to do in `hint`; they hold no value.
 */
export function createStore(options: StoreOptions): Store {
  const keys = providedKeys(options.keyProvider)
  const open = (name: string): Vault => ({
    name,
    directory: options.storageDir,
    keys,
    memory: directoryMemory(options.storageDir, async () => keys.access(name)),
    acceptGeneration: options.acceptGeneration ?? false,
  })
  async function get(name: string, member?: string): Promise<unknown> {
    const read = await readVault(open(name), async (content) =>
      member === undefined ? wholeContent(content) : pickMember(content.segments(), member),
    )
    if (read?.result === undefined) return undefined
    const value: unknown = JSON.parse(read.result.toString('utf8'))
    read.result.fill(0)
    return value
  }
  return {
    put: async (name, members) => {
      // For `undefined` and functions it gives no text, whatever its type says.
      const text = JSON.stringify(members) as string | undefined
      const put = parseMembers(Buffer.from(text ?? ''))
      await writeVault(open(name), (old) => changeMembers(old, { put, remove: new Set() }))
    },
    get: get as Store['get'],
    list: async () => {
      const names = await vaultNames(options.storageDir)
      const facts = await Promise.all(
        names.map(async (name) => describeVault({ directory: options.storageDir, name })),
      )
      return facts.map(({ name, size, generation, problem }) => ({ name, size, generation, problem }))
    },
    delete: async (name, member) => {
      if (member === undefined) return removeVault(open(name))
      return removeMember(open(name), member)
    },
  }
}

/** @returns false, with nothing written, where the vault or the member does not exist */
export async function removeMember(vault: Vault, member: string): Promise<boolean> {
  const found = await readVault(vault, async (content) => pickMember(content.segments(), member))
  if (found?.result === undefined) return false
  found.result.fill(0)
  await writeVault(vault, (old) => changeMembers(old, { put: new Map(), remove: new Set([member]) }))
  return true
}
