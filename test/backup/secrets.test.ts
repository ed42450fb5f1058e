import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { decryptWithGpg, readBackup } from '../../src/backup/gpg.ts'
import { confirmBackup, testBackup } from '../../src/backup/confirm.ts'
import { createBackup } from '../../src/backup/create.ts'
import { encodeBackupText, parseBackupText } from '../../src/backup/plaintext.ts'
import { type Recipient, resolveRecipients } from '../../src/backup/recipients.ts'
import { openBackup } from '../../src/backup/restore.ts'
import { encryptToRecipients } from '../../src/backup/seal.ts'
import type * as childModule from '../../src/platform/child.ts'
import { isKvxError } from '../../src/core/errors.ts'
import { Secret } from '../../src/core/secret.ts'
import { GpgHome } from '../support/gpg.ts'
import { makeAuditKey } from './audit-key.ts'

/** Whatever gpg said, as it lies in memory afterwards. */
const said = vi.hoisted((): Uint8Array[] => [])

vi.mock('../../src/platform/child.ts', async (importOriginal) => {
  const child = await importOriginal<typeof childModule>()
  const runChild: typeof childModule.runChild = async (...args) => {
    const result = await child.runChild(...args)
    said.push(result.stdout, result.stderr, ...result.pipes)
    return result
  }
  return { ...child, runChild }
})

const gpg = new GpgHome()
const empty = new GpgHome()
const folder = mkdtempSync(join(tmpdir(), 'kvx-secrets-'))
const audit = makeAuditKey()
const home = { directory: join(folder, 'backups'), ...audit }
const key = randomBytes(32)
/** Parts of the key in every form that could slip out; 8 bytes of each are enough to tell. */
const markers = [
  key.toString('hex').slice(0, 16),
  key.toString('base64').slice(0, 12),
  key.toString('latin1').slice(0, 8),
]
let recipients: readonly Recipient[] = []
let receipt = ''

beforeAll(async () => {
  gpg.makeKey('Alice <alice@example.org>')
  recipients = (await resolveRecipients([gpg.fingerprint('alice')], { gpgEnv: gpg.env })).recipients
})

afterAll(() => {
  gpg.remove()
  empty.remove()
  rmSync(folder, { recursive: true, force: true })
})

function expectNoMarker(text: string, where: string): void {
  for (const marker of markers) expect(text.toLowerCase().includes(marker.toLowerCase()), where).toBe(false)
}

function request(env: Record<string, string> = gpg.env): Parameters<typeof createBackup>[0] {
  return {
    name: 'master',
    version: 1,
    purpose: 'kek',
    kvxVersion: '1.0.0',
    material: Secret.copy(key),
    recipients,
    signer: audit.signer,
    directory: home.directory,
    gpgEnv: env,
  }
}

async function failureOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work()
  } catch (error) {
    const facts = isKvxError(error) ? JSON.stringify([error.code, error.hint, error.details]) : ''
    return `${inspect(error, { depth: 10, showHidden: true })} ${JSON.stringify(error)} ${facts}`
  }
  throw new Error('it did not fail')
}

describe('the bytes of a key', () => {
  it('stand in no file, no result and no manifest of a backup, and neither does the receipt in public', async () => {
    const made = await createBackup(request())
    receipt = /^receipt: (.*)$/m.exec(gpg.decrypt(readFileSync(made.backup.path)).toString())?.[1] ?? ''
    const opened = await openBackup(made.backup.path, { gpgEnv: gpg.env })
    expectNoMarker(
      inspect(made, { depth: 10, showHidden: true }) + JSON.stringify(made),
      'result of createBackup',
    )
    expectNoMarker(
      inspect(opened, { depth: 10, showHidden: true }) + JSON.stringify(opened),
      'result of openBackup',
    )
    for (const name of readdirSync(home.directory)) {
      const content = readFileSync(join(home.directory, name), 'latin1')
      expectNoMarker(content, name)
      expect(content).not.toContain(receipt)
    }
  })

  it('stand in no error of any failure', async () => {
    const { backup } = await createBackup(request())
    const { id } = backup.manifest
    const sealed = readFileSync(backup.path)
    const binary = gpg.run(['--dearmor'], sealed)
    const flipped = Buffer.from(binary)
    flipped[flipped.length - 1] = (flipped[flipped.length - 1] ?? 0) ^ 1
    const text = encodeBackupText({ ...request(), created: '2026-01-01T00:00:00Z', receipt }).toString()
    const unfit = [
      text.replace('backup v1', 'x'),
      text.replace('receipt:', 'note:'),
      text.replace('of the 32', 'of the 3'),
    ]
    const bad: Uint8Array[] = [
      flipped, // gpg prints the whole plaintext before it finds out
      binary.subarray(0, -22), // gpg prints a part of it
      Buffer.concat([binary, binary]),
      gpg.run(['--compress-algo', 'none', '--store'], text), // gpg prints it and ends with 0
      ...(await Promise.all(unfit.map((content) => encryptToRecipients(Buffer.from(content), recipients)))),
    ]
    for (const [index, bytes] of bad.entries()) {
      const path = join(folder, `bad-${index}.asc`)
      writeFileSync(path, bytes)
      expectNoMarker(await failureOf(async () => await openBackup(path, { gpgEnv: gpg.env })), `bad ${index}`)
    }
    const others: (() => Promise<unknown>)[] = [
      async () => await openBackup(backup.path, { gpgEnv: empty.env }),
      async () => await openBackup(backup.path, { gpgEnv: gpg.env, expectFingerprint: 'ab'.repeat(32) }),
      async () => await createBackup({ ...request(), recipients: [] }),
      async () => await createBackup({ ...request(), directory: join(folder, 'a', 'b', 'c') }),
      async () => await confirmBackup(home, id, { code: '0000-0000-0000-0000', by: 'x' }),
      async () => await testBackup(home, id, { gpgEnv: empty.env }),
    ]
    for (const [index, work] of others.entries()) expectNoMarker(await failureOf(work), `other ${index}`)
  })

  it('come out of no child, not even where Node is told to print what children say', () => {
    const sources = join(import.meta.dirname, '../../src')
    const script = `
      import { createBackup } from '${sources}/backup/create.ts'
      import { openBackup } from '${sources}/backup/restore.ts'
      import { resolveRecipients } from '${sources}/backup/recipients.ts'
      import { Secret } from '${sources}/core/secret.ts'
      const { recipients } = await resolveRecipients(['${gpg.fingerprint('alice')}'])
      const material = Secret.take(Buffer.from((await import('node:fs')).readFileSync(0)))
      const { backup } = await createBackup({ name: 'k', version: 1, purpose: 'kek', kvxVersion: '1', material, recipients,
        signer: { publicKeyFingerprint: 'x', sign: () => new Uint8Array(64) }, directory: '${join(folder, 'child')}' })
      const opened = await openBackup(backup.path)
      console.log('opened', opened, opened.material.equals(material))
      await openBackup(backup.path, { expectFingerprint: 'ab'.repeat(32) })`
    const run = spawnSync(process.execPath, ['--input-type=module-typescript', '--eval', script], {
      input: key,
      env: { ...process.env, ...gpg.env, NODE_DEBUG: 'child_process,stream,net' },
    })
    const output = Buffer.concat([run.stdout, run.stderr]).toString('latin1')
    expect(output).toMatch(/material: \[secret\][^]*\} true\n/)
    expect(output).toContain('FINGERPRINT_DIFFERS')
    expectNoMarker(output, 'output of the child')
  })

  it('are wiped from what gpg said when a message is refused', async () => {
    const binary = gpg.run(['--dearmor'], readFileSync((await createBackup(request())).backup.path))
    const flipped = Buffer.from(binary)
    flipped[flipped.length - 1] = (flipped[flipped.length - 1] ?? 0) ^ 1
    said.length = 0
    await expect(decryptWithGpg(flipped, { gpgEnv: gpg.env })).rejects.toThrow('damaged')
    const length = encodeBackupText({ ...request(), created: '2026-01-01T00:00:00Z', receipt }).length
    expect(said[0]?.length).toBe(length) // gpg did print all of it
    expect(said[0]?.every((byte) => byte === 0)).toBe(true)
  })

  it('are wiped from every buffer of kvx’s own when a backup was made, opened or refused', async () => {
    const buffers: Uint8Array[] = []
    const real = Buffer.allocUnsafeSlow.bind(Buffer)
    const spy = vi.spyOn(Buffer, 'allocUnsafeSlow').mockImplementation((size) => {
      const buffer = real(size)
      buffers.push(buffer)
      return buffer
    })
    const lent: Uint8Array[] = []
    const take = Secret.take.bind(Secret)
    const takes = vi.spyOn(Secret, 'take').mockImplementation((bytes) => {
      lent.push(bytes)
      return take(bytes)
    })
    try {
      const ours = request()
      const { backup } = await createBackup(ours)
      const opened = await openBackup(backup.path, { gpgEnv: gpg.env })
      opened.material.wipe()
      ours.material.wipe()
      await expect(
        openBackup(backup.path, { gpgEnv: gpg.env, expectFingerprint: 'ab'.repeat(32) }),
      ).rejects.toThrow()
      const wrong = Buffer.from(
        gpg
          .decrypt(await readBackup(backup.path))
          .toString()
          .replace(/fingerprint: .{8}/, 'fingerprint: 00000000'),
      )
      expect(() => parseBackupText(wrong)).toThrow('do not belong together')
    } finally {
      spy.mockRestore()
      takes.mockRestore()
    }
    const needles = [key, Buffer.from(key.toString('base64'))]
    const holding = [...buffers, ...lent, ...said].filter((bytes) => {
      const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      return needles.some((needle) => buffer.includes(needle))
    })
    expect(buffers.length).toBeGreaterThan(10)
    expect(lent.length).toBeGreaterThan(3)
    expect(holding).toEqual([])
  })
})
