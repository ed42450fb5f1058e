import { isKvxError, KvxError } from '../core/errors.ts'
import { receiptDigest } from './codes.ts'
import { decryptWithGpg, type Decrypted, type GpgOptions, openProblemOf } from './gpg.ts'
import type { BackupManifest, ManifestRecipient } from './manifest.ts'
import { armorPackets, packetTags, readFraming, recipientKeyId } from './packets.ts'
import { type BackupText, parseBackupText } from './plaintext.ts'

/** What must come out of a backup. */
export type ExpectedBackup = Pick<BackupManifest, 'name' | 'version' | 'fingerprint' | 'receiptSha256'> & {
  readonly recipients: readonly Pick<ManifestRecipient, 'fingerprint' | 'subkey'>[]
}

/** `openedWith`: fingerprints of the subkeys at hand that opened it. Empty with the refusal where none did. */
export type Proof = { readonly openedWith: readonly string[]; readonly why: KvxError | undefined }

/** Reasons that lie with this machine, not with the backup. */
const nothingAtHand: ReadonlySet<string> = new Set(['no-secret-key', 'locked', 'no-agent'])

/**
 * Opens a backup with every private key at hand: first as it is, as a person would, then with each other
 * recipient's session key alone. A person is asked at most once, and only where `interactive` is set.
 * @throws KvxError BACKUP_UNUSABLE when it opens to something else or is damaged
 */
export async function proveOpens(
  sealed: Uint8Array,
  expected: ExpectedBackup,
  options: GpgOptions = {},
): Promise<Proof> {
  const first = await tryOpen(sealed, expected, options)
  if (first instanceof KvxError) return { openedWith: [], why: first }
  const openedWith = [first.keyFingerprint]
  for (const { subkey } of expected.recipients) {
    if (subkey === first.keyFingerprint) continue
    const other = await tryOpen(onlyFor(sealed, subkey), expected, { ...options, interactive: false })
    if (!(other instanceof KvxError)) openedWith.push(other.keyFingerprint)
  }
  return { openedWith, why: undefined }
}

/** The key that opened it, or why nothing at hand can. */
async function tryOpen(
  sealed: Uint8Array,
  expected: ExpectedBackup,
  options: GpgOptions,
): Promise<Pick<Decrypted, 'keyFingerprint'> | KvxError> {
  let opened: Decrypted
  try {
    opened = await decryptWithGpg(sealed, {
      ...options,
      accept: expected.recipients.map(({ subkey }) => subkey),
    })
  } catch (error) {
    if (!isKvxError(error)) throw error
    const isOurs = error.code === 'TOOL_MISSING' || error.code === 'TOOL_FAILED'
    if (isOurs || nothingAtHand.has(openProblemOf(error) ?? '')) return error
    throw error
  }
  try {
    checkContent(opened, expected)
    return { keyFingerprint: opened.keyFingerprint }
  } finally {
    opened.plaintext.wipe()
  }
}

function checkContent(opened: Decrypted, expected: ExpectedBackup): void {
  const text = opened.plaintext.lend((bytes) => parseBackupText(bytes))
  text.material.wipe()
  const difference = firstDifference(text, expected)
  if (difference === undefined) return
  throw new KvxError(
    'BACKUP_UNUSABLE',
    `the backup opens, but its ${difference} is not that of its manifest`,
    {
      hint: 'make a new backup: `kvx backup create`',
      details: { reason: 'content' },
    },
  )
}

function firstDifference(text: BackupText, expected: ExpectedBackup): string | undefined {
  if (text.fingerprint !== expected.fingerprint) return 'key'
  if (text.name !== expected.name) return 'key name'
  if (text.version !== expected.version) return 'version'
  return receiptDigest(text.receipt) === expected.receiptSha256 ? undefined : 'receipt'
}

/** The same message with the session key of one recipient alone, so that this one is what opens it. */
function onlyFor(sealed: Uint8Array, subkey: string): Uint8Array {
  const keyId = subkey.slice(-16)
  const kept = readFraming(sealed).packets.filter(
    (packet) => packet.tag !== packetTags.pkesk || recipientKeyId(packet) === keyId,
  )
  return armorPackets(kept)
}
