import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import * as application from '../support/application.ts'
import { GpgHome } from '../support/gpg.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

const gpg = new GpgHome()
const recipient = gpg.makeKey('operator@example.org')
afterAll(() => gpg.remove())

const rows = 60
type Counts = { envelopes: { records: number; changed: number; quarantined: number }[] }
type Verified = {
  envelopes: { records: number; byVersion: Record<string, number>; unreadable: number; plaintext: number }[]
}

const shapes = {
  'a DEK a record, AES-256-GCM with 12-byte nonces': application.plainTwoLevels,
  'AES-256-GCM with 16-byte nonces': application.sixteenByteNonces,
  'XChaCha20-Poly1305 around the DEK, raw': application.xchachaWrap,
  'hex iv:tag:ct': application.hexWithColons,
  'a prefix and base64url parts': application.prefixedParts,
  'a version column that the AAD of the wrap binds': application.versionColumn,
  'a version that the AAD of the value binds too': application.boundVersion,
  'several columns for one value, and a second value': application.severalColumns,
  'values directly under the key, nulls and declared plaintext': application.oneLevel,
  'two numbered values a record directly under the key': application.numberedValues,
} as const

describe.each(Object.entries(shapes))('the main job with %s', (_, shape) => {
  test('moves everything to the new key, and nothing opens with the old one', () => {
    const workspace = withClose(makeWorkspace({ shape, rows, gpg, recipients: [recipient] }))
    const others = workspace.read(workspace.firstKey.bytes).others
    workspace.begin()
    expectUnder(workspace, 'master@1')
    workspace.ok('backup', 'create', 'master')

    workspace.ok('rotate', 'master', '--offline', '--yes')
    expect(workspace.publishedKey('previous')).toEqual(workspace.firstKey.bytes)
    expect(workspace.publishedKey('current')).not.toEqual(workspace.firstKey.bytes)
    expect(workspace.lost()).toEqual([])

    const moved = workspace.ok<Counts>(shape.work, '--yes').data.envelopes[0]
    expect(moved).toMatchObject({ records: rows + others, changed: rows, quarantined: 0 })
    expectAllUnderNewKey(workspace, others)
    expectUnder(workspace, 'master@2')

    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    expect(workspace.publishedKey('previous')).toBeUndefined()
    expectAllUnderNewKey(workspace, others)
    workspace.ok('audit', 'verify')
  })
})

describe('the main job in one run', () => {
  test.each([
    ['env', application.xchachaWrap],
    ['env-one-slot', application.versionColumn],
    ['file', application.numberedValues],
    ['file-one-slot', application.oneLevel],
  ] as const)('moves the data with the rotation, %s', (place, shape) => {
    const workspace = withClose(makeWorkspace({ shape, rows, place, gpg, recipients: [recipient] }))
    const others = workspace.read(workspace.firstKey.bytes).others
    workspace.begin()
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes')
    expectAllUnderNewKey(workspace, others)
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    expectAllUnderNewKey(workspace, others)
  })

  test('leaves every other byte of the application as it was', () => {
    const workspace = withClose(makeWorkspace({ shape: application.numberedValues, rows: 20 })).begin()
    const before = workspace.rows()
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...withoutBackup)
    const after = workspace.rows()
    expect(after.map((row) => [row['id'], row['comment']])).toEqual(
      before.map((row) => [row['id'], row['comment']]),
    )
    expect(after.slice(0, 20).map((row) => String(row['login']).slice(0, 9))).toEqual(
      Array.from({ length: 20 }, () => 'vault:v2:'),
    )
    expect(readFileSync(workspace.published, 'utf8')).toMatch(/^PORT=8080\n.*\nLOG=info\nAPP_KEK_OLD=/s)
  })

  test('moves every envelope of the key, each as it needs, and retires when the last one is moved', () => {
    const workspace = withClose(makeWorkspace({ shape: application.plainTwoLevels, rows: 20 }))
    const settings = Array.from({ length: 10 }, (_, index) => index + 1)
    workspace.sql((database) => {
      database.exec('CREATE TABLE settings (id INTEGER PRIMARY KEY, value TEXT)')
      const insert = database.prepare('INSERT INTO settings VALUES (?, ?)')
      for (const id of settings)
        insert.run(id, application.bindable(application.oneLevel.seal(workspace.firstKey, id)['value']))
    })
    workspace.begin()
    const more = ['  app.settings:', '    store: app', '    table: settings', '    id: id', '    key: master']
    const lines = [...more, ...application.oneLevel.envelope.map((line) => `    ${line}`), '']
    workspace.writeConfig(workspace.configuration() + lines.join('\n'))
    workspace.ok('rotate', 'master', '--offline', '--yes', ...withoutBackup)
    workspace.ok('rewrap', '--yes')
    const early = workspace.json('retire', 'master@1', '--confirm', 'master@1')
    expect(early).toMatchObject({ exit: 6, error: { code: 'VALUES_REMAIN' } })
    expect(early.error?.message).toContain('app.settings 10')
    workspace.ok('reencrypt', '--yes')
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    const key = workspace.publishedKey('current')
    if (key === undefined) throw new Error('no key is published')
    const rows = workspace.sql((database) => database.prepare('SELECT * FROM settings').all())
    expect(
      rows.map((row) => application.oneLevel.open(key, Number(row['id']), row as application.Row)),
    ).toEqual(settings.map((id) => [application.secretOf(id)]))
    expect(workspace.read(key)).toMatchObject({ opened: 20, failed: 0 })
  })

  test('gives every rewritten value a nonce of its own', () => {
    const workspace = withClose(makeWorkspace({ shape: application.plainTwoLevels, rows })).begin()
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...withoutBackup)
    const nonces = workspace
      .rows()
      .map((row) => application.bufferOf(row['wrapped_dek']).toString('hex', 0, 12))
    expect(new Set(nonces).size).toBe(rows)
  })
})

const withoutBackup = ['--without-backup', '--reason', 'a test']
const open: Workspace[] = []

function withClose(workspace: Workspace): Workspace {
  open.push(workspace)
  return workspace
}
afterAll(() => open.forEach((workspace) => workspace.close()))

/** `verify` says what the independent reader says. */
function expectUnder(workspace: Workspace, version: string): void {
  const [envelope] = workspace.ok<Verified>('verify').data.envelopes
  expect(envelope?.byVersion).toEqual({ [version]: rows })
  expect(envelope?.unreadable).toBe(0)
  expect(workspace.lost()).toEqual([])
}

/** The application, which knows nothing of kvx, reads everything with the published key and nothing with the old. */
function expectAllUnderNewKey(workspace: Workspace, others: number): void {
  const now = workspace.publishedKey('current')
  expect(workspace.read(now)).toEqual({ opened: rows, failed: 0, others })
  expect(workspace.read(workspace.firstKey.bytes)).toEqual({ opened: 0, failed: rows, others })
}
