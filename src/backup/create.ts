import { join } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { checkValueOf, fingerprintOf } from '../core/fingerprint.ts'
import type { Secret } from '../core/secret.ts'
import { isoNow } from '../platform/clock.ts'
import { createFile } from '../platform/create-file.ts'
import { quotedPath, shownPath } from '../platform/file-errors.ts'
import { makeDirectory, removeFile } from '../platform/files.ts'
import { backupStem, sha256Hex, type StoredBackup, writeManifest } from './backups.ts'
import { makeBackupId, makeReceipt, receiptDigest } from './codes.ts'
import type { BackupWarning } from './errors.ts'
import { type GpgOptions, readBackup } from './gpg.ts'
import { type BackupManifest, manifestSchema, type Signer } from './manifest.ts'
import { encodeBackupText, isKeyName, type KeyPurpose } from './plaintext.ts'
import { proveOpens, type Proof } from './prove.ts'
import type { Recipient } from './recipients.ts'
import { encryptToRecipients } from './seal.ts'

export type BackupRequest = GpgOptions & {
  readonly name: string
  readonly version: number
  readonly purpose: KeyPurpose
  /** Lent; stays the caller's. */
  readonly material: Secret
  readonly recipients: readonly Recipient[]
  readonly signer: Signer
  /** Made with mode 0700 where it does not exist; its parent must. */
  readonly directory: string
  readonly kvxVersion: string
}

export type CreatedBackup = {
  readonly backup: StoredBackup
  readonly tested: boolean
  readonly warnings: readonly BackupWarning[]
}

/**
 * Makes a backup of one version: encrypts to all recipients, writes `NAME.vN.ID.asc` (0600, durable), reads it
 * back, opens what was read with every private key at hand, then writes the signed manifest. Without a private
 * key here it stays `untested` until somebody confirms it. The caller holds the lock of the home.
 * @throws KvxError BACKUP_UNUSABLE, READ_BACK_FAILED, RECIPIENT_UNUSABLE, or of the files: nothing is left then
 */
export async function createBackup(request: BackupRequest): Promise<CreatedBackup> {
  if (!isKeyName(request.name) || !Number.isSafeInteger(request.version) || request.version < 1) {
    throw new KvxError(
      'USAGE',
      'a backup needs a key name of letters, digits, `.`, `_`, `-`, and a version from 1',
    )
  }
  const receipt = makeReceipt()
  const created = isoNow()
  const sealed = await seal(request, { receipt, created })
  const manifest = firstManifest(request, { receipt, created, sealed })
  const path = join(request.directory, manifest.file)
  await makeDirectory(request.directory, 0o700)
  await createFile(path, sealed, { mode: 0o600 })
  try {
    const proof = await proveOpens(await readBack(path, sealed), manifest, request)
    const backup = await writeManifest(request.directory, withProof(manifest, proof), request.signer)
    return { backup, tested: proof.openedWith.length > 0, warnings: untestedWarning(backup, proof) }
  } catch (error) {
    await removeFile(path).catch(() => undefined)
    throw error
  }
}

type Fresh = { readonly receipt: string; readonly created: string }

async function seal(request: BackupRequest, fresh: Fresh): Promise<Uint8Array> {
  const { name, version, purpose, material } = request
  const text = encodeBackupText({ name, version, purpose, material, ...fresh })
  try {
    return await encryptToRecipients(text, request.recipients)
  } finally {
    text.fill(0)
  }
}

function firstManifest(
  request: BackupRequest,
  fresh: Fresh & { readonly sealed: Uint8Array },
): BackupManifest {
  const { name, version, purpose, kvxVersion } = request
  const id = makeBackupId()
  const fingerprint = fingerprintOf(request.material)
  return {
    schema: manifestSchema,
    id,
    name,
    version,
    purpose,
    fingerprint,
    checkValue: checkValueOf(fingerprint),
    created: fresh.created,
    file: `${backupStem({ name, version, id })}.asc`,
    sha256: sha256Hex(fresh.sealed),
    recipients: request.recipients.map(({ fingerprint, userId, subkey, expires }) => {
      return { fingerprint, userId, subkey, expires }
    }),
    receiptSha256: receiptDigest(fresh.receipt),
    state: 'untested',
    testedAt: null,
    testedWith: [],
    confirmedAt: null,
    confirmedBy: null,
    kvxVersion,
    auditKeyFingerprint: request.signer.publicKeyFingerprint,
  }
}

async function readBack(path: string, sealed: Uint8Array): Promise<Uint8Array> {
  const bytes = await readBackup(path)
  if (bytes.equals(sealed)) return bytes
  throw new KvxError('READ_BACK_FAILED', `${shownPath(path)} does not hold what was written`, {
    hint: 'look at `dmesg | tail` and at the disk',
  })
}

/** The manifest after a test: `tested`, unless somebody confirmed it already; unchanged where nothing opened it. */
export function withProof(manifest: BackupManifest, proof: Proof): BackupManifest {
  if (proof.openedWith.length === 0) return manifest
  const state = manifest.state === 'confirmed' ? 'confirmed' : 'tested'
  return { ...manifest, state, testedAt: isoNow(), testedWith: proof.openedWith }
}

function untestedWarning({ manifest, path }: StoredBackup, proof: Proof): BackupWarning[] {
  if (proof.why === undefined) return []
  return [
    {
      code: 'BACKUP_UNTESTED',
      message:
        `backup ${manifest.id} was not opened: ${proof.why.message}. A recipient runs ` +
        `\`${receiptCommand(path)}\` and reads the code back: \`kvx backup confirm ${manifest.id}\``,
    },
  ]
}

/** What a recipient runs, on any machine, to read the receipt without seeing the key. */
export function receiptCommand(path: string): string {
  return `gpg --decrypt ${quotedPath(path)} | grep ^receipt:`
}
