import { KvxError } from '../core/errors.ts'
import { checkValueOf } from '../core/fingerprint.ts'

/**
 * The open part of a vault file (docs/formats/vault.md):
 *
 *     "KVXVAULT" | u8 version = 1 | u8 suite = 1 | fingerprint[8] | u64be generation | u16be name length | name
 *
 * All of it is the associated data of the body, so that no byte of it can be changed.
 */
export type VaultHeader = {
  /** The first 8 bytes of the key's fingerprint as 16 lower-case hex digits. */
  readonly fingerprint: string
  /** Grows with every write. */
  readonly generation: bigint
  readonly name: string
}

const magic = Buffer.from('KVXVAULT', 'latin1')
const version = 1
/** AES256_GCM_HKDF_1MB of Tink, the only one there is. */
const suite = 1
const fixedLength = 28
const maxNameLength = 64
/** Far from where the number would begin again. */
const maxGeneration = 2n ** 63n

/** No header is longer. Read so many bytes, or the whole file where it is shorter. */
export const maxHeaderLength = fixedLength + maxNameLength

/** What a header's fingerprint holds of a whole one. */
export function shortFingerprint(fingerprint: string): string {
  return fingerprint.slice(0, 16)
}

const names = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** True for what may name a vault: it becomes a file name and part of the header. */
export function isVaultName(name: string): boolean {
  return names.test(name)
}

/** @throws USAGE for a name that cannot be one */
export function requireVaultName(name: string): void {
  if (isVaultName(name)) return
  throw new KvxError('USAGE', 'a name of a vault has letters, digits, dot, dash and underscore, 64 at most', {
    hint: 'For example `tk`.',
  })
}

export function renderVaultHeader(header: VaultHeader): Buffer {
  const name = Buffer.from(header.name, 'latin1')
  const bytes = Buffer.alloc(fixedLength + name.length)
  magic.copy(bytes)
  bytes[8] = version
  bytes[9] = suite
  bytes.write(header.fingerprint, 10, 8, 'hex')
  bytes.writeBigUInt64BE(header.generation, 18)
  bytes.writeUInt16BE(name.length, 26)
  name.copy(bytes, fixedLength)
  return bytes
}

/** True for what begins as a vault does, also where the rest of it is damaged. */
export function isVaultFile(bytes: Buffer): boolean {
  return bytes.length >= magic.length && bytes.subarray(0, magic.length).equals(magic)
}

/**
 * Reads a header; nothing of it is proven before the body opened.
 * @param bytes the beginning of the file, {@link maxHeaderLength} bytes where it has as many
 * @param path for messages
 * @throws DAMAGED naming what is wrong: no vault, another version or suite, cut off, a name that cannot be one
 */
export function parseVaultHeader(
  bytes: Buffer,
  path: string,
): { readonly header: VaultHeader; readonly bytes: Buffer } {
  if (bytes.length === 0) throw damaged(path, 'it is empty')
  if (!bytes.subarray(0, magic.length).equals(magic.subarray(0, bytes.length))) {
    throw damaged(path, 'it is no vault of kvx: it does not begin with KVXVAULT')
  }
  if (bytes.length < fixedLength) throw damaged(path, 'it is cut off in its header')
  if (bytes[8] !== version) {
    throw damaged(path, `it says that it has version ${bytes[8] ?? 0}; this kvx knows version ${version}`)
  }
  if (bytes[9] !== suite) {
    throw damaged(path, `it says that it has suite ${bytes[9] ?? 0}; this kvx knows suite ${suite}`)
  }
  const nameLength = bytes.readUInt16BE(26)
  if (nameLength > maxNameLength)
    throw damaged(path, `its name has ${nameLength} bytes, at most ${maxNameLength}`)
  if (bytes.length < fixedLength + nameLength) throw damaged(path, 'it is cut off in its header')
  const name = bytes.toString('latin1', fixedLength, fixedLength + nameLength)
  if (!isVaultName(name)) throw damaged(path, 'its name is not one that a vault can have')
  const generation = bytes.readBigUInt64BE(18)
  if (generation === 0n || generation > maxGeneration) {
    throw damaged(path, `its generation ${generation} is not one that kvx writes`)
  }
  const header = { fingerprint: bytes.toString('hex', 10, 18), generation, name }
  return { header, bytes: Buffer.from(bytes.subarray(0, fixedLength + nameLength)) }
}

/** What people compare: 10 hex digits. */
export function headerCheckValue(header: VaultHeader): string {
  return checkValueOf(header.fingerprint)
}

/** DAMAGED for a vault file. */
export function damaged(path: string, what: string): KvxError {
  return new KvxError('DAMAGED', `the vault file ${path} cannot be used: ${what}`, {
    hint: 'It was left as it is. Put back the newest good copy; `kvx vault list` shows generations.',
    details: { path },
  })
}
