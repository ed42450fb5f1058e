import { dirname, join } from 'node:path'
import { sharesFolder } from '../backup/shares/share-sets.ts'
import { signDocument, verifyDocument } from '../audit/signed-document.ts'
import type { Signer } from '../audit/signer.ts'
import { readPublicKeys } from '../audit/audit-key.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import { encodePublicKeyPem } from '../core/signature.ts'
import { exists, listDirectory, makeDirectory, readFileCapped } from '../platform/files.ts'
import { isoNow } from '../platform/clock.ts'
import { notice } from '../platform/notices.ts'
import { writeState } from '../platform/state-file.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'
import { kvxVersion } from '../version.ts'
import { createHome, refuseExistingHome } from './init-home.ts'
import { drillsFolder, type Home } from './home.ts'
import { encodeKeyring, type Keyring, parseKeyring } from './keyring-file.ts'
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
  /** `places.json` as it is; missing where nothing was counted yet, and in copies of before it was kept. */
  readonly places?: string
  readonly config: { readonly path: string; readonly text: string }
  /** Files of `backups/` by their path in it; ASCII armor and JSON. */
  readonly backups: Readonly<Record<string, string>>
  readonly auditKeys: readonly string[]
  /** Those public keys in PEM, to verify what the home signed. */
  readonly auditPublicKeys: string
}

const maxBackupBytes = 256 * 1_048_576
const maxFileBytes = 1_048_576
const maxPlacesBytes = 16 * 1_048_576

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
    ...(await placesFile(home)),
    config: { path: config.path, text: bytes.toString('utf8') },
    backups,
    auditKeys: publicKeys.map(({ fingerprint }) => fingerprint),
    auditPublicKeys: publicKeys.map(({ raw }) => encodePublicKeyPem(raw)).join(''),
  }
  await writeState(path, Buffer.from(`${JSON.stringify(signDocument(document, signer), null, 1)}\n`))
  return { keys: Object.keys(ring.keys).length, backups: Object.keys(backups).length }
}

async function placesFile(home: Home): Promise<Pick<HomeBackup, 'places'>> {
  if (!(await exists(home.places))) return {}
  const { bytes } = await readFileCapped(home.places, { maxBytes: maxPlacesBytes })
  return { places: bytes.toString('utf8') }
}

/** A file of `backups/`, of one share set in it, or a report of a drill. */
const backupName = /^(shares\/[A-Za-z0-9][A-Za-z0-9._-]*\/|drills\/)?[A-Za-z0-9][A-Za-z0-9._-]*\.(asc|json)$/

async function backupFiles(home: Home): Promise<Record<string, string>> {
  const shares = sharesFolder(home.backups)
  const sets = (await exists(shares)) ? await listDirectory(shares) : []
  const names = [...(await listDirectory(home.backups))]
  for (const set of sets) {
    for (const file of await listDirectory(join(shares, set))) names.push(`shares/${set}/${file}`)
  }
  const drills = drillsFolder(home)
  for (const file of (await exists(drills)) ? await listDirectory(drills) : []) names.push(`drills/${file}`)
  const files: Record<string, string> = {}
  for (const name of names.filter((name) => backupName.test(name))) {
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

/** A copy that was read: its signature is right, whoever's it is. */
export type HomeCopy = {
  readonly backup: HomeBackup
  readonly ring: Keyring
  /** The audit key that signed it. */
  readonly signedBy: string
  /** Whether somebody said that this is the right audit key. */
  readonly proven: boolean
}

/**
 * Reads and verifies a copy; writes nothing.
 * @param expectAudit fingerprint of the audit key that signed it, known from elsewhere
 * @throws DAMAGED when the copy was changed, FINGERPRINT_DIFFERS, KEYRING_DAMAGED
 */
export async function readHomeCopy(file: string, expectAudit: string | undefined): Promise<HomeCopy> {
  const { bytes } = await readFileCapped(file, { maxBytes: maxBackupBytes })
  const verified = verifyDocument(parseJson(file, bytes), normalFingerprint(expectAudit))
  const backup = verified.document as unknown as HomeBackup
  if (backup.schema !== 'kvx.home-backup/1') throw noHomeBackup(file)
  const ring = parseKeyring(file, Buffer.from(JSON.stringify(backup.keyring)))
  return { backup, ring, signedBy: verified.publicKeyFingerprint, proven: verified.proven }
}

function normalFingerprint(typed: string | undefined): string | undefined {
  const digits = typed?.replaceAll(/[\s:]/g, '').toLowerCase()
  if (digits === undefined || /^[0-9a-f]{64}$/.test(digits)) return digits
  throw new KvxError('USAGE', 'the expected fingerprint is not 64 hex digits', {
    hint: 'It is that of the audit key: `kvx init`, `kvx backup home` and every report print it.',
  })
}

/**
 * Makes a home from a copy: configuration where there is none, backups, a new audit key whose first entry names
 * the old one, and last the keyring. May be repeated after a crash. Keys come back from their backups afterwards,
 * each proven by the keyring's fingerprint.
 * @throws HOME_EXISTS, UNSAFE_DIRECTORY
 */
export async function restoreHome(
  copy: HomeCopy,
  target: { readonly home: string; readonly config: string },
): Promise<RestoredHome> {
  const { backup, ring } = copy
  await refuseExistingHome(target.home)
  await checkDirectoryTrust(dirname(target.config))
  const configWritten = !(await exists(target.config))
  if (configWritten) await writeState(target.config, Buffer.from(backup.config.text))
  const { home, auditFingerprint } = await createHome(target.home, {
    priorAuditKeys: backup.auditKeys,
    fill: async (made) => {
      if (copy.proven) await trustAuditKeys(made, backup.auditPublicKeys)
      await writeBackups(made, backup.backups)
      if (backup.places !== undefined) await writeState(made.places, Buffer.from(backup.places))
    },
    keyring: encodeKeyring({ ...ring, generation: ring.generation + 1 }),
  })
  return {
    home: home.path,
    auditFingerprint,
    configWritten,
    missing: missingKeys(ring, backup),
    warnings: [
      ...(copy.proven ? [] : [unproven(copy.signedBy)]),
      ...(configWritten && target.config !== backup.config.path ? [moved(backup.config.path)] : []),
    ],
  }
}

function unproven(signedBy: string): RestoredHome['warnings'][number] {
  return {
    code: 'UNPROVEN',
    message: `the copy is whole and was signed by the audit key ${signedBy}; nothing says that this is yours: compare it with a card or a report, or give it with \`--expect-fingerprint\``,
  }
}

function moved(from: string): RestoredHome['warnings'][number] {
  return {
    code: 'CONFIG_MOVED',
    message: `the configuration was at ${from}: paths in it that do not begin with / are counted from its new place`,
  }
}

async function writeBackups(home: Home, files: HomeBackup['backups']): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    if (!backupName.test(name)) continue
    const path = join(home.backups, name)
    if (name.startsWith('shares/')) await makeDirectory(sharesFolder(home.backups), 0o700)
    if (name.includes('/')) await makeDirectory(dirname(path), 0o700)
    await writeState(path, Buffer.from(text))
  }
}

/** What the old home signed goes on counting, once somebody said that its audit key is the right one. */
async function trustAuditKeys(home: Home, pem: string): Promise<void> {
  const path = join(home.audit, 'audit.pub')
  const { bytes } = await readFileCapped(path, { maxBytes: maxFileBytes })
  if (bytes.includes(pem)) return
  await writeState(path, Buffer.concat([bytes, Buffer.from(pem)]))
}

function missingKeys(ring: ReturnType<typeof parseKeyring>, backup: HomeBackup): RestoredHome['missing'] {
  const names = Object.keys(backup.backups)
  return Object.entries(ring.keys).flatMap(([name, key]) =>
    versionsOf(key)
      .filter(([, record]) => record.fingerprint !== null && record.state !== 'destroyed')
      .map(([version]) => ({
        subject: `${name}@${version}`,
        backup: bestOf(
          names.filter((file) => file.startsWith(`${name}.v${version}.`) && file.endsWith('.asc')),
          backup,
        ),
      })),
  )
}

/** A backup that was proven to open, else any. */
function bestOf(files: readonly string[], { backups }: HomeBackup): string | undefined {
  const isProven = (file: string): boolean =>
    !/"state":\s*"untested"/.test(backups[file.replace(/\.asc$/, '.json')] ?? '"state":"untested"')
  return files.find(isProven) ?? files[0]
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
