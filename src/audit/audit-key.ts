import { join } from 'node:path'
import { KvxError, isKvxError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import {
  encodePrivateKeyPem,
  encodePublicKeyPem,
  generateSigningKey,
  parsePrivateKeyPem,
  parsePublicKeysPem,
  publicKeyFingerprint,
  publicKeyOf,
} from '../core/signature.ts'
import type { SigningKey } from '../core/signature.ts'
import { createFile } from '../platform/create-file.ts'
import { readFileCapped } from '../platform/files.ts'
import { writeState } from '../platform/state-file.ts'
import { makeSigner } from './signer.ts'
import type { Signer } from './signer.ts'

/** The home's key, ready to sign. `wipe` overwrites the private key; the signer is of no use after it. */
export type AuditKey = { readonly signer: Signer; readonly wipe: () => void }

/** A public key, 32 raw bytes, and its fingerprint, 64 hex digits. */
export type PublicKey = { readonly raw: Uint8Array; readonly fingerprint: string }

const maxPrivateBytes = 4096
const maxPublicBytes = 1024 * 1024

/** `audit.key`: the private key, PKCS#8 PEM as `openssl pkey` reads it, mode 0600. */
function privatePath(directory: string): string {
  return join(directory, 'audit.key')
}

/**
 * `audit.pub`: the public keys that the home's log was ever signed by, SPKI PEM blocks, the current one first.
 */
function publicPath(directory: string): string {
  return join(directory, 'audit.pub')
}

/**
 * Makes the home's signing key in an existing directory of mode 0700.
 * @throws TARGET_EXISTS when there is one: it is never overwritten, see `replaceAuditKey`
 */
export async function createAuditKey(directory: string): Promise<AuditKey> {
  if ((await readPublicKeys(directory)).length > 0) {
    throw new KvxError('TARGET_EXISTS', 'audit.pub exists already and is not overwritten', {
      hint: 'see whose log it is with `kvx audit show`',
    })
  }
  const key = generateSigningKey()
  const pem = encodePrivateKeyPem(key.privateKey)
  try {
    await pem.lend((bytes) => createFile(privatePath(directory), bytes, { mode: 0o600 }))
  } finally {
    pem.wipe()
  }
  await writeState(publicPath(directory), Buffer.from(encodePublicKeyPem(key.publicKey)))
  return auditKeyOf(key)
}

/**
 * Opens the home's signing key. An `audit.pub` that is missing is made again from it.
 * @throws FILE_NOT_FOUND when it is lost, KEY_MALFORMED, UNSAFE_MODE when others may read it, AUDIT_BROKEN when
 * `audit.pub` does not hold its public key
 */
export async function loadAuditKey(directory: string): Promise<AuditKey> {
  const key = await readSigningKey(directory)
  const fingerprint = publicKeyFingerprint(key.publicKey)
  try {
    const known = await readPublicKeys(directory)
    if (known.length === 0) {
      await writeState(publicPath(directory), Buffer.from(encodePublicKeyPem(key.publicKey)))
    } else if (!known.some((one) => one.fingerprint === fingerprint)) {
      throw new KvxError('AUDIT_BROKEN', 'audit.pub does not hold the public key of audit.key', {
        hint: 'put back the pair that belongs together from a copy, then `kvx audit verify`',
        details: { publicKeyFingerprint: fingerprint },
      })
    }
    return auditKeyOf(key)
  } catch (error) {
    key.privateKey.wipe()
    throw error
  }
}

/** The private key of the home, or undefined when it is lost or of no use. */
export async function findSigningKey(directory: string): Promise<SigningKey | undefined> {
  try {
    return await readSigningKey(directory)
  } catch (error) {
    if (isKvxError(error, 'FILE_NOT_FOUND') || isKvxError(error, 'KEY_MALFORMED')) return undefined
    throw error
  }
}

/** The keys of `audit.pub`, the current one first; none when the file does not exist. */
export async function readPublicKeys(directory: string): Promise<readonly PublicKey[]> {
  try {
    const { bytes } = await readFileCapped(publicPath(directory), { maxBytes: maxPublicBytes })
    return parsePublicKeysPem(bytes.toString('latin1')).map(asPublicKey)
  } catch (error) {
    if (isKvxError(error, 'FILE_NOT_FOUND')) return []
    throw error
  }
}

export function asPublicKey(raw: Uint8Array): PublicKey {
  return { raw, fingerprint: publicKeyFingerprint(raw) }
}

/** Puts a new key in the place of the old one; the old public keys stay behind it in `audit.pub`. */
export async function installSigningKey(
  directory: string,
  key: SigningKey,
  former: readonly PublicKey[],
): Promise<void> {
  const blocks = [key.publicKey, ...former.map(({ raw }) => raw)].map((raw) => encodePublicKeyPem(raw))
  await writeState(publicPath(directory), Buffer.from(blocks.join('')))
  const pem = encodePrivateKeyPem(key.privateKey)
  try {
    await pem.lend((bytes) => writeState(privatePath(directory), bytes))
  } finally {
    pem.wipe()
  }
}

async function readSigningKey(directory: string): Promise<SigningKey> {
  const path = privatePath(directory)
  const { bytes, facts } = await readFileCapped(path, { maxBytes: maxPrivateBytes })
  const pem = Secret.take(bytes)
  try {
    if ((facts.mode & 0o077) !== 0) {
      throw new KvxError('UNSAFE_MODE', 'audit.key can be read or written by others than its owner', {
        hint: `close it with \`chmod 600 ${path}\`, and think of a new key`,
      })
    }
    const privateKey = parsePrivateKeyPem(pem)
    return { privateKey, publicKey: publicKeyOf(privateKey) }
  } finally {
    pem.wipe()
  }
}

function auditKeyOf(key: SigningKey): AuditKey {
  return { signer: makeSigner(key), wipe: () => key.privateKey.wipe() }
}
