import { join } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { fingerprintOf } from '../core/fingerprint.ts'
import { decodeKey, type KeyEncoding } from '../core/key-encoding.ts'
import { weaknessOf } from '../core/key-strength.ts'
import { Secret } from '../core/secret.ts'
import type { Access } from '../platform/access.ts'
import { readAcl } from '../platform/acl.ts'
import { quotedPath, shownPath } from '../platform/file-errors.ts'
import { type FileFacts, modeText } from '../platform/file-facts.ts'
import { exists, openForReading, readFileCapped } from '../platform/files.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'
import { requireVaultName } from './header.ts'
import { vaultKeyLength } from './vault-file.ts'
import type { VaultKeys } from './vaults.ts'

/** Where a store gets its keys of 32 bytes. The store copies what it is given and leaves the buffers as they are. */
export type KeyProvider = {
  /** The key that seals the next write of a vault. */
  getKey(vault: string): Promise<Buffer>
  /** Every key that may open it, so that readers live through a rotation. `getKey` alone where this is missing. */
  getOpeningKeys?(vault: string): Promise<readonly Buffer[]>
  /** Who may read a new vault file. Mode 0640 where this is missing. */
  getAccess?(vault: string): Promise<Access>
}

export type KeyProviderOptions = {
  /** The directory of `NAME.key` and `NAME.key.previous`; `/opt/coord/.sys` unless told. */
  readonly keyDir?: string
  /** How the files are written; raw bytes unless told. */
  readonly encoding?: KeyEncoding
}

export const defaultKeyDirectory = '/opt/coord/.sys'

const maxKeyFileBytes = 4096

/**
 * Keys from files that an ACL protects, as `kvx keygen` makes and `kvx rotate` publishes them: `NAME.key` seals;
 * `NAME.key` and `NAME.key.previous`, which holds the old key after a rotation and the new one before it, open.
 * The files are read anew for each call.
 */
export function createKeyProvider(options: KeyProviderOptions = {}): KeyProvider {
  const { keyDir = defaultKeyDirectory, encoding = 'raw' } = options
  const current = (vault: string): string => {
    requireVaultName(vault)
    return join(keyDir, `${vault}.key`)
  }
  return givingAway({
    getKey: async (vault) => {
      await checkDirectoryTrust(keyDir)
      const { key, facts } = await readKey(current(vault), encoding)
      refuseExposed(current(vault), facts)
      refuseWeak(current(vault), key)
      return key
    },
    getOpeningKeys: async (vault) => {
      const path = current(vault)
      const { key } = await readKey(path, encoding)
      const previous = `${path}.previous`
      return (await exists(previous)) ? [key, (await readKey(previous, encoding)).key] : [key]
    },
    getAccess: async (vault) => accessLike(current(vault)),
  })
}

/** Providers that hand out fresh copies, which are wiped when they were taken over. */
const freshCopies = new WeakSet<KeyProvider>()

function givingAway(provider: KeyProvider): KeyProvider {
  freshCopies.add(provider)
  return provider
}

async function readKey(path: string, encoding: KeyEncoding): Promise<{ key: Buffer; facts: FileFacts }> {
  const { bytes, facts } = await readFileCapped(path, { maxBytes: maxKeyFileBytes, follow: true })
  try {
    const { material } = decodeKey(bytes, encoding, { expectLength: vaultKeyLength })
    const key = Buffer.allocUnsafeSlow(vaultKeyLength)
    material.lend((lent) => lent.copy(key))
    material.wipe()
    return { key, facts }
  } finally {
    bytes.fill(0)
  }
}

/** Nothing new is sealed under a key that everybody reads. What lies under it can still be read. */
function refuseExposed(path: string, facts: FileFacts): void {
  if ((facts.mode & 0o027) === 0) return
  throw new KvxError(
    'UNSAFE_MODE',
    `the key file ${shownPath(path)} has the mode ${modeText(facts.mode)}: others can read or change it`,
    { hint: `Take the right away: \`chmod 0640 ${quotedPath(path)}\`. If others read it, replace the key.` },
  )
}

function refuseWeak(path: string, key: Buffer): void {
  const material = Secret.copy(key)
  const weakness = weaknessOf(material)
  material.wipe()
  if (weakness === undefined) return
  throw new KvxError('KEY_WEAK', `the key file ${shownPath(path)} holds no random key: ${weakness.message}`, {
    hint: 'Make one with `kvx keygen NAME --dir DIR`, and import what lies under this one into a new vault.',
  })
}

const readRight = (rights: number): number => rights & 4

/** Who reads the key reads the vault: a new file gets the key file's group and readers, and nobody writes but its owner. */
async function accessLike(path: string): Promise<Access> {
  const handle = await openForReading(path, true)
  try {
    const { gid } = await handle.stat()
    const acl = await readAcl(handle.fd, path)
    const readers = (entries: typeof acl.users): typeof acl.users =>
      entries.map(({ id, rights }) => ({ id, rights: readRight(rights) }))
    const narrowed = {
      owner: 6,
      users: readers(acl.users),
      group: readRight(acl.group),
      groups: readers(acl.groups),
      mask: acl.mask === undefined ? undefined : readRight(acl.mask),
      other: 0,
    }
    // Only root can give a file to a group that it is not in itself.
    return { mode: 0o640, acl: narrowed, ...(process.geteuid?.() === 0 ? { group: gid } : {}) }
  } finally {
    await handle.close()
  }
}

/** Keys from memory, for tests. The buffers stay the caller's. */
export function createTestKeyProvider(keys: Readonly<Record<string, Buffer>>): KeyProvider {
  return {
    getKey: async (vault) => {
      const key = Object.hasOwn(keys, vault) ? keys[vault] : undefined
      if (key !== undefined) return key
      throw new KvxError('KEY_UNKNOWN', `the test key provider has no key for the vault ${vault}`)
    },
  }
}

/** A provider as vaults use it, with keys as secrets. */
export function providedKeys(provider: KeyProvider): VaultKeys {
  const secret = (bytes: Buffer): Secret => {
    if (bytes.length === vaultKeyLength) {
      return freshCopies.has(provider) ? Secret.take(bytes) : Secret.copy(bytes)
    }
    throw new KvxError(
      'KEY_MALFORMED',
      `the key provider gave a key of ${bytes.length} bytes; vaults take ${vaultKeyLength}`,
    )
  }
  const opening = async (vault: string): Promise<readonly Secret[]> => {
    const keys = provider.getOpeningKeys?.(vault) ?? provider.getKey(vault).then((key) => [key])
    return (await keys).map(secret)
  }
  return {
    sealing: async (vault) => secret(await provider.getKey(vault)),
    opening,
    access: async (vault) => (await provider.getAccess?.(vault)) ?? { mode: 0o640 },
    nameOf: async (vault, fingerprint) => {
      const labels = ['current', 'previous slot']
      const keys = await opening(vault).catch(() => [])
      try {
        const at = keys.findIndex((key) => fingerprintOf(key).startsWith(fingerprint))
        return at === -1 ? undefined : labels[at]
      } finally {
        for (const key of keys) key.wipe()
      }
    },
  }
}
