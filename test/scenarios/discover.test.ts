/** Finding what nobody declared, by the command line: each declaration that it prints must load and open. */
import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, expect, test } from 'vitest'
import {
  hexWithColons,
  oneLevel,
  plainTwoLevels,
  prefixedParts,
  severalColumns,
  type Shape,
  sixteenByteNonces,
  xchachaWrap,
} from '../support/application.ts'
import { Folder } from '../support/folder.ts'
import { closeImported, importedWorkspace, type Workspace } from '../support/workspace.ts'

const open: { close(): void }[] = []
afterAll(() => {
  for (const one of open) one.close()
  closeImported()
})

const untested = ['--without-backup', '--reason', 'a test system'] as const

type Found = {
  readonly store: string
  readonly table: string
  readonly columns: readonly string[]
  readonly opens: Record<string, number>
  readonly level: string
  readonly confidence: string
  readonly looks: string
  readonly declaration: string | null
}
type Discovered = { readonly finds: readonly Found[]; readonly configuration: string | null }
type Census = {
  readonly envelopes: readonly { name: string; byVersion: Record<string, number>; unreadable: number }[]
}

/** The application's own table is not declared; another one is, so that `envelopes:` stands there. */
function undeclared(shape: Shape): Workspace {
  const workspace = importedWorkspace({ shape, rows: 30 })
  open.push(workspace)
  const text = workspace.configuration()
  writeFileSync(workspace.file('kvx.yaml'), text.slice(0, text.indexOf('  app.secrets:')))
  return workspace
}

test.each([
  ['a wrapped DEK and a value', plainTwoLevels],
  ['nonces of 16 bytes in base64', sixteenByteNonces],
  ['XChaCha20 around AES-GCM', xchachaWrap],
  ['hex with colons', hexWithColons],
  ['parts with dots', prefixedParts],
  ['a value over three columns', severalColumns],
] as const)('%s: what discover prints is appended to kvx.yaml, and verify opens everything', (_, shape) => {
  const workspace = undeclared(shape)
  const before = workspace.treeHash()
  const found = workspace.json<Discovered>('discover')
  expect([found.exit, found.error?.code]).toEqual([3, 'FINDINGS'])
  expect(workspace.treeHash()).toBe(before)
  const { finds } = found.data
  expect(finds.length).toBeGreaterThan(0)
  for (const { opens } of finds) expect(opens).toEqual({ 'master@1': 30 })
  for (const { declaration } of finds)
    if (declaration !== null) appendFileSync(workspace.file('kvx.yaml'), declaration)
  const verified = workspace.ok<Census>('verify').data.envelopes
  expect(verified).toMatchObject([{ byVersion: { 'master@1': 30 }, unreadable: 0 }])
  expect(workspace.ok<Discovered>('discover').data.finds).toEqual([])
  workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
  expect(workspace.read(workspace.publishedKey()).failed).toBe(0)
})

test('values that are bound to a word of their own application look sealed and open with nothing', () => {
  const workspace = undeclared(oneLevel)
  const { finds } = workspace.json<Discovered>('discover').data
  expect(finds).toMatchObject([
    { columns: ['value'], opens: {}, level: 'unknown', confidence: 'likely', looks: 'a prefix like enc:' },
  ])
})

test('retire refuses while an undeclared column opens under the key, and passes once it is declared and moved', () => {
  const workspace = importedWorkspace({ shape: plainTwoLevels, rows: 20 })
  open.push(workspace)
  const key = workspace.firstKey.bytes
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  const planted = Buffer.concat([nonce, cipher.update('planted secret'), cipher.final(), cipher.getAuthTag()])
  workspace.sql((database) => {
    database.exec('CREATE TABLE settings (name TEXT NOT NULL PRIMARY KEY, hidden TEXT)')
    const insert = database.prepare('INSERT INTO settings VALUES (?, ?)')
    for (let row = 0; row < 400; row++)
      insert.run(`row ${row}`, row === 333 ? planted.toString('base64') : null)
  })
  workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
  const ring = readFileSync(`${workspace.home}/keyring.json`, 'utf8')
  const previous = workspace.publishedKey('previous')
  const refused = workspace.json('retire', 'master@1', '--confirm', 'master@1')
  expect([refused.exit, refused.error?.code]).toEqual([6, 'VALUES_REMAIN'])
  expect(refused.error?.message).toContain('app "settings" "hidden" (master@1)')
  expect(readFileSync(`${workspace.home}/keyring.json`, 'utf8')).toBe(ring)
  expect(workspace.publishedKey('previous')).toEqual(previous)

  const { finds } = workspace.json<Discovered>('discover').data
  expect(finds).toMatchObject([{ table: 'settings', columns: ['hidden'], opens: { 'master@1': 1 } }])
  appendFileSync(workspace.file('kvx.yaml'), finds[0]?.declaration ?? '')
  workspace.ok('reencrypt', '--yes')
  workspace.ok('retire', 'master@1', '--confirm', 'master@1')
})

test('a database without a configuration: the printed kvx.yaml is one that works', () => {
  const folder = new Folder()
  open.push(folder)
  const key = randomBytes(32)
  const keyPath = folder.put('keys/app.key', key.toString('hex'))
  const database = new DatabaseSync(folder.file('app.db'))
  database.exec('CREATE TABLE tokens (id TEXT PRIMARY KEY, owner TEXT, token BLOB)')
  for (let row = 0; row < 10; row++) {
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', key, nonce)
    const sealed = Buffer.concat([nonce, cipher.update(`token ${row}`), cipher.final(), cipher.getAuthTag()])
    database.prepare('INSERT INTO tokens VALUES (?, ?, ?)').run(`t${row}`, `owner ${row}`, sealed)
  }
  database.close()
  const place = `sqlite:${folder.file('app.db')}`
  const without = folder.json<Discovered>('discover', place)
  expect(without.data.finds).toMatchObject([{ opens: {}, level: 'unknown', confidence: 'likely' }])
  const found = folder.json<Discovered>('discover', place, '--key-file', keyPath)
  expect([found.exit, found.data.finds.length]).toEqual([3, 1])
  expect(found.data.finds[0]?.opens).toEqual({ 'app@1': 10 })
  writeFileSync(folder.file('kvx.yaml'), found.data.configuration ?? '', { mode: 0o600 })
  folder.ok('init')
  folder.ok('key', 'import', 'app')
  expect(folder.ok<Census>('verify').data.envelopes).toMatchObject([
    { byVersion: { 'app@1': 10 }, unreadable: 0 },
  ])
})

test('tries a key through the derivation that the configuration names', () => {
  const folder = new Folder()
  open.push(folder)
  const key = randomBytes(32)
  const derived = createHash('sha256').update(key).digest()
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', derived, nonce)
  folder.put('data/1', Buffer.concat([nonce, cipher.update('a secret'), cipher.final(), cipher.getAuthTag()]))
  folder.begin({
    key,
    purpose: 'data',
    derive: 'sha256(key)',
    stores: ['  docs: { directory: data, match: "*" }'],
    envelopes: ['  {}'],
  })
  expect(folder.json<Discovered>('discover').data.finds).toMatchObject([{ opens: { 'master@1': 1 } }])
})

test('tells people what it found, and prints no value', () => {
  const workspace = undeclared(plainTwoLevels)
  const { exit, stdout, stderr } = workspace.run('discover', '--progress', 'none')
  expect(exit).toBe(3)
  expect(stdout).toContain('app secrets wrapped_dek')
  expect(stdout).toContain('opens: master@1 30')
  expect(stdout).toContain('Put below `envelopes:` in kvx.yaml:')
  expect(stderr).toContain('kvx verify')
  for (const row of workspace.rows()) {
    const value = Buffer.from(row['ciphertext'] as string)
    for (let at = 0; at + 8 <= value.length; at += 8) {
      expect(stdout + stderr).not.toContain(value.subarray(at, at + 8).toString())
    }
  }
})

test('refuses what it does not know', () => {
  const workspace = undeclared(plainTwoLevels)
  expect(workspace.json('discover', 'ap').error).toMatchObject({
    code: 'STORE_UNKNOWN',
    hint: 'Did you mean app?',
  })
  expect(workspace.json('discover', 'mongodb:secret-of-a-url').error).toMatchObject({ code: 'USAGE' })
  expect(workspace.run('discover', 'mongodb:secret-of-a-url').stderr).not.toContain('secret-of-a-url')
  expect(workspace.json('discover', 'app', 'sqlite:app.db').error?.code).toBe('USAGE')
  expect(workspace.json('discover', 'sqlite:none.db').error?.code).toBe('FILE_NOT_FOUND')
})

test('documents of several shapes in one store are all searched, and one under the key holds it back', () => {
  const key = randomBytes(32)
  const seal = (text: string): string => {
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', key, nonce)
    return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]).toString('base64')
  }
  const folder = new Folder()
  open.push(folder)
  const lines = (...documents: readonly object[]): string =>
    documents.map((one) => `${JSON.stringify(one)}\n`).join('')
  folder.put('docs/a.jsonl', lines({ id: 'a1', value: seal('one') }, { id: 'a2', value: seal('two') }))
  folder.put('docs/b.jsonl', lines({ id: 'b1', value: { kept: seal('three') } }, { id: 'b2', value: 7 }))
  folder.begin({
    key,
    purpose: 'data',
    stores: ['  docs: { directory: ./docs, match: "*.jsonl", format: jsonl }'],
    envelopes: [
      '  app.a:',
      '    store: docs',
      '    table: a.jsonl',
      '    id: id',
      '    key: master',
      '    value: { column: value, aead: aes-256-gcm, layout: "base64(nonce:12 ct tag:16)" }',
    ],
  })
  folder.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
  const refused = folder.json('retire', 'master@1', '--confirm', 'master@1')
  expect([refused.exit, refused.error?.code]).toEqual([6, 'VALUES_REMAIN'])
  expect(refused.error?.message).toContain('"value.kept"')
  expect(refused.warnings.map(({ code }) => code)).not.toContain('NOT_LOOKED_AT')
})
