import { KvxError, isKvxError } from '../core/errors.ts'
import { checkValueOf } from '../core/fingerprint.ts'
import { shownPath } from '../platform/file-errors.ts'
import { readManifest, sha256Hex } from './backups.ts'
import type { BackupWarning } from './errors.ts'
import { decryptWithGpg, type GpgOptions, readBackup } from './gpg.ts'
import { type BackupManifest, type Verifier, verifyManifest } from './manifest.ts'
import { type BackupText, parseBackupText } from './plaintext.ts'

export type OpenOptions = GpgOptions & {
  /** The fingerprint that a person gave: 64 hex digits. */
  readonly expectFingerprint?: string
  /** The fingerprint that the keyring has for this version. */
  readonly knownFingerprint?: string
  /** The manifest; beside the file with the ending `.json` unless told. */
  readonly manifestPath?: string
  readonly verify?: Verifier
}

export type OpenedBackup = BackupText & {
  readonly checkValue: string
  /** Fingerprint of the subkey that opened it. */
  readonly keyFingerprint: string
  /** Whether something besides the file itself says that this is the key. */
  readonly proven: boolean
  readonly provenBy: 'expected' | 'keyring' | 'manifest' | undefined
  readonly warnings: readonly BackupWarning[]
}

/**
 * Opens a backup and compares the key with what is known of it. Writes nothing; `material` is the caller's to
 * wipe. Anyone can encrypt to a public key, so only a fingerprint from elsewhere proves the key: one that was
 * given, the keyring's, or that of a manifest signed by a known key. A missing, unsigned or foreign manifest is
 * a warning and leaves `proven: false`; it never refuses.
 * @throws KvxError FINGERPRINT_DIFFERS; USAGE for an expected fingerprint that is none; otherwise as
 * `decryptWithGpg` and `parseBackupText`
 */
export async function openBackup(file: string, options: OpenOptions = {}): Promise<OpenedBackup> {
  const given = normalFingerprint(options.expectFingerprint)
  const bytes = await readBackup(file)
  const beside = await manifestBeside(options.manifestPath ?? manifestPathOf(file), options.verify)
  const opened = await decryptWithGpg(bytes, options)
  let text: BackupText
  try {
    text = opened.plaintext.lend((plaintext) => parseBackupText(plaintext))
  } finally {
    opened.plaintext.wipe()
  }
  const warnings = [...beside.warnings, ...manifestDifferences(beside.manifest, text, bytes)]
  const sources: Known[] = [
    { by: 'expected', fingerprint: given, proves: true },
    { by: 'keyring', fingerprint: options.knownFingerprint, proves: true },
    { by: 'manifest', fingerprint: beside.manifest?.fingerprint, proves: beside.isSigned },
  ]
  const decisive = sources.find((source) => source.fingerprint !== undefined)
  if (decisive?.fingerprint !== undefined && decisive.fingerprint !== text.fingerprint) {
    text.material.wipe()
    throw differs(text, decisive.fingerprint, decisive.by)
  }
  const provenBy = decisive?.proves === true ? decisive.by : undefined
  return {
    ...text,
    checkValue: checkValueOf(text.fingerprint),
    keyFingerprint: opened.keyFingerprint,
    proven: provenBy !== undefined,
    provenBy,
    warnings,
  }
}

type Known = {
  readonly by: 'expected' | 'keyring' | 'manifest'
  readonly fingerprint: string | undefined
  readonly proves: boolean
}

type Beside = {
  readonly manifest: BackupManifest | undefined
  readonly isSigned: boolean
  readonly warnings: readonly BackupWarning[]
}

function manifestPathOf(file: string): string {
  return `${file.replace(/\.(asc|gpg|pgp)$/, '')}.json`
}

function withoutManifest(code: string, message: string): Beside {
  return { manifest: undefined, isSigned: false, warnings: [{ code, message }] }
}

/** A manifest whose signature is wrong says nothing at all: what stands in it is not used. */
async function manifestBeside(path: string, verify: Verifier | undefined): Promise<Beside> {
  try {
    const signed = await readManifest(path)
    const verdict = verifyManifest(signed, verify)
    if (verdict === 'valid') return { manifest: signed.manifest, isSigned: true, warnings: [] }
    if (verdict === 'invalid') {
      return withoutManifest(
        'MANIFEST_INVALID',
        `the manifest ${shownPath(path)} was changed after it was signed`,
      )
    }
    const why = verdict === 'unsigned' ? 'is not signed' : 'is signed by a key that is not known here'
    const warning = {
      code: `MANIFEST_${verdict.toUpperCase()}`,
      message: `the manifest ${shownPath(path)} ${why}`,
    }
    return { manifest: signed.manifest, isSigned: false, warnings: [warning] }
  } catch (error) {
    if (!isKvxError(error)) throw error
    if (error.code === 'FILE_NOT_FOUND') {
      return withoutManifest('MANIFEST_MISSING', `there is no manifest ${shownPath(path)}`)
    }
    return withoutManifest('MANIFEST_DAMAGED', error.message)
  }
}

function manifestDifferences(
  manifest: BackupManifest | undefined,
  text: BackupText,
  bytes: Uint8Array,
): BackupWarning[] {
  if (manifest === undefined) return []
  const warnings: BackupWarning[] = []
  const warn = (code: string, message: string): number => warnings.push({ code, message })
  if (sha256Hex(bytes) !== manifest.sha256)
    warn('FILE_DIFFERS', 'the file is not the one that the manifest describes')
  if (text.fingerprint !== manifest.fingerprint) {
    warn('MANIFEST_DIFFERS', `the manifest names a key with the check value ${manifest.checkValue}`)
  }
  if (text.name !== manifest.name || text.version !== manifest.version) {
    const [inside, outside] = [text, manifest].map(({ name, version }) => `${name}@${version}`)
    warn('NAME_DIFFERS', `the backup says ${inside ?? ''}, the manifest says ${outside ?? ''}`)
  }
  return warnings
}

function normalFingerprint(typed: string | undefined): string | undefined {
  if (typed === undefined) return undefined
  const digits = typed.replaceAll(/[\s:]/g, '').toLowerCase()
  if (/^[0-9a-f]{64}$/.test(digits)) return digits
  throw new KvxError('USAGE', 'the expected fingerprint is not 64 hex digits', {
    hint: 'the 10 digits of a check value are not enough; the manifest and `kvx key show` have the whole',
  })
}

function differs(text: BackupText, expected: string, by: Known['by']): KvxError {
  const source = {
    expected: 'was expected',
    keyring: 'is what the keyring has',
    manifest: 'is what its manifest says',
  }
  const [found, wanted] = [checkValueOf(text.fingerprint), checkValueOf(expected)]
  return new KvxError(
    'FINGERPRINT_DIFFERS',
    `the backup opens, but its key is another one: check value ${found}, while ${wanted} ${source[by]}`,
    {
      hint: 'take the backup of the right version: `kvx backup list`; nothing was written',
      details: { found: text.fingerprint, expected, expectedBy: by },
    },
  )
}
