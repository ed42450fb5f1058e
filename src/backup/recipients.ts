import type { PublicKey } from 'openpgp'
import { KvxError } from '../core/errors.ts'
import { now } from '../platform/clock.ts'
import { readFileCapped } from '../platform/files.ts'
import type { BackupWarning } from './errors.ts'
import { exportPublicKey, type GpgOptions } from './gpg.ts'
import { examineKey, userIdOf } from './recipient-key.ts'

/** Somebody who can open a backup: one checked OpenPGP key and the subkey that is encrypted to. */
export type Recipient = {
  /** Of the primary key: 40 upper-case hex digits. */
  readonly fingerprint: string
  /** Its primary user id, without control characters. */
  readonly userId: string
  /** Fingerprint of the (sub)key that is encrypted to. */
  readonly subkey: string
  /** Its last 16 digits, which stand in the message. */
  readonly keyId: string
  /** `ecdh curve25519Legacy`, `rsaEncryptSign 3072`, … */
  readonly algorithm: string
  /** UTC, `2026-01-01T00:00:00Z`: when the key or the subkey expires, whichever is first. */
  readonly expires: string | null
  readonly daysLeft: number | null
  /** The binary public key that was checked. */
  readonly publicKey: Uint8Array
}

export type Recipients = {
  readonly recipients: readonly Recipient[]
  readonly warnings: readonly BackupWarning[]
}

export type ResolveOptions = GpgOptions & {
  /** Files with public keys, armored or binary, that are looked at before gpg's keyring. */
  readonly keyFiles?: readonly string[]
}

const warnBelowDays = 365
const maxKeyFile = 1024 * 1024
const dayMs = 86_400_000

/**
 * Finds and checks the key of each fingerprint (40 hex digits; spaces and case do not matter; twice is once).
 * Only keys that gpg 2.2 opens messages for are taken: version 4, valid now, RSA of 3072 bits or more or ECDH.
 * @throws KvxError RECIPIENT_UNUSABLE naming the key and the reason; USAGE without a recipient; TOOL_MISSING
 */
export async function resolveRecipients(
  fingerprints: readonly string[],
  options: ResolveOptions = {},
): Promise<Recipients> {
  const wanted = [...new Set(fingerprints.map(normalFingerprint))]
  if (wanted.length === 0) {
    throw new KvxError('USAGE', 'a backup needs at least one recipient', {
      hint: 'name one: `kvx backup create NAME --recipient FINGERPRINT`',
    })
  }
  const inFiles = await readKeyFiles(options.keyFiles ?? [])
  const recipients: Recipient[] = []
  for (const fingerprint of wanted) {
    const key = inFiles.get(fingerprint) ?? (await findInKeyring(fingerprint, options))
    recipients.push(await checkKey(key))
  }
  return { recipients, warnings: recipients.flatMap((recipient) => expiryWarning(recipient)) }
}

/** `RECIPIENT_UNUSABLE` for one key, by name. */
function unusable(who: string, why: string, hint?: string): KvxError {
  return new KvxError('RECIPIENT_UNUSABLE', `cannot encrypt to ${who}: ${why}`, {
    ...(hint === undefined ? {} : { hint }),
    details: { recipient: who },
  })
}

function normalFingerprint(typed: string): string {
  const digits = typed.replaceAll(/\s/g, '').replace(/^0x/i, '').toUpperCase()
  if (/^[0-9A-F]{40}$/.test(digits)) return digits
  if (/^[0-9A-F]{64}$/.test(digits)) {
    throw unusable(digits, 'it is the fingerprint of a version 5 or 6 key, which gpg 2.2 cannot use')
  }
  const shown = digits.replaceAll(/[^0-9A-Z]/g, '?').slice(0, 64)
  throw unusable(
    `"${shown}"`,
    'it is not a full fingerprint of 40 hex digits; shorter ids can be forged',
    fullHint,
  )
}

const fullHint = 'take the fingerprint from `gpg --list-keys --with-fingerprint`'

async function findInKeyring(fingerprint: string, options: GpgOptions): Promise<PublicKey> {
  const bytes = await exportPublicKey(fingerprint, options)
  if (bytes.length === 0) {
    throw unusable(fingerprint, 'no such key is in the keyring of gpg', 'import it with `gpg --import FILE`')
  }
  const keys = await parseKeys(bytes, fingerprint)
  const key = keys.find((candidate) => fingerprintOf(candidate) === fingerprint)
  if (key !== undefined) return key
  const primary = keys.map(fingerprintOf).join(', ')
  throw unusable(fingerprint, `it is a subkey; the key's own fingerprint is ${primary}`)
}

async function readKeyFiles(paths: readonly string[]): Promise<Map<string, PublicKey>> {
  const found = new Map<string, PublicKey>()
  for (const path of paths) {
    const { bytes } = await readFileCapped(path, { maxBytes: maxKeyFile, follow: true })
    for (const block of keyBlocks(bytes)) {
      for (const key of await parseKeys(block, path)) found.set(fingerprintOf(key), key)
    }
  }
  return found
}

const armoredBlock = /-----BEGIN PGP PUBLIC KEY BLOCK-----[\s\S]*?-----END PGP PUBLIC KEY BLOCK-----/g

/** A file may hold several armored blocks one after another; openpgp.js would read the first only. */
function keyBlocks(bytes: Buffer): (Buffer | string)[] {
  if (((bytes[0] ?? 0) & 0x80) !== 0) return [bytes]
  return bytes.toString('latin1').match(armoredBlock) ?? ['']
}

async function parseKeys(source: Buffer | string, named: string): Promise<PublicKey[]> {
  const { readKeys } = await import('openpgp')
  let keys: PublicKey[]
  try {
    keys =
      typeof source === 'string'
        ? await readKeys({ armoredKeys: source })
        : await readKeys({ binaryKeys: new Uint8Array(source) })
  } catch {
    throw unusable(named, 'it holds no OpenPGP public key that can be read')
  }
  if (!keys.some((key) => key.isPrivate())) return keys
  throw unusable(
    named,
    'it holds a private key, which has no place here',
    'export the public one: `gpg --export`',
  )
}

async function checkKey(key: PublicKey): Promise<Recipient> {
  const fingerprint = fingerprintOf(key)
  const userId = await userIdOf(key)
  const examined = await examineKey(key, now())
  if (typeof examined === 'string') throw unusable(named(fingerprint, userId), examined)
  const { expires } = examined
  return {
    fingerprint,
    userId,
    subkey: examined.subkey,
    keyId: examined.subkey.slice(-16),
    algorithm: examined.algorithm,
    expires: expires === null ? null : `${expires.toISOString().slice(0, 19)}Z`,
    daysLeft: expires === null ? null : Math.floor((expires.getTime() - now().getTime()) / dayMs),
    publicKey: key.write(),
  }
}

function named(fingerprint: string, userId: string): string {
  return userId === '' ? fingerprint : `${fingerprint} (${userId})`
}

function fingerprintOf(key: PublicKey): string {
  return key.getFingerprint().toUpperCase()
}

function expiryWarning(recipient: Recipient): BackupWarning[] {
  if (recipient.daysLeft === null || recipient.daysLeft >= warnBelowDays) return []
  const who = named(recipient.fingerprint, recipient.userId)
  return [{ code: 'RECIPIENT_EXPIRES', message: `the key ${who} expires in ${recipient.daysLeft} days` }]
}
