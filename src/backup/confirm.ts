import { dirname } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { isoNow } from '../platform/clock.ts'
import { findBackup, type StoredBackup, verifyBackup, writeManifest } from './backups.ts'
import { isReceiptOf } from './codes.ts'
import { receiptCommand, withProof } from './create.ts'
import { type GpgOptions, readBackup } from './gpg.ts'
import type { Signer, Verifier } from './manifest.ts'
import { proveOpens } from './prove.ts'

/** Where the backups lie, and the audit key that signs their state. */
export type BackupHome = {
  readonly directory: string
  readonly signer: Signer
  readonly verify: Verifier
  /** Look, and write nothing. */
  readonly dryRun?: boolean
}

/**
 * Opens a backup with the private keys at hand and records it as tested. The caller holds the lock of the home.
 * @throws KvxError BACKUP_UNKNOWN, DAMAGED (file or manifest changed), BACKUP_UNUSABLE; WRONG_KEY when no
 * private key here opens it, NO_TERMINAL when it is locked, TOOL_MISSING, TOOL_FAILED
 */
export async function testBackup(
  home: BackupHome,
  id: string,
  options: GpgOptions = {},
): Promise<StoredBackup> {
  const backup = await findUnchanged(home, id)
  const proof = await proveOpens(await readBackup(backup.path), backup.manifest, options)
  if (proof.why !== undefined) {
    throw new KvxError(proof.why.code, `backup ${backup.manifest.id} was not opened: ${proof.why.message}`, {
      hint: `let a recipient run \`${receiptCommand(backup.path)}\`, then \`kvx backup confirm ${backup.manifest.id}\``,
    })
  }
  return await writeManifest(dirname(backup.path), withProof(backup.manifest, proof), home.signer)
}

/**
 * Records that a recipient opened a backup elsewhere and read its receipt back. Case, dashes, spaces and the
 * usual mix-ups (O and 0, I, L and 1) do not matter. The caller holds the lock of the home.
 * @throws KvxError FINGERPRINT_DIFFERS for the code of another backup; USAGE for something that is no code;
 * BACKUP_UNKNOWN, DAMAGED
 */
export async function confirmBackup(
  home: BackupHome,
  id: string,
  answer: { readonly code: string; readonly by: string },
): Promise<StoredBackup> {
  const backup = await findUnchanged(home, id)
  const { manifest } = backup
  if (!isReceiptOf(answer.code, manifest.receiptSha256)) {
    throw new KvxError('FINGERPRINT_DIFFERS', `the code is not the receipt of backup ${manifest.id}`, {
      hint: `have it read again: \`${receiptCommand(backup.path)}\``,
    })
  }
  const by = answer.by.replaceAll(/\p{Cc}/gu, '?').slice(0, 200)
  const confirmed = { ...manifest, state: 'confirmed', confirmedAt: isoNow(), confirmedBy: by } as const
  if (home.dryRun === true) return { ...backup, manifest: confirmed }
  return await writeManifest(dirname(backup.path), confirmed, home.signer)
}

/** A new state is signed only over a manifest and a file that nobody changed. */
async function findUnchanged(home: BackupHome, id: string): Promise<StoredBackup> {
  const backup = await findBackup(home.directory, id)
  const { problems } = await verifyBackup(backup, home.verify)
  const [first] = problems
  if (first === undefined) return backup
  throw new KvxError('DAMAGED', first.message, {
    hint: `make a new one: \`kvx backup create ${backup.manifest.name}\``,
    details: { problem: first.code },
  })
}
