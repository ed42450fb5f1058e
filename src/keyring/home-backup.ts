import { join } from 'node:path'
import { signDocument, verifyDocument } from '../audit/signed-document.ts'
import type { Signer } from '../audit/signer.ts'
import { readPublicKeys } from '../audit/audit-key.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import { encodePublicKeyPem } from '../core/signature.ts'
import { exists, listDirectory, readFileCapped } from '../platform/files.ts'
import { isoNow } from '../platform/clock.ts'
import { notice } from '../platform/notices.ts'
import { writeState } from '../platform/state-file.ts'
import { kvxVersion } from '../version.ts'
import { createHome } from './init-home.ts'
import type { Home } from './home.ts'
import { encodeKeyring, parseKeyring } from './keyring-file.ts'
import { readKeyring, versionsOf } from './keyring.ts'

/**
 * The copy of a home that survives it: one signed JSON file with the keyring, the configuration, and the backups
 * of keys as they are, which is encrypted to their recipients. It holds no key in the clear.
 */
export type HomeBackup = {
  readonly schema: 'kvx.home-backup/1'
  readonly at: string
  readonly kvxVersion: string
  readonly keyring: unknown
  readonly config: { readonly path: string; readonly text: string }
  /** Files of `backups/` by name; ASCII armor and JSON. */
  readonly backups: Readonly<Record<string, string>>
  readonly auditKeys: readonly string[]
  /** Those public keys in PEM, to verify what the home signed. */
  readonly auditPublicKeys: string
}

const maxBackupBytes = 256 * 1_048_576
const maxFileBytes = 1_048_576

/** Writes the copy, durable when this returns. */
export async function backUpHome(
  home: Home,
  config: { readonly path: string },
  signer: Signer,
  path: string,
): Promise<{ readonly keys: number; readonly backups: number }> {
  const ring = await readKeyring(home)
  const { bytes } = await readFileCapped(config.path, { maxBytes: maxFileBytes, follow: true })
  const backups = await backupFiles(home)
  const publicKeys = await readPublicKeys(home.audit)
  const document: HomeBackup = {
    schema: 'kvx.home-backup/1',
    at: isoNow(),
    kvxVersion,
    keyring: ring,
    config: { path: config.path, text: bytes.toString('utf8') },
    backups,
    auditKeys: publicKeys.map(({ fingerprint }) => fingerprint),
    auditPublicKeys: publicKeys.map(({ raw }) => encodePublicKeyPem(raw)).join(''),
  }
  await writeState(path, Buffer.from(`${JSON.stringify(signDocument(document, signer), null, 1)}\n`))
  return { keys: Object.keys(ring.keys).length, backups: Object.keys(backups).length }
}

async function backupFiles(home: Home): Promise<Record<string, string>> {
  const files: Record<string, string> = {}
  for (const name of await listDirectory(home.backups)) {
    if (!/\.(asc|json)$/.test(name)) continue
    const { bytes } = await readFileCapped(join(home.backups, name), { maxBytes: maxFileBytes })
    files[name] = bytes.toString('utf8')
  }
  return files
}

/** The home with a copy that follows each change. A copy that can't be written is told, and stops nothing. */
export function withMirror(
  home: Home,
  config: { readonly path: string; readonly homeBackup: string | undefined },
  signer: Signer,
): Home {
  const { homeBackup } = config
  if (homeBackup === undefined) return home
  return {
    ...home,
    afterChange: async () => {
      try {
        await backUpHome(home, config, signer, homeBackup)
      } catch (error) {
        if (!isKvxError(error)) throw error
        notice(
          'HOME_BACKUP_FAILED',
          `the copy of the keyring at ${homeBackup} could not be written: ${error.message}; mend it, then \`kvx backup home\``,
        )
      }
    },
  }
}

export type RestoredHome = {
  readonly home: string
  readonly auditFingerprint: string
  /** Versions whose key files must still be brought back, with the backup that holds each. */
  readonly missing: readonly { readonly subject: string; readonly backup: string | undefined }[]
  readonly configWritten: boolean
  readonly warnings: readonly { readonly code: string; readonly message: string }[]
}

/**
 * Makes a home from such a copy: keyring, backups, a new audit key whose first entry names the old one. Keys come
 * back from their backups afterwards, each proven by the keyring's fingerprint.
 * @param expectAudit fingerprint of the audit key that signed it, known from elsewhere
 * @throws HOME_EXISTS, DAMAGED when the copy was changed, FINGERPRINT_DIFFERS
 */
export async function restoreHome(
  file: string,
  target: { readonly home: string; readonly config: string },
  expectAudit: string | undefined,
): Promise<RestoredHome> {
  const { bytes } = await readFileCapped(file, { maxBytes: maxBackupBytes })
  const verified = verifyDocument(parseJson(file, bytes), expectAudit)
  const backup = verified.document as unknown as HomeBackup
  if (backup.schema !== 'kvx.home-backup/1') throw noHomeBackup(file)
  const ring = parseKeyring(file, Buffer.from(JSON.stringify(backup.keyring)))
  const { home, auditFingerprint } = await createHome(target.home, {
    priorAuditKeys: backup.auditKeys,
    fill: async (made) => {
      if (verified.proven) await trustAuditKeys(made, backup.auditPublicKeys)
      for (const [name, text] of Object.entries(backup.backups)) {
        if (/^[A-Za-z0-9._-]+\.(asc|json)$/.test(name))
          await writeState(join(made.backups, name), Buffer.from(text))
      }
    },
    keyring: encodeKeyring({ ...ring, generation: ring.generation + 1 }),
  })
  const configWritten = !(await exists(target.config))
  if (configWritten) await writeState(target.config, Buffer.from(backup.config.text))
  return {
    home: home.path,
    auditFingerprint,
    configWritten,
    missing: missingKeys(ring, backup),
    warnings: verified.proven
      ? []
      : [
          {
            code: 'UNPROVEN',
            message: `the copy is whole and was signed by the audit key ${verified.publicKeyFingerprint}; compare it with a card or a report, or give it with \`--expect-fingerprint\``,
          },
        ],
  }
}

/** What the old home signed goes on counting, once somebody said that its audit key is the right one. */
async function trustAuditKeys(home: Home, pem: string): Promise<void> {
  const path = join(home.audit, 'audit.pub')
  const { bytes } = await readFileCapped(path, { maxBytes: maxFileBytes })
  await writeState(path, Buffer.concat([bytes, Buffer.from(pem)]))
}

function missingKeys(ring: ReturnType<typeof parseKeyring>, backup: HomeBackup): RestoredHome['missing'] {
  const names = Object.keys(backup.backups)
  return Object.entries(ring.keys).flatMap(([name, key]) =>
    versionsOf(key)
      .filter(([, record]) => record.fingerprint !== null && record.state !== 'destroyed')
      .map(([version]) => ({
        subject: `${name}@${version}`,
        backup: names.find((file) => file.startsWith(`${name}.v${version}.`) && file.endsWith('.asc')),
      })),
  )
}

function parseJson(file: string, bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    throw noHomeBackup(file)
  }
}

function noHomeBackup(file: string): KvxError {
  return new KvxError('DAMAGED', `${file} is no copy of a home`, {
    hint: 'Such a copy is made by `kvx backup home`.',
  })
}
