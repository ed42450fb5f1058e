import { execFileSync, spawnSync } from 'node:child_process'
import { createCipheriv, randomBytes } from 'node:crypto'
import { ftruncateSync, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createHome } from '../../src/keyring/init-home.ts'
import { expectSilence, treeHash } from '../checks/tree.ts'
import { kvx, kvxBin, kvxJson } from '../support/cli.ts'
import { GpgHome } from '../support/gpg.ts'
import { needsOtherUsers, needsTool } from '../support/needs.ts'
import { run, trustedDirectory } from '../support/trusted-directory.ts'
import { kvcrypt, vaultPlace } from '../vault/vault-tools.ts'

type Facts = Readonly<Record<string, unknown>>
type Data = {
  readonly path: string
  readonly kind: string
  readonly size: number
  readonly mode: string
  readonly owner: string
  readonly group: string
  readonly facts: Facts
}

const key = randomBytes(32)

function fileWith(bytes: Uint8Array | string): string {
  const path = join(trustedDirectory(), 'file')
  writeFileSync(path, bytes, { mode: 0o600 })
  return path
}

function inspect(path: string): Data {
  const document = kvxJson<Data>(['inspect', path])
  expect(document).toMatchObject({ schema: 'kvx.inspect/1', ok: true, exit: 0 })
  return document.data
}

/** What a cipher makes of a secret: nonce, ciphertext and tag. */
function sealed(secret: Uint8Array): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()])
}

// The worked example of the share format: KEK 00 01 … 1f.
const share = ['KVX1', 'q'.repeat(84)].join('')

const jwk = '{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}'
const contents: readonly (readonly [string, Uint8Array | string, string, Facts])[] = [
  ['an empty file', '', 'empty', {}],
  ['a raw key', key, 'key', { encoding: 'raw', bytes: 32 }],
  ['a key in base64', `${key.toString('base64')}\n`, 'key', { encoding: 'base64', bytes: 32 }],
  ['a key in hex', key.toString('hex'), 'key', { encoding: 'hex', bytes: 32 }],
  ['a key of 16 bytes in hex', key.toString('hex').slice(32), 'key', { encoding: 'hex', bytes: 16 }],
  [
    'a wrapped key',
    sealed(key).toString('base64'),
    'encoded-value',
    { alphabet: 'base64', bytes: 60, looksSealed: true },
  ],
  [
    'a sealed value',
    sealed(randomBytes(99)).toString('hex'),
    'encoded-value',
    { alphabet: 'hex', looksSealed: true },
  ],
  ['a text in hex', Buffer.from('a'.repeat(90)).toString('hex'), 'encoded-value', { looksSealed: false }],
  ['a private key in PEM', '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIHb\n', 'pem', { secret: true }],
  ['an SSH key', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ a@b\n', 'ssh-key', {}],
  ['a secret key of age', 'AGE-SECRET-KEY-1QQPQQPQQPQQPQQPQQPQ\n', 'age-secret-key', {}],
  ['a JSON Web Key', jwk, 'jwk', { kty: 'oct', secret: true }],
  ['JSON', '{"api":"sk_live_4eC39HqLyjWDarjtT1zdp7dc"}', 'json', { top: 'object', members: 1 }],
  [
    'a keyring',
    '{"schema":"kvx.keyring/1","generation":3,"keys":{"tk":{}}}',
    'kvx-keyring',
    { generation: 3, keys: ['tk'] },
  ],
  ['a configuration', 'kvx: 1\nkeys: {}\n', 'kvx-config', {}],
  ['an env file', `# c\nA=1\nLOCAL_KEK_BASE64=${key.toString('base64')}\n`, 'env-file', { variables: 2 }],
  ['a text', 'the quick brown fox jumps\nover the lazy dog\n', 'text', { lines: 2 }],
  ['bytes', randomBytes(4096), 'binary', {}],
]

describe('a file is told by its content, of which nothing is shown', () => {
  test.each(contents)('%s', (_, bytes, kind, facts) => {
    const path = fileWith(bytes)
    const before = treeHash(join(path, '..'))
    const found = inspect(path)
    expect(found).toMatchObject({ path, kind, size: Buffer.from(bytes).length, mode: '0600', facts })
    const human = kvx(['inspect', path])
    expect(human.exit).toBe(0)
    expectSilence(human, Buffer.from(bytes))
    expectSilence(kvx(['inspect', path, '--json']), Buffer.from(bytes))
    expect(treeHash(join(path, '..'))).toBe(before)
  })

  test('a key has the check value that keygen told', () => {
    const out = join(trustedDirectory(), 'k.key')
    const made = kvxJson<{ checkValue: string }>(['keygen', 'k', '--out', out]).data
    expect(inspect(out).facts).toMatchObject({ checkValue: made.checkValue })
  })

  test('a weak key says so', () => {
    expect(inspect(fileWith(Buffer.alloc(32))).facts['notes']).toHaveLength(1)
  })
})

test('a share tells its open fields and nothing of its secret', () => {
  const digits = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'
  // Version 0, threshold 3 of 5, index 2, set KVXDEM, check value 50A3461D7A, then anything.
  const check = BigInt('0x50A3461D7A').toString(2).padStart(40, '0').match(/.{5}/g) ?? []
  const open = `${digits[0]}${digits[2]}${digits[4]}${digits[1]}kvxdem${check.map((bits) => digits[Number.parseInt(bits, 2)]).join('')}`
  const rest = Array.from(randomBytes(84 - open.length), (byte) => digits[byte & 31]).join('')
  const groups = `KVX1${(open + rest).toUpperCase()}`.match(/.{4}/g) ?? []
  const path = fileWith(`${groups.join(' ')}\n`)
  expect(inspect(path)).toMatchObject({
    kind: 'kvx-share',
    facts: { complete: true, threshold: 3, of: 5, index: 2, set: 'KVXDEM', checkValue: '50A3461D7A' },
  })
  expectSilence(
    kvx(['inspect', path]),
    Buffer.from(rest),
    Buffer.from(rest.toUpperCase()),
    Buffer.from(groups.join(' ')),
  )
  // A card's four lines, and the message to a custodian around them.
  const lines = (groups.join('').match(/.{1,24}/g) ?? []).map((line, at) => `${at + 1}  ${line}`)
  for (const text of [
    lines.join('\n'),
    `kvx-key-share v1\nshare: 2 of 5\n\n${lines.join('\n')}\n\nKeep it.\n`,
  ]) {
    expect(inspect(fileWith(text))).toMatchObject({ kind: 'kvx-share', facts: { complete: true, index: 2 } })
  }
  const both = fileWith(`${lines.join('\n')}\n${lines.join('\n')}\n`)
  expect(inspect(both)).toMatchObject({ kind: 'kvx-share', facts: { shares: 2 } })
  expect(kvx(['inspect', both]).stdout).not.toContain('Next')
  const rehearsal = fileWith(`KVXTEST1${(open + rest).toUpperCase()}\n`)
  expect(inspect(rehearsal)).toMatchObject({
    kind: 'kvx-rehearsal-share',
    facts: { complete: true, characters: 92, index: 2, set: 'KVXDEM', checkValue: '50A3461D7A' },
  })
  expect(kvx(['inspect', rehearsal]).stdout).toContain('share of a rehearsal: no key is in it')
  expect(inspect(fileWith(share.slice(0, 70)))).toMatchObject({
    kind: 'kvx-share',
    facts: { complete: false, characters: 70 },
  })
})

test('a vault tells its header without a key, also where it is larger than is read, and what is damaged of it', () => {
  const place = vaultPlace()
  const big = JSON.stringify({ token: 'x'.repeat(2_000_000) })
  for (const value of ['{"token":"first"}', big])
    expect(kvcrypt(['put', 'tk', '-', ...place.flags], { input: value }).exit).toBe(0)
  const found = inspect(place.file('tk'))
  const { checkValue } = inspect(join(place.keyDir, 'tk.key')).facts
  const facts = { name: 'tk', generation: '2', checkValue, version: 1, suite: 1 }
  expect(found).toMatchObject({ kind: 'kvx-vault', facts })
  const human = kvx(['inspect', place.file('tk')]).stdout
  expect(human).toContain('vault of kvx')
  expect(human).toContain('Next: kvx vault list')
  const bytes = readFileSync(place.file('tk'))
  const later = Buffer.concat([bytes.subarray(0, 8), Buffer.from([9]), bytes.subarray(9, 200)])
  expect(inspect(fileWith(later))).toMatchObject({
    kind: 'kvx-vault',
    facts: { problem: 'it says that it has version 9; this kvx knows version 1' },
  })
  expect(inspect(fileWith(bytes.subarray(0, 20))).facts).toEqual({ problem: 'it is cut off in its header' })
})

test('an OpenPGP message tells its recipients as gpg does, armored or not', (context) => {
  needsTool(context, 'gpg')
  const gpg = new GpgHome()
  onTestFinished(() => gpg.remove())
  const recipients = [gpg.makeKey('a@example.org'), gpg.makeKey('b@example.org')]
  const message = gpg.encrypt(key, ...recipients)
  const binary = fileWith(message)
  const armored = fileWith(gpg.run(['--enarmor'], message).toString().replaceAll('ARMORED FILE', 'MESSAGE'))
  const listed = gpg.run(['--list-only', '--status-fd', '1', '--decrypt'], message).toString()
  const keyIds = [...listed.matchAll(/ENC_TO ([0-9A-F]{16})/g)].map((match) => match[1])
  expect(keyIds).toHaveLength(2)
  const facts = { recipients: keyIds, integrityProtected: true, passphrases: 0 }
  expect(inspect(binary)).toMatchObject({ kind: 'openpgp-message', facts: { ...facts, armored: false } })
  expect(inspect(armored)).toMatchObject({ kind: 'openpgp-message', facts: { ...facts, armored: true } })
  const cut = inspect(fileWith(message.subarray(0, message.length - 9)))
  expect(cut).toMatchObject({ kind: 'openpgp-message', facts: { problem: 'truncated' } })
  const secret = gpg.run(['--armor', '--export-secret-keys', recipients[0] ?? ''])
  expect(inspect(fileWith(secret))).toMatchObject({ kind: 'openpgp', facts: { secret: true } })
})

test('a SQLite database tells its pages, whatever its size', () => {
  const path = join(trustedDirectory(), 'app.db')
  const database = new DatabaseSync(path)
  database.exec('PRAGMA user_version = 7; CREATE TABLE t (v TEXT)')
  const insert = database.prepare('INSERT INTO t VALUES (?)')
  for (let at = 0; at < 40; at++) insert.run('x'.repeat(40_000))
  database.close()
  const found = inspect(path)
  expect(found).toMatchObject({
    kind: 'sqlite',
    facts: { pageSize: 4096, journal: 'rollback', userVersion: 7 },
  })
  expect(found.size).toBe(4096 * Number(found.facts['pages']))
})

test('the keyring and the configuration of a home are known', async () => {
  const directory = trustedDirectory()
  await createHome(join(directory, 'home'))
  expect(inspect(join(directory, 'home/keyring.json'))).toMatchObject({
    kind: 'kvx-keyring',
    facts: { keys: [] },
  })
})

describe('what is no regular file', () => {
  test('is named and not opened', () => {
    const directory = trustedDirectory()
    const fifo = join(directory, 'fifo')
    run('mkfifo', fifo)
    mkdirSync(join(directory, 'sub'))
    symlinkSync(join(directory, 'sub'), join(directory, 'link'))
    for (const [path, kind] of [
      [fifo, 'fifo'],
      ['/dev/zero', 'device'],
      [join(directory, 'sub'), 'directory'],
      [join(directory, 'link'), 'directory'],
    ] as const) {
      const ended = spawnSync('timeout', ['5', kvxBin, 'inspect', path, '--json'], { encoding: 'utf8' })
      expect(ended.status).toBe(0)
      expect((JSON.parse(ended.stdout) as { data: Data }).data).toMatchObject({ path, kind })
    }
  })

  test('a terabyte is not read', () => {
    const path = join(trustedDirectory(), 'big')
    ftruncateSync(openSync(path, 'w', 0o600), 2 ** 40)
    const started = Date.now()
    expect(inspect(path)).toMatchObject({ kind: 'binary', size: 2 ** 40 })
    expect(Date.now() - started).toBeLessThan(5000)
  })

  test.each([
    ['is missing', 'none', 2],
    ['points to nothing', 'dangling', 2],
    ['points to itself', 'loop', 6],
    ['has no name', '', 2],
  ])('a path that %s is refused', (_, name, exit) => {
    const directory = trustedDirectory()
    symlinkSync(join(directory, 'nowhere'), join(directory, 'dangling'))
    symlinkSync(join(directory, 'loop'), join(directory, 'loop'))
    const result = kvx(['inspect', name === '' ? '' : join(directory, name)])
    expect(result.exit).toBe(exit)
    expect(result.stderr).toMatch(/^kvx: /)
    expectSilence(result)
  })

  test('a file that may not be read ends in 9 with the way to read it', (context) => {
    needsOtherUsers(context)
    const path = fileWith(key)
    execFileSync('chmod', ['755', join(path, '..')])
    const document = kvxJson(['inspect', path], { uid: 65534, gid: 65534, cwd: '/' })
    expect(document).toMatchObject({ exit: 9, error: { code: 'IO_ERROR' } })
  })
})
