import { encodePublicKeyPem, generateSigningKey, publicKeyFingerprint } from '../core/signature.ts'
import { isKvxError } from '../core/errors.ts'
import type { AuditKey, PublicKey } from './audit-key.ts'
import { asPublicKey, findSigningKey, installSigningKey, loadAuditKey, readPublicKeys } from './audit-key.ts'
import type { AuditOptions } from './audit.ts'
import { appendLocked, withLogLock, writerOf } from './audit.ts'
import type { Head } from './entry.ts'
import { endorseAction } from './entry.ts'
import { logPath } from './log-lines.ts'
import { readTail } from './log-tail.ts'
import { makeSigner } from './signer.ts'

export type ReplacedKey = AuditKey & {
  /** The first entry of the new key; the empty head when the log is empty. */
  readonly head: Head
  readonly oldPublicKeyFingerprint: string | undefined
  /** True when the old key was at hand and signed an entry that names the new one. */
  readonly endorsed: boolean
}

/**
 * Puts a new signing key in the place of one that is lost (or may be known to others). Where the old key is at
 * hand, it first signs an entry that names its successor; the first entry of the new key names both in any
 * case. Old public keys stay in `audit.pub`, so that the log verifies from its first entry on.
 *
 * A crash leaves the old key in place, or the new one, whose next append then writes that first entry.
 */
export async function replaceAuditKey(
  directory: string,
  options: Omit<AuditOptions, 'signer'> = {},
): Promise<ReplacedKey> {
  return await withLogLock(directory, async () => {
    await readTail(logPath(directory), () => Promise.resolve('unverified')) // a changed log is not taken over
    const former = await readFormerKeys(directory)
    const oldKey = await findSigningKey(directory)
    const key = generateSigningKey()
    const fingerprint = publicKeyFingerprint(key.publicKey)
    if (oldKey !== undefined) {
      const writer = writerOf(directory, { ...options, signer: makeSigner(oldKey) })
      const data = { newPublicKeyFingerprint: fingerprint }
      await appendLocked(writer, { action: endorseAction, phase: 'note', data })
      oldKey.privateKey.wipe()
    }
    const known = withKey(former, oldKey?.publicKey)
    await installSigningKey(directory, key, known)
    key.privateKey.wipe()
    const installed = await loadAuditKey(directory)
    const writer = {
      ...writerOf(directory, { ...options, signer: installed.signer }),
      acceptUnknownKey: true,
    }
    const head = await appendLocked(writer, undefined)
    return {
      ...installed,
      head,
      oldPublicKeyFingerprint:
        oldKey === undefined ? known[0]?.fingerprint : asPublicKey(oldKey.publicKey).fingerprint,
      endorsed: oldKey !== undefined,
    }
  })
}

/** What `audit.pub` holds; nothing when it can't be read as keys: it is made anew. */
async function readFormerKeys(directory: string): Promise<readonly PublicKey[]> {
  try {
    return await readPublicKeys(directory)
  } catch (error) {
    if (isKvxError(error, 'KEY_MALFORMED')) return []
    throw error
  }
}

function withKey(keys: readonly PublicKey[], raw: Uint8Array | undefined): readonly PublicKey[] {
  if (raw === undefined) return keys
  const pem = encodePublicKeyPem(raw)
  return keys.some((key) => encodePublicKeyPem(key.raw) === pem) ? keys : [asPublicKey(raw), ...keys]
}
