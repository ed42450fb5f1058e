import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { isKvxError, KvxError } from '../core/errors.ts'
import { now } from '../platform/clock.ts'
import { exists, listDirectory, readFileCapped } from '../platform/files.ts'
import { shownPath } from '../platform/file-errors.ts'
import { writeState } from '../platform/state-file.ts'
import { normalBackupId } from './codes.ts'
import type { BackupWarning } from './errors.ts'
import { readBackup } from './gpg.ts'
import {
  type BackupManifest,
  encodeManifest,
  parseManifest,
  type SignatureVerdict,
  type SignedManifest,
  type Signer,
  type Verifier,
  verifyManifest,
} from './manifest.ts'

/** One backup of a home: the encrypted file `NAME.vN.ID.asc` and beside it the manifest `NAME.vN.ID.json`. */
export type StoredBackup = SignedManifest & { readonly path: string; readonly manifestPath: string }

export type BackupCheck = {
  /** True when the file is there, its digest is right and the manifest is signed by a known key. */
  readonly ok: boolean
  readonly fileIsRight: boolean
  readonly signature: SignatureVerdict
  readonly problems: readonly BackupWarning[]
  /** Keys of recipients that expired or expire within a year. An expired key still opens. */
  readonly warnings: readonly BackupWarning[]
}

export type BackupList = {
  /** Oldest first. */
  readonly backups: readonly StoredBackup[]
  /** Files that are no backup: manifests that cannot be read, encrypted files without a manifest. */
  readonly problems: readonly BackupWarning[]
}

const maxManifest = 256 * 1024

/** `NAME.vN.ID`, the common part of the two file names. */
export function backupStem(manifest: Pick<BackupManifest, 'name' | 'version' | 'id'>): string {
  return `${manifest.name}.v${manifest.version}.${manifest.id}`
}

/** SHA-256 as lower-case hex. */
export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** All backups of a directory; none where it does not exist. Nothing in it is skipped in silence. */
export async function listBackups(directory: string): Promise<BackupList> {
  if (!(await exists(directory))) return { backups: [], problems: [] }
  const names = await listDirectory(directory)
  const backups: StoredBackup[] = []
  const problems: BackupWarning[] = []
  for (const name of names.filter((name) => name.endsWith('.json'))) {
    try {
      backups.push(await readStored(directory, name))
    } catch (error) {
      if (!isKvxError(error)) throw error
      problems.push({ code: error.code, message: error.message })
    }
  }
  for (const name of names.filter((name) => name.endsWith('.asc'))) {
    if (names.includes(`${name.slice(0, -4)}.json`)) continue
    const path = shownPath(join(directory, name))
    problems.push({ code: 'MANIFEST_MISSING', message: `${path} has no manifest: it counts for nothing` })
  }
  return { backups: backups.sort(byAge), problems }
}

function byAge(one: StoredBackup, other: StoredBackup): number {
  const [left, right] = [one, other].map(({ manifest }) => `${manifest.created} ${manifest.id}`)
  return (left ?? '') < (right ?? '') ? -1 : 1
}

async function readStored(directory: string, name: string): Promise<StoredBackup> {
  const manifestPath = join(directory, name)
  const signed = await readManifest(manifestPath)
  if (name !== `${backupStem(signed.manifest)}.json` || signed.manifest.file !== `${name.slice(0, -5)}.asc`) {
    throw new KvxError('DAMAGED', `the manifest ${shownPath(manifestPath)} is that of another backup`)
  }
  return { ...signed, path: join(directory, signed.manifest.file), manifestPath }
}

/** @throws KvxError FILE_NOT_FOUND, DAMAGED */
export async function readManifest(path: string): Promise<SignedManifest> {
  const { bytes } = await readFileCapped(path, { maxBytes: maxManifest })
  return parseManifest(bytes, shownPath(path))
}

/**
 * The backup of an id, which may be typed in any case.
 * @throws KvxError BACKUP_UNKNOWN; DAMAGED when the manifest of this id cannot be read
 */
export async function findBackup(directory: string, id: string): Promise<StoredBackup> {
  const wanted = normalBackupId(id)
  const { backups } = await listBackups(directory)
  const found = backups.find(({ manifest }) => manifest.id === wanted)
  if (found !== undefined) return found
  const names = (await exists(directory)) ? await listDirectory(directory) : []
  const unread = names.find((name) => name.endsWith(`.${wanted}.json`))
  if (unread !== undefined) await readStored(directory, unread)
  throw new KvxError(
    'BACKUP_UNKNOWN',
    `there is no backup ${wanted.replaceAll(/[^0-9A-Z]/g, '?').slice(0, 40)}`,
    {
      hint: 'see the ids with `kvx backup list`',
    },
  )
}

/** Signs and writes a manifest, new or in place of the old one, durably. */
export async function writeManifest(
  directory: string,
  manifest: BackupManifest,
  signer: Signer,
): Promise<StoredBackup> {
  const bytes = encodeManifest(manifest, signer)
  const manifestPath = join(directory, `${backupStem(manifest)}.json`)
  await writeState(manifestPath, bytes)
  return {
    ...parseManifest(bytes, shownPath(manifestPath)),
    path: join(directory, manifest.file),
    manifestPath,
  }
}

/** Compares one backup with its manifest, and the manifest with its signature. Opens nothing, writes nothing. */
export async function verifyBackup(backup: StoredBackup, verify: Verifier | undefined): Promise<BackupCheck> {
  const signature = verifyManifest(backup, verify)
  const inFile = await fileProblem(backup)
  const problems = [...signatureProblem(backup, signature), ...inFile]
  const fileIsRight = inFile.length === 0
  return { ok: problems.length === 0, fileIsRight, signature, problems, warnings: expiryWarnings(backup) }
}

/**
 * The backups that may open a gate: tested or confirmed, the file present with the right digest, the manifest
 * signed by a known key and for the fingerprint that the keyring has. Without `trust.verify` signatures are not
 * looked at, without `trust.fingerprint` the name and version alone count: a gate gives both.
 */
export async function usableBackups(
  directory: string,
  name: string,
  version: number,
  trust: { readonly fingerprint?: string; readonly verify?: Verifier } = {},
): Promise<readonly StoredBackup[]> {
  const { backups } = await listBackups(directory)
  const usable: StoredBackup[] = []
  for (const backup of backups) {
    const { manifest } = backup
    if (manifest.name !== name || manifest.version !== version || manifest.state === 'untested') continue
    if (trust.fingerprint !== undefined && manifest.fingerprint !== trust.fingerprint) continue
    const check = await verifyBackup(backup, trust.verify)
    if (trust.verify === undefined ? check.fileIsRight : check.ok) usable.push(backup)
  }
  return usable
}

function signatureProblem({ manifest }: StoredBackup, signature: SignatureVerdict): BackupWarning[] {
  const text: Record<Exclude<SignatureVerdict, 'valid'>, string> = {
    invalid: `the manifest of backup ${manifest.id} was changed after it was signed`,
    unknown: `the manifest of backup ${manifest.id} is signed by a key that this home does not know`,
    unsigned: `the manifest of backup ${manifest.id} is not signed`,
  }
  if (signature === 'valid') return []
  return [{ code: `MANIFEST_${signature.toUpperCase()}`, message: text[signature] }]
}

async function fileProblem({ manifest, path }: StoredBackup): Promise<BackupWarning[]> {
  const named = `the file ${manifest.file} of backup ${manifest.id}`
  if (!(await exists(path))) return [{ code: 'FILE_MISSING', message: `${named} is missing` }]
  try {
    if (sha256Hex(await readBackup(path)) === manifest.sha256) return []
  } catch (error) {
    if (!isKvxError(error)) throw error
    return [{ code: error.code, message: error.message }]
  }
  return [{ code: 'FILE_DIFFERS', message: `${named} is not the one that was made: its SHA-256 differs` }]
}

function expiryWarnings({ manifest }: StoredBackup): BackupWarning[] {
  return manifest.recipients.flatMap(({ fingerprint, userId, expires }) => {
    const days =
      expires === null ? Number.POSITIVE_INFINITY : (Date.parse(expires) - now().getTime()) / 86_400_000
    if (days >= 365) return []
    const when =
      days < 0 ? `expired on ${(expires ?? '').slice(0, 10)}` : `expires in ${Math.floor(days)} days`
    return [{ code: 'RECIPIENT_EXPIRES', message: `the recipient ${fingerprint} (${userId}) ${when}` }]
  })
}
