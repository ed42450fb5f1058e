import { withIntent } from '../audit/with-intent.ts'
import type { BackupWarning } from '../backup/errors.ts'
import { createBackup, type CreatedBackup } from '../backup/create.ts'
import { resolveRecipients, type Recipient } from '../backup/recipients.ts'
import { KvxError } from '../core/errors.ts'
import { kvxVersion } from '../version.ts'
import { keyOf, readKeyring, refreshCopy, versionOf } from './keyring.ts'
import { loadMaterial } from './material.ts'
import type { Workspace } from './workspace.ts'

export type BackupOfKey = {
  readonly recipients: readonly Recipient[]
  readonly warnings: readonly BackupWarning[]
  /** Undefined for a dry run. */
  readonly created: CreatedBackup | undefined
}

/**
 * Makes one OpenPGP backup of a version into the home and tests it with the gpg at hand.
 * @throws RECIPIENT_UNUSABLE, KEY_UNKNOWN, VERSION_UNKNOWN, BACKUP_UNUSABLE, TOOL_MISSING
 */
export async function createBackupOf(
  workspace: Workspace,
  request: {
    readonly name: string
    /** The version that seals when undefined. */
    readonly version: number | undefined
    readonly recipients: readonly string[]
    readonly keyFiles?: readonly string[]
    readonly dryRun?: boolean
  },
): Promise<BackupOfKey> {
  const { name } = request
  const key = keyOf(await readKeyring(workspace.home), name)
  const version = request.version ?? key.seals
  if (version === null) {
    throw new KvxError('STATE_TRANSITION', `no version of ${name} is active`, {
      hint: `Name one: \`kvx backup create ${name}@1\`.`,
    })
  }
  const record = versionOf(key, name, version)
  const fingerprints = request.recipients.length > 0 ? request.recipients : configured(workspace, name)
  const { recipients, warnings } = await resolveRecipients(fingerprints, { keyFiles: request.keyFiles ?? [] })
  if (request.dryRun === true) return { recipients, warnings, created: undefined }
  const material = await loadMaterial(workspace.home, name, version, record)
  const intent = {
    action: 'backup.create',
    subject: `${name}@${version}`,
    data: { recipientFingerprints: recipients.map(({ fingerprint }) => fingerprint) },
  }
  try {
    const created = await withIntent(workspace.audit, intent, async (conclusion) => {
      const made = await createBackup({
        name,
        version,
        purpose: key.purpose,
        material,
        recipients,
        signer: workspace.signer,
        directory: workspace.home.backups,
        kvxVersion,
      })
      conclusion.conclude({ backup: made.backup.manifest.id, tested: made.tested })
      return made
    })
    await refreshCopy(workspace.home)
    return { recipients, warnings, created }
  } finally {
    material.wipe()
  }
}

function configured(workspace: Workspace, name: string): readonly string[] {
  const recipients = workspace.config.keys[name]?.backup?.recipients
  if (recipients !== undefined) return recipients
  throw new KvxError('USAGE', `the configuration names no backup recipients for ${name}`, {
    hint: 'Add `backup: { recipients: [FINGERPRINT] }` to the key, or give `--recipient FINGERPRINT`.',
  })
}
