import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  findBackup,
  sha256Hex,
  listBackups,
  type StoredBackup,
  usableBackups,
  verifyBackup,
} from '../../src/backup/backups.ts'
import { type BackupHome, confirmBackup, testBackup } from '../../src/backup/confirm.ts'
import { type BackupRequest, createBackup, receiptCommand } from '../../src/backup/create.ts'
import { encodeManifest } from '../../src/backup/manifest.ts'
import { armorPackets, readFraming } from '../../src/backup/packets.ts'
import { encodeBackupText } from '../../src/backup/plaintext.ts'
import { type Recipient, resolveRecipients } from '../../src/backup/recipients.ts'
import { encryptToRecipients } from '../../src/backup/seal.ts'
import { fingerprintOf } from '../../src/core/fingerprint.ts'
import { Secret } from '../../src/core/secret.ts'
import { GpgHome } from '../support/gpg.ts'
import { makeAuditKey } from './audit-key.ts'

const here = new GpgHome() // the operator's keyring: alice's private key
const there = new GpgHome() // a custodian's machine: bob's and the locked key
const empty = new GpgHome()
const audit = makeAuditKey()
const key = randomBytes(32)
const material = Secret.copy(key)
const fingerprint = fingerprintOf(material)
let recipients: readonly Recipient[] = []
let folder = ''
let home: BackupHome

beforeAll(async () => {
  const alice = here.makeKey('Alice <alice@example.org>', { expire: '3y' })
  const bob = there.makeKey('Bob <bob@example.org>', { algorithm: 'nistp256' })
  here.import(there.exportPublic(bob))
  recipients = (await resolveRecipients([alice, bob], { gpgEnv: here.env })).recipients
})

beforeEach(() => {
  if (folder !== '') rmSync(folder, { recursive: true, force: true })
  folder = mkdtempSync(join(tmpdir(), 'kvx-backups-'))
  chmodSync(folder, 0o700)
  home = { directory: join(folder, 'backups'), ...audit }
})

afterAll(() => {
  for (const gpg of [here, there, empty]) gpg.remove()
  rmSync(folder, { recursive: true, force: true })
})

function request(more: Partial<BackupRequest> = {}): BackupRequest {
  return {
    name: 'master',
    version: 2,
    purpose: 'kek',
    material,
    recipients,
    signer: audit.signer,
    directory: home.directory,
    kvxVersion: '1.0.0',
    gpgEnv: here.env,
    ...more,
  }
}

async function makeBackup(gpg: GpgHome = here): Promise<StoredBackup> {
  return (await createBackup(request({ gpgEnv: gpg.env }))).backup
}

/** The receipt as a recipient reads it elsewhere. */
function receiptOf(backup: StoredBackup): string {
  const text = there.decrypt(readFileSync(backup.path)).toString()
  return /^receipt: (.*)$/m.exec(text)?.[1] ?? ''
}

async function usable(): Promise<string[]> {
  const found = await usableBackups(home.directory, 'master', 2, { fingerprint, verify: audit.verify })
  return found.map(({ manifest }) => manifest.id)
}

async function problemsOf(stored: StoredBackup): Promise<string[]> {
  return (await verifyBackup(stored, audit.verify)).problems.map((problem) => problem.code)
}

async function warningsOf(stored: StoredBackup): Promise<string> {
  return (await verifyBackup(stored, audit.verify)).warnings.map((warning) => warning.message).join()
}

describe('createBackup', () => {
  it('writes the encrypted file and its manifest, both 0600, and nothing else', async () => {
    const { backup } = await createBackup(request())
    const { manifest } = backup
    expect(manifest.id).toMatch(/^[0-9A-Z]{8}$/)
    expect(readdirSync(home.directory).sort()).toEqual([
      `master.v2.${manifest.id}.asc`,
      `master.v2.${manifest.id}.json`,
    ])
    expect(statSync(home.directory).mode & 0o7777).toBe(0o700)
    for (const path of [backup.path, backup.manifestPath]) expect(statSync(path).mode & 0o7777).toBe(0o600)
    expect(manifest).toMatchObject({
      name: 'master',
      version: 2,
      purpose: 'kek',
      fingerprint,
      kvxVersion: '1.0.0',
    })
    expect(manifest.recipients.map((recipient) => recipient.userId)).toEqual([
      'Alice <alice@example.org>',
      'Bob <bob@example.org>',
    ])
  })

  it('lets each recipient get the key with gpg, sed and base64 alone', async () => {
    const backup = await makeBackup()
    for (const gpg of [here, there]) {
      const text = gpg.decrypt(readFileSync(backup.path)).toString()
      expect(Buffer.from(/^key-base64: (.*)$/m.exec(text)?.[1] ?? '', 'base64').equals(key)).toBe(true)
    }
  })

  it('C34 calls it tested, with the keys that opened it, where a private key is at hand', async () => {
    const { backup, tested, warnings } = await createBackup(request())
    expect([tested, warnings]).toEqual([true, []])
    expect(backup.manifest).toMatchObject({ state: 'tested', testedWith: [recipients[0]?.subkey] })
    expect(await usable()).toEqual([backup.manifest.id])
  })

  it('tries every private key at hand, not the first alone', async () => {
    const both = new GpgHome()
    try {
      for (const gpg of [here, there]) {
        both.import(gpg.run(['--pinentry-mode', 'loopback', '--passphrase', '', '--export-secret-keys']))
      }
      const { backup } = await createBackup(request({ gpgEnv: both.env }))
      expect([...backup.manifest.testedWith].sort()).toEqual(recipients.map(({ subkey }) => subkey).sort())
    } finally {
      both.remove()
    }
  })

  it('C34 calls it untested where no private key is here, opens no gate with it and says what to do', async () => {
    const { backup, tested, warnings } = await createBackup(request({ gpgEnv: empty.env }))
    expect([tested, backup.manifest.state, backup.manifest.testedAt]).toEqual([false, 'untested', null])
    expect(warnings.map((warning) => warning.code)).toEqual(['BACKUP_UNTESTED'])
    expect(warnings[0]?.message).toContain(receiptCommand(backup.path))
    expect(warnings[0]?.message).toContain(`kvx backup confirm ${backup.manifest.id}`)
    expect(await usable()).toEqual([])
  })

  it('leaves the key to its caller, and no file where it fails', async () => {
    const signer = {
      publicKeyFingerprint: 'x',
      sign: (): Uint8Array => {
        throw new Error('no signature')
      },
    }
    await expect(createBackup(request({ signer }))).rejects.toThrow('no signature')
    expect(readdirSync(home.directory)).toEqual([])
    expect(material.lend((bytes) => bytes.equals(key))).toBe(true)
  })

  it.each([['../x'], ['a/b'], [''], ['-x'], ['a..b'], ['a\nb']])('refuses the name %j', async (name) => {
    await expect(createBackup(request({ name }))).rejects.toMatchObject({ code: 'USAGE' })
  })
})

describe('listBackups and findBackup', () => {
  it('have all backups of a directory, and name what is none', async () => {
    expect(await listBackups(home.directory)).toEqual({ backups: [], problems: [] })
    const ids = [(await makeBackup(empty)).manifest.id, (await makeBackup(empty)).manifest.id]
    writeFileSync(join(home.directory, 'bad.json'), '{')
    writeFileSync(join(home.directory, 'lost.asc'), 'x')
    const { backups, problems } = await listBackups(home.directory)
    expect(backups.map(({ manifest }) => manifest.id).sort()).toEqual(ids.sort())
    expect(problems.map((problem) => problem.code)).toEqual(['DAMAGED', 'MANIFEST_MISSING'])
  })

  it('find a backup by its id in any case, and say which one is unknown or damaged', async () => {
    const backup = await makeBackup(empty)
    const { id } = backup.manifest
    expect((await findBackup(home.directory, ` ${id.toLowerCase()} `)).manifest.id).toBe(id)
    await expect(findBackup(home.directory, '00000000')).rejects.toMatchObject({
      code: 'BACKUP_UNKNOWN',
      exit: 2,
    })
    await expect(findBackup(join(folder, 'none'), id)).rejects.toMatchObject({ code: 'BACKUP_UNKNOWN' })
    writeFileSync(backup.manifestPath, '{}')
    await expect(findBackup(home.directory, id)).rejects.toMatchObject({ code: 'DAMAGED' })
  })

  it('take no manifest under the name of another backup', async () => {
    const [one, two] = [await makeBackup(empty), await makeBackup(empty)]
    const others = [
      one.manifest,
      { ...two.manifest, file: one.manifest.file },
      { ...two.manifest, id: one.manifest.id },
      { ...two.manifest, version: 3 },
    ]
    for (const other of others) {
      writeFileSync(two.manifestPath, encodeManifest(other, audit.signer))
      await expect(findBackup(home.directory, two.manifest.id)).rejects.toMatchObject({ code: 'DAMAGED' })
    }
  })
})

describe('confirmBackup', () => {
  it('C34 takes the receipt that a recipient read elsewhere, however it was typed', async () => {
    const backup = await makeBackup(empty)
    const typed = receiptOf(backup)
      .toLowerCase()
      .replaceAll('-', ' ')
      .replaceAll('0', 'o')
      .replaceAll('1', 'l')
    const confirmed = await confirmBackup(home, backup.manifest.id, { code: typed, by: 'Bob\u001B' })
    expect(confirmed.manifest).toMatchObject({ state: 'confirmed', confirmedBy: 'Bob?', testedAt: null })
    expect((await verifyBackup(await findBackup(home.directory, backup.manifest.id), audit.verify)).ok).toBe(
      true,
    )
    expect(await usable()).toEqual([backup.manifest.id])
  })

  it('refuses a wrong code and the code of another backup, and changes nothing', async () => {
    const [backup, other] = [await makeBackup(empty), await makeBackup(empty)]
    const before = readFileSync(backup.manifestPath)
    for (const code of ['0000-0000-0000-0000', receiptOf(other)]) {
      await expect(confirmBackup(home, backup.manifest.id, { code, by: 'x' })).rejects.toMatchObject({
        code: 'FINGERPRINT_DIFFERS',
        exit: 5,
      })
    }
    await expect(confirmBackup(home, backup.manifest.id, { code: '123', by: 'x' })).rejects.toMatchObject({
      code: 'USAGE',
    })
    expect(readFileSync(backup.manifestPath).equals(before)).toBe(true)
    expect(await usable()).toEqual([])
  })

  it('signs nothing over a manifest or a file that somebody changed', async () => {
    const backup = await makeBackup(empty)
    const code = receiptOf(backup)
    const forged = { ...backup.manifest, receiptSha256: 'ab'.repeat(32) }
    writeFileSync(backup.manifestPath, encodeManifest(forged, makeAuditKey().signer))
    await expect(confirmBackup(home, backup.manifest.id, { code, by: 'x' })).rejects.toMatchObject({
      code: 'DAMAGED',
    })
    writeFileSync(backup.manifestPath, encodeManifest(backup.manifest, audit.signer))
    writeFileSync(backup.path, 'x')
    await expect(confirmBackup(home, backup.manifest.id, { code, by: 'x' })).rejects.toMatchObject({
      code: 'DAMAGED',
    })
  })
})

describe('testBackup', () => {
  it('makes an untested backup tested, with a private key that came later', async () => {
    const backup = await makeBackup(empty)
    await expect(testBackup(home, backup.manifest.id, { gpgEnv: empty.env })).rejects.toMatchObject({
      code: 'WRONG_KEY',
    })
    const tested = await testBackup(home, backup.manifest.id, { gpgEnv: there.env })
    expect(tested.manifest).toMatchObject({ state: 'tested', testedWith: [recipients[1]?.subkey] })
    expect(await usable()).toEqual([backup.manifest.id])
  })

  it('leaves a confirmed backup confirmed', async () => {
    const backup = await makeBackup(empty)
    await confirmBackup(home, backup.manifest.id, { code: receiptOf(backup), by: 'Bob' })
    const tested = await testBackup(home, backup.manifest.id, { gpgEnv: here.env })
    expect(tested.manifest).toMatchObject({
      state: 'confirmed',
      confirmedBy: 'Bob',
      testedWith: [recipients[0]?.subkey],
    })
  })

  it('C33 refuses a file that opens to another key than its manifest says, made by a stranger for the same people', async () => {
    const backup = await makeBackup()
    const stranger = {
      ...backup.manifest,
      material: Secret.copy(randomBytes(32)),
      receipt: receiptOf(backup),
    }
    const sealed = await encryptToRecipients(encodeBackupText(stranger), recipients)
    writeFileSync(backup.path, sealed)
    await expect(testBackup(home, backup.manifest.id, { gpgEnv: here.env })).rejects.toMatchObject({
      code: 'DAMAGED',
    })
    const sha256 = sha256Hex(sealed)
    writeFileSync(backup.manifestPath, encodeManifest({ ...backup.manifest, sha256 }, audit.signer))
    await expect(testBackup(home, backup.manifest.id, { gpgEnv: here.env })).rejects.toMatchObject({
      code: 'BACKUP_UNUSABLE',
      message: expect.stringContaining('its key is not that of its manifest') as string,
    })
  })

  it('refuses a message in which one recipient’s session key is damaged', async () => {
    const backup = await makeBackup(empty)
    const { packets } = readFraming(readFileSync(backup.path))
    const bobs = packets.findIndex((packet) => packet.body.length !== packets[0]?.body.length)
    const bytes = Buffer.from(packets[bobs]?.bytes ?? [])
    bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 1
    const damaged = armorPackets(packets.map((packet, i) => (i === bobs ? { ...packet, bytes } : packet)))
    const sha256 = sha256Hex(damaged)
    writeFileSync(backup.path, damaged)
    writeFileSync(backup.manifestPath, encodeManifest({ ...backup.manifest, sha256 }, audit.signer))
    const both = new GpgHome()
    try {
      for (const gpg of [here, there]) {
        both.import(gpg.run(['--pinentry-mode', 'loopback', '--passphrase', '', '--export-secret-keys']))
      }
      await expect(testBackup(home, backup.manifest.id, { gpgEnv: both.env })).rejects.toMatchObject({
        code: 'BACKUP_UNUSABLE',
      })
    } finally {
      both.remove()
    }
  })
})

describe('verifyBackup and usableBackups', () => {
  it('see a missing file, a changed file, a changed, unsigned and foreign manifest', async () => {
    const backup = await makeBackup()
    expect(await problemsOf(backup)).toEqual([])
    expect(await problemsOf({ ...backup, signature: undefined })).toEqual(['MANIFEST_UNSIGNED'])
    expect(await problemsOf({ ...backup, manifest: { ...backup.manifest, state: 'confirmed' } })).toEqual([
      'MANIFEST_INVALID',
    ])
    const foreign = { ...backup.manifest, auditKeyFingerprint: 'other' }
    expect(await problemsOf({ ...backup, manifest: foreign })).toEqual(['MANIFEST_UNKNOWN'])
    const bytes = readFileSync(backup.path)
    writeFileSync(backup.path, Buffer.concat([bytes, Buffer.from('\n')]))
    expect(await problemsOf(backup)).toEqual(['FILE_DIFFERS'])
    rmSync(backup.path)
    expect(await problemsOf(backup)).toEqual(['FILE_MISSING'])
  })

  it('C34 count no backup for the gate that is forged, changed, missing or of another key', async () => {
    const backup = await makeBackup(empty)
    const forged = { ...backup.manifest, state: 'confirmed' } as const
    writeFileSync(backup.manifestPath, encodeManifest(forged, makeAuditKey().signer))
    expect(await usable()).toEqual([])
    const tested = await makeBackup()
    expect(await usable()).toEqual([tested.manifest.id])
    const trust = { fingerprint: 'ab'.repeat(32), verify: audit.verify }
    expect(await usableBackups(home.directory, 'master', 2, trust)).toEqual([])
    expect(await usableBackups(home.directory, 'master', 1, audit)).toEqual([])
    expect(await usableBackups(home.directory, 'other', 2, audit)).toEqual([])
    writeFileSync(tested.path, 'x')
    expect(await usable()).toEqual([])
    expect(await usableBackups(home.directory, 'master', 2)).toHaveLength(1) // the forged one: why gates verify
  })

  it('C35 warn of recipients whose keys expired or will within a year', async () => {
    const backup = await makeBackup()
    const at = (expires: string): StoredBackup => {
      const [first, ...others] = backup.manifest.recipients
      if (first === undefined) throw new Error('no recipient')
      return { ...backup, manifest: { ...backup.manifest, recipients: [{ ...first, expires }, ...others] } }
    }
    const soon = new Date(Date.now() + 100.5 * 86_400_000).toISOString()
    expect(await warningsOf(backup)).toBe('')
    expect(await warningsOf(at(soon))).toMatch(/Alice.* expires in 100 days/)
    expect(await warningsOf(at('2020-01-01T00:00:00Z'))).toMatch(/Alice.* expired on 2020-01-01/)
  })
})
