import { join } from 'node:path'
import { isKvxError } from '../core/errors.ts'
import { runChild } from '../platform/child.ts'
import { exists } from '../platform/files.ts'
import { gpgEnvironment } from './gpg.ts'

/** A public key in the keyring of gpg that can be encrypted to. */
export type KeyAtHand = {
  /** Of the primary key: 40 upper-case hex digits. */
  readonly fingerprint: string
  /** The first user id, without control characters. */
  readonly userId: string
}

const timeoutMs = 20_000

/**
 * The keys that gpg has at hand and would encrypt to now, by its own listing (doc/DETAILS of GnuPG). Nothing is
 * made: without a keyring or without gpg there are none. They are suggestions: a backup checks its recipients.
 */
export async function listKeysAtHand(environment = gpgEnvironment()): Promise<readonly KeyAtHand[]> {
  const folder = environment['GNUPGHOME'] ?? join(environment['HOME'] ?? '/nonexistent', '.gnupg')
  const keyrings = await Promise.all(
    ['pubring.kbx', 'pubring.gpg', 'public-keys.d'].map(async (name) => exists(join(folder, name))),
  )
  if (!keyrings.includes(true)) return []
  const quiet = ['--batch', '--no-tty', '--no-auto-check-trustdb', '--trust-model', 'always']
  try {
    const result = await runChild('gpg', [...quiet, '--with-colons', '--utf8-strings', '--list-keys'], {
      env: environment,
      timeoutMs,
    })
    return result.exitCode === 0 ? parseListing(result.stdout.toString('utf8')) : []
  } catch (error) {
    if (isKvxError(error)) return []
    throw error
  }
}

function parseListing(text: string): readonly KeyAtHand[] {
  const keys: { fingerprint: string; userId: string }[] = []
  let key: { fingerprint: string; userId: string } | undefined
  for (const line of text.split('\n')) {
    const fields = line.split(':')
    const [kind = '', validity = ''] = fields
    // Capital letters are what the whole key can do; r, e, d, i: revoked, expired, disabled, not valid.
    if (kind === 'pub') key = /E/.test(fields[11] ?? '') && !/[redi]/.test(validity) ? begun(keys) : undefined
    else if (kind === 'fpr' && key?.fingerprint === '') key.fingerprint = fields[9] ?? ''
    else if (kind === 'uid' && key?.userId === '' && !/[re]/.test(validity))
      key.userId = userIdIn(fields[9] ?? '')
  }
  return keys.filter(({ fingerprint }) => /^[0-9A-F]{40}$/.test(fingerprint))
}

function begun(keys: { fingerprint: string; userId: string }[]): { fingerprint: string; userId: string } {
  const key = { fingerprint: '', userId: '' }
  keys.push(key)
  return key
}

/** Colons and control characters come as `\xHH`. */
function userIdIn(field: string): string {
  return field
    .replaceAll(/\\x([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .replaceAll(/\p{Cc}/gu, '?')
    .slice(0, 120)
}
