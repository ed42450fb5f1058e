import { createCipheriv, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { judgeDecryption } from '../../src/backup/gpg-status.ts'
import { type DecryptOptions, decryptWithGpg, gpgEnvironment } from '../../src/backup/gpg.ts'
import { readFraming } from '../../src/backup/packets.ts'
import { isKvxError, type KvxError } from '../../src/core/errors.ts'
import { GpgHome } from '../support/gpg.ts'

const gpg = new GpgHome()
const empty = new GpgHome()
const folder = mkdtempSync(join(tmpdir(), 'kvx-gpg-'))
const plaintext = Buffer.from(`a marker ${randomBytes(16).toString('hex')}`)
const passphrase = 'correct horse'
let alice = ''
let locked = ''
let message: Buffer = Buffer.alloc(0)

beforeAll(() => {
  alice = gpg.makeKey('Alice <alice@example.org>')
  locked = gpg.makeKey('Locked <locked@example.org>', { passphrase })
  gpg.run(
    [
      '--compress-algo',
      'none',
      '--trust-model',
      'always',
      '--recipient',
      alice,
      '--output',
      join(folder, 'message.gpg'),
      '--encrypt',
    ],
    plaintext,
  )
  message = gpg.run(
    ['--compress-algo', 'none', '--trust-model', 'always', '--recipient', alice, '--encrypt'],
    plaintext,
  )
})

afterAll(() => {
  gpg.remove()
  empty.remove()
  rmSync(folder, { recursive: true, force: true })
})

async function open(source: Uint8Array | string, options: DecryptOptions = {}): Promise<string> {
  const opened = await decryptWithGpg(source, { gpgEnv: gpg.env, ...options })
  const text = opened.plaintext.lend((bytes) => bytes.toString())
  opened.plaintext.wipe()
  return text
}

async function refusal(source: Uint8Array | string, options: DecryptOptions = {}): Promise<KvxError> {
  const error = await open(source, options).then(
    () => undefined,
    (caught: unknown) => caught,
  )
  if (!isKvxError(error)) throw new Error('it was not refused', { cause: error })
  const shown = `${error.message} ${error.hint ?? ''} ${JSON.stringify(error.details)} ${String(error.stack)}`
  expect(shown).not.toContain(plaintext.toString().slice(9, 17))
  return error
}

async function expectRefusal(source: Uint8Array | string, code: string, reason: string): Promise<void> {
  const error = await refusal(source)
  expect([error.code, error.details['reason']]).toEqual([code, reason])
}

describe('decryptWithGpg', () => {
  it('C32 opens a message and names the subkey and the key that opened it', async () => {
    const opened = await decryptWithGpg(message, { gpgEnv: gpg.env })
    expect(opened.plaintext.lend((bytes) => bytes.equals(plaintext))).toBe(true)
    expect([opened.primaryFingerprint, opened.keyFingerprint]).toEqual(gpg.fingerprints(alice))
  })

  it('opens a file, through a link too, and one in armor', async () => {
    const path = join(folder, 'message.gpg')
    symlinkSync(path, join(folder, 'link.gpg'))
    expect(await open(path)).toBe(plaintext.toString())
    expect(await open(join(folder, 'link.gpg'))).toBe(plaintext.toString())
    writeFileSync(
      join(folder, 'armored.asc'),
      gpg.run(['--armor', '--trust-model', 'always', '-r', alice, '-e'], plaintext),
    )
    expect(await open(join(folder, 'armored.asc'))).toBe(plaintext.toString())
    expect((await refusal(join(folder, 'missing'))).code).toBe('FILE_NOT_FOUND')
  })

  it('C32 refuses a literal packet that was never encrypted, although gpg ends with 0', async () => {
    const literal = gpg.run(['--compress-algo', 'none', '--store'], plaintext)
    expect(gpg.decrypt(literal).equals(plaintext)).toBe(true)
    await expectRefusal(literal, 'BACKUP_UNUSABLE', 'not-encrypted')
    await expectRefusal(gpg.run(['--store'], plaintext), 'BACKUP_UNUSABLE', 'not-encrypted')
    await expectRefusal(gpg.run(['--armor', '--store'], plaintext), 'BACKUP_UNUSABLE', 'not-encrypted')
  })

  it('C32 refuses a message with a passphrase alone, which anybody could have made', async () => {
    const args = ['--passphrase', 'x', '--pinentry-mode', 'loopback', '--symmetric']
    await expectRefusal(gpg.run(args, plaintext), 'BACKUP_UNUSABLE', 'passphrase-only')
  })

  it('C32 refuses every message with a flipped bit or opens it to the same bytes', async () => {
    for (const fromEnd of [1, 5, 19, 20, 25, 40, 60]) {
      const flipped = Buffer.from(message)
      flipped[flipped.length - fromEnd] = (flipped[flipped.length - fromEnd] ?? 0) ^ 1
      await expectRefusal(flipped, 'BACKUP_UNUSABLE', 'damaged')
    }
    const sessionKey = Buffer.from(message)
    sessionKey[60] = (sessionKey[60] ?? 0) ^ 1
    await expectRefusal(sessionKey, 'BACKUP_UNUSABLE', 'damaged')
  })

  it('C32 refuses a message that is cut off anywhere, where gpg may end with 0 or print a part', async () => {
    for (const length of [10, 60, 100, 120, message.length - 40, message.length - 5, message.length - 1]) {
      await expectRefusal(message.subarray(0, length), 'BACKUP_UNUSABLE', 'truncated')
    }
    const armored = gpg.run(['--armor', '--trust-model', 'always', '-r', alice, '-e'], plaintext)
    await expectRefusal(armored.subarray(0, -50), 'BACKUP_UNUSABLE', 'truncated')
  })

  it('C32 refuses a message without integrity protection', async () => {
    const shown = gpg.run(['--status-fd', '1', '--show-session-key', '--decrypt'], message).toString('latin1')
    const sessionKey = Buffer.from(/SESSION_KEY 9:([0-9A-F]{64})/.exec(shown)?.[1] ?? '', 'hex')
    const pkesk = readFraming(message).packets[0]?.bytes ?? Buffer.alloc(0)
    // RFC 4880, 5.7 and 13.9: CFB with a resynchronisation behind 18 bytes of prefix, and no MDC
    const literal = Buffer.concat([Buffer.from([0xcb, 6 + plaintext.length, 0x62, 0, 0, 0, 0, 0]), plaintext])
    const random = randomBytes(16)
    const head = createCipheriv('aes-256-cfb', sessionKey, Buffer.alloc(16)).update(
      Buffer.concat([random, random.subarray(14)]),
    )
    const body = createCipheriv('aes-256-cfb', sessionKey, head.subarray(2)).update(literal)
    const packet = Buffer.concat([Buffer.from([0xc9, head.length + body.length]), head, body])
    const unprotected = Buffer.concat([pkesk, packet])
    expect(gpg.run(['--ignore-mdc-error', '--decrypt'], unprotected).equals(plaintext)).toBe(true)
    await expectRefusal(unprotected, 'BACKUP_UNUSABLE', 'no-integrity')
  })

  it('refuses two messages in one file, and data before or behind a message', async () => {
    const literal = gpg.run(['--compress-algo', 'none', '--store'], plaintext)
    const armored = gpg.run(['--armor', '--trust-model', 'always', '-r', alice, '-e'], plaintext)
    await expectRefusal(Buffer.concat([message, message]), 'BACKUP_UNUSABLE', 'several-messages')
    await expectRefusal(Buffer.concat([armored, armored]), 'BACKUP_UNUSABLE', 'several-messages')
    await expectRefusal(Buffer.concat([message, literal]), 'BACKUP_UNUSABLE', 'several-messages')
    await expectRefusal(Buffer.concat([literal, message]), 'BACKUP_UNUSABLE', 'several-messages')
  })

  it.each([
    ['nothing', ''],
    ['text', 'hello\n'],
    ['zeros', '\0'.repeat(1000)],
  ])('refuses %s as no OpenPGP message', async (_, text) => {
    await expectRefusal(Buffer.from(text), 'BACKUP_UNUSABLE', 'not-openpgp')
  })

  it('C32 says to whom a message is encrypted when no private key is here', async () => {
    const error = await refusal(message, { gpgEnv: empty.env })
    expect([error.code, error.exit, error.details['reason']]).toEqual(['WRONG_KEY', 5, 'no-secret-key'])
    expect(error.message).toContain(gpg.fingerprints(alice)[1]?.slice(-16))
  })

  it('opens only with a key of the list where one is given', async () => {
    expect(await open(message, { accept: [gpg.fingerprints(alice)[1] ?? ''] })).toBe(plaintext.toString())
    expect(await open(message, { accept: [alice.toLowerCase()] })).toBe(plaintext.toString())
    const error = await refusal(message, { accept: [locked] })
    expect([error.code, error.details['reason']]).toEqual(['BACKUP_UNUSABLE', 'other-key'])
  })

  it('refuses a message that hides its recipients', async () => {
    const hidden = gpg.run(['--trust-model', 'always', '--hidden-recipient', alice, '--encrypt'], plaintext)
    expect(gpg.decrypt(hidden).equals(plaintext)).toBe(true)
    expect((await refusal(hidden)).code).toBe('BACKUP_UNUSABLE')
  })

  it('does not follow a gpg.conf that ignores integrity', async () => {
    const home = new GpgHome()
    try {
      home.import(gpg.run(['--pinentry-mode', 'loopback', '--passphrase', '', '--export-secret-keys', alice]))
      writeFileSync(join(home.path, 'gpg.conf'), 'ignore-mdc-error\nallow-multiple-messages\n')
      expect(await open(message, { gpgEnv: home.env })).toBe(plaintext.toString())
      const flipped = Buffer.from(message)
      flipped[flipped.length - 1] = (flipped[flipped.length - 1] ?? 0) ^ 1
      expect((await refusal(flipped, { gpgEnv: home.env })).details['reason']).toBe('damaged')
      const twice = Buffer.concat([message, message])
      expect((await refusal(twice, { gpgEnv: home.env })).details['reason']).toBe('several-messages')
    } finally {
      home.remove()
    }
  })

  it('hands gpg the variables that it needs, and no others', () => {
    const environment = gpgEnvironment({
      HOME: '/root',
      SECRET: 'x',
      GPG_TTY: '',
      TERM: 'xterm',
      PATH: '/tmp',
    })
    expect(environment).toEqual({ HOME: '/root', TERM: 'xterm' })
  })
})

describe('a locked private key', () => {
  it('is a refusal at once where nobody may be asked', async () => {
    gpg.usePinentry(passphrase)
    const started = Date.now()
    const error = await refusal(gpg.encrypt(plaintext, locked))
    expect([error.code, error.exit, error.details['reason']]).toEqual(['NO_TERMINAL', 2, 'locked'])
    expect(Date.now() - started).toBeLessThan(10_000)
  })

  it('opens with the passphrase that pinentry gives', async () => {
    gpg.usePinentry(passphrase)
    expect(await open(gpg.encrypt(plaintext, locked), { interactive: true })).toBe(plaintext.toString())
  })

  it('C32 stays locked after a wrong passphrase or a cancelled prompt, and the message says which', async () => {
    gpg.usePinentry('wrong')
    const wrong = await refusal(gpg.encrypt(plaintext, locked), { interactive: true })
    expect([wrong.code, wrong.details['reason']]).toEqual(['WRONG_KEY', 'locked'])
    expect(wrong.message).toContain('passphrase is wrong')
    gpg.usePinentry(undefined)
    const cancelled = await refusal(gpg.encrypt(plaintext, locked), { interactive: true })
    expect([cancelled.code, cancelled.details['reason']]).toEqual(['WRONG_KEY', 'locked'])
    expect(cancelled.message).toContain('not given')
  })
})

describe('judgeDecryption', () => {
  const keyId = '0123456789ABCDEF'
  const good = [
    `ENC_TO ${keyId} 18 0`,
    `DECRYPTION_KEY ${'A'.repeat(24)}${keyId} ${'B'.repeat(40)} u`,
    'BEGIN_DECRYPTION',
    'DECRYPTION_INFO 2 9 0',
    'PLAINTEXT 62 0 ',
    'DECRYPTION_OKAY',
    'GOODMDC',
    'END_DECRYPTION',
  ]
  const framing = readFraming(Buffer.from([0xd2, 1, 1]))
  const isAccepted = (status: readonly string[], exitCode = 0): boolean =>
    !isKvxError(judgeDecryption({ exitCode, status, framing, interactive: false }))
  const without = (word: string): string[] => good.filter((line) => !line.startsWith(word))

  it('accepts a good decryption, with MDC or with AEAD', () => {
    expect(isAccepted(good)).toBe(true)
    expect(isAccepted(without('GOODMDC').map((line) => line.replace('INFO 2 9 0', 'INFO 0 9 2')))).toBe(true)
  })

  it('refuses it as soon as one of the signs is missing', () => {
    for (const word of [
      'ENC_TO',
      'DECRYPTION_KEY',
      'PLAINTEXT',
      'DECRYPTION_OKAY',
      'GOODMDC',
      'BEGIN_DECRYPTION',
    ]) {
      expect(isAccepted(without(word)), word).toBe(false)
    }
    expect(isAccepted(good, 1)).toBe(false)
    expect(isAccepted(good, 2)).toBe(false)
    for (const more of ['PLAINTEXT 62 0 ', 'DECRYPTION_FAILED', 'BADMDC', 'BEGIN_DECRYPTION']) {
      expect(isAccepted([...good, more]), more).toBe(false)
    }
  })

  it('refuses a key that the message does not name', () => {
    expect(isAccepted(good.map((line) => line.replace(`TO ${keyId}`, 'TO FEDCBA9876543210')))).toBe(false)
    expect(isAccepted(good.map((line) => line.replace(`TO ${keyId}`, 'TO 0000000000000000')))).toBe(false)
    expect(isAccepted(good.map((line) => line.replace(`TO ${keyId}`, 'TO F')))).toBe(false)
  })
})
