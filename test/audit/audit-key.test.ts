import { execFileSync } from 'node:child_process'
import { chmodSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { generateSigningKey, publicKeyFingerprint, verify } from '../../src/core/signature.ts'
import { createAuditKey, installSigningKey, loadAuditKey, readPublicKeys } from '../../src/audit/audit-key.ts'
import { openAudit } from '../../src/audit/audit.ts'
import type { EntryDraft } from '../../src/audit/entry.ts'
import { readAudit } from '../../src/audit/read-audit.ts'
import { replaceAuditKey } from '../../src/audit/replace-audit-key.ts'
import { verifyAudit } from '../../src/audit/verify-audit.ts'
import {
  type AuditHome,
  at,
  buildLog,
  joinLines,
  makeAuditHome,
  newSigner,
  stamp,
  temporaryDirectory,
} from './audit-home.ts'
import { makeLine } from '../../src/audit/entry.ts'

const note: EntryDraft = { action: 'test.note', phase: 'note' }
const fileOf = (home: AuditHome, name: string): string => join(home.directory, name)
const text = (path: string): string => readFileSync(path, 'utf8')

describe('the audit key', () => {
  test('is made with mode 0600, and its public half fits it as openssl sees it', async () => {
    const directory = temporaryDirectory()
    const { signer } = await createAuditKey(directory)
    expect(readdirSync(directory).sort()).toEqual(['audit.key', 'audit.pub'])
    expect(statSync(join(directory, 'audit.key')).mode & 0o7777).toBe(0o600)
    expect(text(join(directory, 'audit.pub'))).toBe(signer.publicKeyPem)
    const derived = execFileSync('openssl', ['pkey', '-in', join(directory, 'audit.key'), '-pubout'])
    expect(derived.toString()).toBe(signer.publicKeyPem)
    expect(verify(signer.publicKey, Buffer.from('a'), signer.sign(Buffer.from('a')))).toBe(true)
  })

  test('is never overwritten, its public half neither', async () => {
    const { directory } = await makeAuditHome()
    const before = readdirSync(directory).map((name) => text(join(directory, name)))
    await expect(createAuditKey(directory)).rejects.toMatchObject({ code: 'TARGET_EXISTS', exit: 2 })
    rmSync(join(directory, 'audit.pub'))
    await expect(createAuditKey(directory)).rejects.toMatchObject({ code: 'TARGET_EXISTS' })
    writeFileSync(join(directory, 'audit.pub'), before[1] ?? '')
    rmSync(join(directory, 'audit.key'))
    await expect(createAuditKey(directory)).rejects.toMatchObject({ code: 'TARGET_EXISTS' })
    expect(text(join(directory, 'audit.pub'))).toBe(before[1])
  })

  test('is loaded again, signs until it is wiped, and mends a lost public half', async () => {
    const home = await makeAuditHome()
    rmSync(fileOf(home, 'audit.pub'))
    const { signer, wipe } = await loadAuditKey(home.directory)
    expect(signer.publicKeyFingerprint).toBe(home.signer.publicKeyFingerprint)
    expect(text(fileOf(home, 'audit.pub'))).toBe(home.signer.publicKeyPem)
    expect(signer.sign(Buffer.from('a'))).toEqual(home.signer.sign(Buffer.from('a')))
    wipe()
    expect(() => signer.sign(Buffer.from('a'))).toThrow(TypeError)
  })

  test('is refused when it is missing, is no key, can be read by others, or is not the one of audit.pub', async () => {
    const home = await makeAuditHome()
    const key = fileOf(home, 'audit.key')
    const good = text(key)
    const load = (): Promise<unknown> => loadAuditKey(home.directory)
    chmodSync(key, 0o640)
    await expect(load()).rejects.toMatchObject({ code: 'UNSAFE_MODE' })
    chmodSync(key, 0o600)
    writeFileSync(key, good.slice(0, 60))
    await expect(load()).rejects.toMatchObject({ code: 'KEY_MALFORMED' })
    const other = await makeAuditHome()
    writeFileSync(key, text(fileOf(other, 'audit.key')))
    await expect(load()).rejects.toMatchObject({ code: 'AUDIT_BROKEN' })
    rmSync(key)
    await expect(load()).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })

  test('never stands in an error, in the log or beside its file', async () => {
    const home = await makeAuditHome()
    await home.audit.append(note)
    const secret = text(fileOf(home, 'audit.key')).split('\n')[1] ?? ''
    expect(secret).toHaveLength(64)
    for (const name of readdirSync(home.directory).filter((name) => name !== 'audit.key')) {
      expect(text(fileOf(home, name))).not.toContain(secret)
    }
    expect(JSON.stringify(home.signer)).not.toContain(secret)
  })
})

describe('a key that takes the place of a lost one', () => {
  test('says so in its first entry, with both fingerprints, and the log verifies across', async () => {
    const home = await makeAuditHome()
    await home.audit.append(note)
    rmSync(fileOf(home, 'audit.key'))
    const replaced = await replaceAuditKey(home.directory, stamp)
    expect(replaced).toMatchObject({
      endorsed: false,
      oldPublicKeyFingerprint: home.signer.publicKeyFingerprint,
    })
    await openAudit(home.directory, { signer: replaced.signer, ...stamp }).append(note)
    const entries = await Array.fromAsync(readAudit(home.directory))
    expect(entries.map(({ action }) => action)).toEqual(['test.note', 'audit.key.replace', 'test.note'])
    expect(entries[1]).toMatchObject({
      key: replaced.signer.publicKeyFingerprint.slice(0, 16),
      data: {
        oldPublicKeyFingerprint: home.signer.publicKeyFingerprint,
        newPublicKeyFingerprint: replaced.signer.publicKeyFingerprint,
      },
    })
    const verdict = await verifyAudit(home.directory)
    expect(verdict).toMatchObject({ entries: 3, problems: [] })
    expect(verdict.warnings.map(({ code }) => code)).toContain('KEY_REPLACED')
    expect(verdict.keys).toMatchObject([
      { fingerprint: home.signer.publicKeyFingerprint, entries: 1, trusted: true },
      { fingerprint: replaced.signer.publicKeyFingerprint, entries: 2, trusted: true, endorsed: false },
    ])
    expect((await loadAuditKey(home.directory)).signer.publicKeyPem).toBe(replaced.signer.publicKeyPem)
    expect(await readPublicKeys(home.directory)).toHaveLength(2)
  })

  test('is not believed by who knows the old public key alone: nobody vouches for it', async () => {
    const home = await makeAuditHome()
    await home.audit.append(note)
    rmSync(fileOf(home, 'audit.key'))
    const { signer } = await replaceAuditKey(home.directory, stamp)
    const verdict = await verifyAudit(home.directory, { publicKeys: [home.signer.publicKeyPem] })
    expect(verdict.problems).toMatchObject([{ line: 2, seq: 2, code: 'KEY_NOT_TRUSTED' }])
    const both = [home.signer.publicKey, signer.publicKey]
    expect((await verifyAudit(home.directory, { publicKeys: both })).problems).toEqual([])
  })

  test('is endorsed by the old one where that is at hand, and then the old public key is enough', async () => {
    const home = await makeAuditHome()
    await home.audit.append(note)
    const replaced = await replaceAuditKey(home.directory, stamp)
    expect(replaced.endorsed).toBe(true)
    const verdict = await verifyAudit(home.directory, { publicKeys: [home.signer.publicKeyPem] })
    expect(verdict).toMatchObject({ entries: 3, problems: [] })
    expect(verdict.keys[1]).toMatchObject({ trusted: false, endorsed: true })
  })

  test('can itself be replaced, again and again', async () => {
    const home = await makeAuditHome()
    for (let round = 0; round < 3; round += 1) {
      rmSync(fileOf(home, 'audit.key'))
      const { signer } = await replaceAuditKey(home.directory, stamp)
      await openAudit(home.directory, { signer, ...stamp }).append(note)
    }
    const verdict = await verifyAudit(home.directory)
    expect(verdict.problems).toEqual([])
    expect(verdict.keys).toHaveLength(3) // the first key of all never signed
    expect(await readPublicKeys(home.directory)).toHaveLength(4)
  })

  test('goes on when audit.pub is lost as well, and the older entries then count as unproven', async () => {
    const home = await makeAuditHome()
    await home.audit.append(note)
    rmSync(fileOf(home, 'audit.key'))
    rmSync(fileOf(home, 'audit.pub'))
    const { signer } = await replaceAuditKey(home.directory, stamp)
    await openAudit(home.directory, { signer, ...stamp }).append(note)
    expect((await verifyAudit(home.directory)).problems).toMatchObject([{ line: 1, code: 'UNKNOWN_KEY' }])
    const publicKeys = [home.signer.publicKeyPem, signer.publicKeyPem]
    expect((await verifyAudit(home.directory, { publicKeys })).problems).toEqual([])
  })

  test('whose first entry a crash prevented writes it at the next append', async () => {
    const home = await makeAuditHome()
    await home.audit.append(note)
    const key = generateSigningKey()
    await installSigningKey(home.directory, key, await readPublicKeys(home.directory))
    const { signer } = await loadAuditKey(home.directory)
    expect(signer.publicKeyFingerprint).toBe(publicKeyFingerprint(key.publicKey))
    expect(await openAudit(home.directory, { signer, ...stamp }).append(note)).toMatchObject({ seq: 3 })
    expect(await verifyAudit(home.directory)).toMatchObject({ entries: 3, problems: [] })
  })

  test('does not take over a log whose end was changed: key and log stay as they are', async () => {
    const home = await makeAuditHome()
    home.setLog(Buffer.concat([buildLog(home.signer, 2).bytes, Buffer.from('{}\n')]))
    const before = text(fileOf(home, 'audit.key'))
    await expect(replaceAuditKey(home.directory, stamp)).rejects.toMatchObject({ code: 'AUDIT_BROKEN' })
    expect(text(fileOf(home, 'audit.key'))).toBe(before)
  })
})

describe('a key that comes in without a word', () => {
  const old = newSigner()
  const other = newSigner()
  const publicKeys = [old.publicKey, other.publicKey]
  const before = buildLog(old, 3)

  test('is a problem, even when it is known', async () => {
    const { lines } = buildLog(other, 1, before.head)
    const { problems } = await verifyAudit(joinLines([...before.lines, ...lines]), { publicKeys })
    expect(problems).toMatchObject([{ line: 4, seq: 4, code: 'KEY_CHANGED' }])
  })

  test('is a problem when its entry names another old key or another new key', async () => {
    for (const [from, to] of [
      [other, other],
      [old, old],
    ] as const) {
      const data = {
        oldPublicKeyFingerprint: from.publicKeyFingerprint,
        newPublicKeyFingerprint: to.publicKeyFingerprint,
      }
      const draft: EntryDraft = { action: 'audit.key.replace', phase: 'note', data }
      const { line } = makeLine(before.head, { signer: other, at, actor: 'a' }, draft)
      const { problems } = await verifyAudit(joinLines([...before.lines, line]), { publicKeys })
      expect(problems).toMatchObject([{ line: 4, code: 'KEY_CHANGED' }])
    }
  })
})
