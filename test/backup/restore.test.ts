import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { StoredBackup } from '../../src/backup/backups.ts'
import { createBackup } from '../../src/backup/create.ts'
import { encodeManifest } from '../../src/backup/manifest.ts'
import { encodeBackupText } from '../../src/backup/plaintext.ts'
import { type Recipient, resolveRecipients } from '../../src/backup/recipients.ts'
import { openBackup, type OpenedBackup, type OpenOptions } from '../../src/backup/restore.ts'
import { encryptToRecipients } from '../../src/backup/seal.ts'
import { isKvxError, type KvxError } from '../../src/core/errors.ts'
import { checkValueOf, fingerprintOf } from '../../src/core/fingerprint.ts'
import { Secret } from '../../src/core/secret.ts'
import { GpgHome } from '../support/gpg.ts'
import { makeAuditKey } from './audit-key.ts'

const gpg = new GpgHome()
const empty = new GpgHome()
const audit = makeAuditKey()
const key = randomBytes(32)
const material = Secret.copy(key)
const fingerprint = fingerprintOf(material)
const other = 'ab'.repeat(32)
let recipients: readonly Recipient[] = []
let folder = ''
let backup: StoredBackup

beforeAll(async () => {
  const alice = gpg.makeKey('Alice <alice@example.org>')
  recipients = (await resolveRecipients([alice], { gpgEnv: gpg.env })).recipients
})

beforeEach(async () => {
  if (folder !== '') rmSync(folder, { recursive: true, force: true })
  folder = mkdtempSync(join(tmpdir(), 'kvx-restore-'))
  const request = {
    name: 'master',
    version: 2,
    purpose: 'kek',
    kvxVersion: '1.0.0',
    directory: folder,
  } as const
  const made = await createBackup({ ...request, material, recipients, signer: audit.signer, gpgEnv: gpg.env })
  backup = made.backup
})

afterAll(() => {
  gpg.remove()
  empty.remove()
  rmSync(folder, { recursive: true, force: true })
})

async function open(options: OpenOptions = {}): Promise<OpenedBackup> {
  return await openBackup(backup.path, { gpgEnv: gpg.env, verify: audit.verify, ...options })
}

async function refusal(options: OpenOptions = {}): Promise<KvxError> {
  const error = await open(options).then(
    () => undefined,
    (caught: unknown) => caught,
  )
  if (!isKvxError(error)) throw new Error('it was not refused', { cause: error })
  return error
}

function codesOf(opened: OpenedBackup): string[] {
  return opened.warnings.map((warning) => warning.code)
}

/** A file that a stranger made for the same people, with a key of the stranger's own. */
async function strangersBackup(): Promise<{ readonly bytes: Uint8Array; readonly fingerprint: string }> {
  const own = Secret.copy(randomBytes(32))
  const text = { ...backup.manifest, material: own, receipt: '0000-0000-0000-0000' }
  return {
    bytes: await encryptToRecipients(encodeBackupText(text), recipients),
    fingerprint: fingerprintOf(own),
  }
}

describe('openBackup', () => {
  it('gives the same key, proven by the manifest that this home signed, and writes nothing', async () => {
    const before = readdirSync(folder)
    const opened = await open()
    expect(opened.material.lend((bytes) => bytes.equals(key))).toBe(true)
    expect(opened).toMatchObject({ name: 'master', version: 2, purpose: 'kek', fingerprint, proven: true })
    expect([opened.provenBy, opened.warnings]).toEqual(['manifest', []])
    expect(opened.checkValue).toBe(checkValueOf(fingerprint))
    expect(opened.keyFingerprint).toBe(recipients[0]?.subkey)
    expect(readdirSync(folder)).toEqual(before)
  })

  it('is proven by the fingerprint that was given, in any case and grouping, and by the keyring’s', async () => {
    rmSync(backup.manifestPath)
    const typed = (fingerprint.toUpperCase().match(/.{4}/g) ?? []).join(' ')
    expect(await open({ expectFingerprint: typed })).toMatchObject({ proven: true, provenBy: 'expected' })
    expect(await open({ knownFingerprint: fingerprint })).toMatchObject({ proven: true, provenBy: 'keyring' })
  })

  it('C33 opens without a manifest, with an unsigned, a foreign, a changed or a damaged one, but not as proven', async () => {
    const json = JSON.parse(readFileSync(backup.manifestPath, 'utf8')) as Record<string, unknown>
    const { signature: _, ...unsigned } = json
    const cases: [string, string | Buffer | undefined][] = [
      ['MANIFEST_MISSING', undefined],
      ['MANIFEST_UNSIGNED', JSON.stringify(unsigned)],
      ['MANIFEST_UNKNOWN', encodeManifest(backup.manifest, makeAuditKey().signer)],
      ['MANIFEST_INVALID', JSON.stringify({ ...json, kvxVersion: '9' })],
      ['MANIFEST_DAMAGED', '{'],
    ]
    for (const [code, content] of cases) {
      rmSync(backup.manifestPath, { force: true })
      if (content !== undefined) writeFileSync(backup.manifestPath, content)
      const opened = await open()
      expect([opened.proven, opened.provenBy, codesOf(opened)], code).toEqual([false, undefined, [code]])
      expect(opened.material.lend((bytes) => bytes.equals(key))).toBe(true)
    }
  })

  it('uses nothing of a manifest that was changed after it was signed, so that it can’t block a restore', async () => {
    const changed = {
      ...backup.manifest,
      fingerprint: other,
      checkValue: checkValueOf(other),
      name: 'another',
    }
    const { signature } = JSON.parse(readFileSync(backup.manifestPath, 'utf8')) as { signature: string }
    writeFileSync(backup.manifestPath, JSON.stringify({ ...changed, signature }))
    const opened = await open()
    expect([opened.proven, opened.name, codesOf(opened)]).toEqual([false, 'master', ['MANIFEST_INVALID']])
  })

  it('is not proven by a good signature that nobody here can check', async () => {
    const opened = await openBackup(backup.path, { gpgEnv: gpg.env })
    expect([opened.proven, codesOf(opened)]).toEqual([false, ['MANIFEST_UNKNOWN']])
  })

  it('C24 refuses a key that is not the expected one, the keyring’s or the manifest’s, and says both check values', async () => {
    for (const options of [{ expectFingerprint: other }, { knownFingerprint: other }]) {
      const error = await refusal(options)
      expect([error.code, error.exit]).toEqual(['FINGERPRINT_DIFFERS', 5])
      expect(error.message).toContain(checkValueOf(fingerprint))
      expect(error.message).toContain(checkValueOf(other))
    }
  })

  it('C33 refuses a stranger’s backup for the same people by its fingerprint', async () => {
    const stranger = await strangersBackup()
    writeFileSync(backup.path, stranger.bytes)
    expect((await refusal()).code).toBe('FINGERPRINT_DIFFERS')
    rmSync(backup.manifestPath)
    expect((await refusal({ knownFingerprint: fingerprint })).code).toBe('FINGERPRINT_DIFFERS')
    expect(await open()).toMatchObject({ proven: false, fingerprint: stranger.fingerprint })
  })

  it('does not take the word of a stranger’s manifest, which comes with the stranger’s backup', async () => {
    const stranger = await strangersBackup()
    writeFileSync(backup.path, stranger.bytes)
    const forged = {
      ...backup.manifest,
      ...stranger,
      checkValue: checkValueOf(stranger.fingerprint),
      bytes: undefined,
    }
    const { bytes: _, ...manifest } = forged
    writeFileSync(backup.manifestPath, encodeManifest(manifest, makeAuditKey().signer))
    const opened = await open()
    expect([opened.proven, opened.provenBy]).toEqual([false, undefined])
    expect(codesOf(opened)).toContain('MANIFEST_UNKNOWN')
    expect((await refusal({ knownFingerprint: fingerprint })).code).toBe('FINGERPRINT_DIFFERS')
  })

  it('lets a given fingerprint win over a manifest that says something else, with a warning', async () => {
    const wrong = { ...backup.manifest, fingerprint: other, checkValue: checkValueOf(other), name: 'another' }
    writeFileSync(backup.manifestPath, encodeManifest(wrong, audit.signer))
    expect((await refusal()).code).toBe('FINGERPRINT_DIFFERS')
    const opened = await open({ expectFingerprint: fingerprint })
    expect(opened).toMatchObject({ proven: true, provenBy: 'expected' })
    expect(codesOf(opened)).toEqual(['MANIFEST_DIFFERS', 'NAME_DIFFERS'])
  })

  it('notices a file that is not the one that was made, although it opens', async () => {
    writeFileSync(backup.path, `A mail with a backup:\n\n${readFileSync(backup.path, 'utf8')}`)
    const opened = await open()
    expect([opened.proven, codesOf(opened)]).toEqual([true, ['FILE_DIFFERS']])
  })

  it('finds the manifest elsewhere when told so', async () => {
    renameSync(backup.manifestPath, join(folder, 'm.json'))
    expect(codesOf(await open())).toEqual(['MANIFEST_MISSING'])
    expect(await open({ manifestPath: join(folder, 'm.json') })).toMatchObject({ proven: true })
  })

  it('takes no check value for a fingerprint', async () => {
    for (const expectFingerprint of [checkValueOf(fingerprint), '', `${fingerprint}0`, 'x'.repeat(64)]) {
      expect((await refusal({ expectFingerprint })).code).toBe('USAGE')
    }
  })

  it('refuses a good message that is no backup, a file that is missing and a key that is not here', async () => {
    writeFileSync(backup.path, gpg.encrypt(Buffer.from('hello\n'), 'alice'))
    expect((await refusal()).code).toBe('BACKUP_UNUSABLE')
    expect((await refusal({ gpgEnv: empty.env })).code).toBe('WRONG_KEY')
    rmSync(backup.path)
    expect((await refusal()).code).toBe('FILE_NOT_FOUND')
  })
})
