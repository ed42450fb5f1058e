import { existsSync, readdirSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, describe, expect, test, type TestContext } from 'vitest'
import { oneLevel } from '../support/application.ts'
import { GpgHome } from '../support/gpg.ts'
import { needsTool } from '../support/needs.ts'
import { begun, closeStates, rotated, rows, runOf, staged, stuck, untested } from '../support/states.ts'
import type { Workspace } from '../support/workspace.ts'

afterAll(closeStates)

function ring(workspace: Workspace) {
  const key = workspace.keyring().keys['master']
  if (key === undefined) throw new Error('the keyring has no key')
  return key
}

function keyFile(workspace: Workspace, version: number): string {
  return join(workspace.home, `keys/master.v${version}.key`)
}

function overwritten(workspace: Workspace, run: string): readonly string[] {
  const folder = join(workspace.home, 'runs', run, 'backup')
  const names = existsSync(folder)
    ? readdirSync(folder).filter((name) => name.startsWith('overwritten-'))
    : []
  return names.flatMap((name) => readFileSync(join(folder, name), 'utf8').trimEnd().split('\n').slice(1))
}

/** SQLite counts its transactions in the header of the file. */
function transactions(workspace: Workspace): number {
  return readFileSync(workspace.database).readUInt32BE(24)
}

describe('run restore', () => {
  test('changes nothing while old bytes open with no key of the home, and names the first', () => {
    const workspace = rotated()
    const { id } = runOf(workspace)
    unlinkSync(keyFile(workspace, 1))
    const before = JSON.stringify(workspace.rows())
    const refused = workspace.json('run', 'restore', id, '--yes')
    expect(refused).toMatchObject({ exit: 5, error: { code: 'UNREADABLE_RECORDS' } })
    expect(refused.error?.message).toContain(`the old bytes of ${rows} records`)
    expect(refused.error?.hint).toContain(`--accept-loss ${rows} --reason TEXT`)
    expect(JSON.stringify(workspace.rows())).toBe(before)
    expect(workspace.json('run', 'restore', id, '--dry-run').exit).toBe(5)
    workspace.ok('run', 'restore', id, '--accept-loss', String(rows), '--reason', 'a drill', '--yes')
    expect(JSON.stringify(workspace.rows())).not.toBe(before)
  })

  test('brings nothing back under a retired version before its mark is taken back', () => {
    const workspace = rotated()
    const { id } = runOf(workspace)
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    const before = JSON.stringify(workspace.rows())
    const refused = workspace.json('run', 'restore', id, '--yes')
    expect(refused).toMatchObject({ exit: 6, error: { code: 'VALUES_REMAIN' } })
    expect(refused.error?.hint).toContain('kvx key unretire master@1')
    expect(JSON.stringify(workspace.rows())).toBe(before)
    workspace.ok('key', 'unretire', 'master@1', '--yes')
    workspace.ok('run', 'restore', id, '--yes')
    expect(workspace.read(workspace.firstKey.bytes).opened).toBe(rows)
  })

  test('keeps what it overwrites in the folder of the run before the first write', () => {
    const workspace = rotated()
    const { id } = runOf(workspace)
    const wraps = workspace.rows().map((row) => row['wrapped_dek'])
    workspace.sql((database) =>
      database.exec(`CREATE TRIGGER no BEFORE UPDATE ON secrets BEGIN SELECT RAISE(ABORT, 'no'); END`),
    )
    expect(workspace.json('run', 'restore', id, '--yes').exit).not.toBe(0)
    expect(overwritten(workspace, id)).toHaveLength(rows)
    workspace.sql((database) => database.exec('DROP TRIGGER no'))
    workspace.ok('run', 'restore', id, '--yes')
    expect(workspace.read(workspace.firstKey.bytes).opened).toBe(rows)
    const kept = overwritten(workspace, id).join('\n')
    const columns = Object.values(workspace.rows()[0] ?? {}).length
    expect(columns).toBeGreaterThan(1)
    for (const wrap of wraps) {
      if (wrap instanceof Uint8Array) expect(kept).toContain(Buffer.from(wrap).toString('base64'))
    }
    workspace.ok('run', 'forget', id, '--confirm', id)
    expect(overwritten(workspace, id)).toHaveLength(0)
  })

  test('writes 500 records in one transaction', () => {
    const workspace = rotated({ rows: 1200 })
    const before = transactions(workspace)
    workspace.ok('run', 'restore', runOf(workspace).id, '--yes')
    expect(transactions(workspace) - before).toBe(3)
    expect(workspace.read(workspace.firstKey.bytes).opened).toBe(1200)
  })

  test('takes the last bytes of a record that the run replaced twice', () => {
    const workspace = rotated()
    const { id } = runOf(workspace)
    const file = join(workspace.home, 'runs', id, 'backup/ciphertext.jsonl')
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
    const [header = '', first = '', ...rest] = lines
    const earlier = { ...(JSON.parse(first) as object), wrote: '0'.repeat(64) }
    writeFileSync(file, `${[header, JSON.stringify(earlier), first, ...rest].join('\n')}\n`)
    const done = workspace.ok<{ restored: number; changedSince: number }>('run', 'restore', id, '--yes')
    expect(done.data).toMatchObject({ restored: rows, changedSince: 0 })
  })

  test('a version that is destroyed takes the expired backups of its values along', () => {
    const workspace = rotated()
    const { id } = runOf(workspace)
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    const journal = new DatabaseSync(join(workspace.home, 'kvx.db'))
    journal.exec(`UPDATE run SET updated = '2026-01-01T00:00:00Z'`)
    journal.close()
    workspace.ok('destroy', 'master@1', '--after', '0s', '--confirm', 'master@1')
    workspace.ok('destroy', '--due')
    const restored = workspace.json('run', 'restore', id, '--yes')
    expect(restored).toMatchObject({ exit: 2, error: { code: 'BACKUP_UNKNOWN' } })
    expect(workspace.ok('audit', 'show').data).toMatchObject({
      entries: expect.arrayContaining([expect.objectContaining({ action: 'run.forget', run: id })]),
    })
    expect(workspace.ok('verify').data).toMatchObject({ envelopes: [{ unreadable: 0 }] })
  })
})

describe('run rollback', () => {
  test('refuses a run that was abandoned or rolled back, and the key stays free', () => {
    const workspace = staged()
    const { id } = runOf(workspace)
    workspace.ok('rotate', 'master', '--unstage', '--yes')
    const before = workspace.treeHash()
    const refused = workspace.json('run', 'rollback', id, '--yes')
    expect(refused).toMatchObject({ exit: 2, error: { code: 'STATE_TRANSITION' } })
    expect(workspace.treeHash()).toBe(before)
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
    workspace.ok('run', 'rollback', runOf(workspace).id, '--yes')
    const again = workspace.json('run', 'rollback', runOf(workspace).id, '--yes')
    expect(again).toMatchObject({ exit: 2, error: { code: 'STATE_TRANSITION' } })
    workspace.ok('retire', 'master@3', '--confirm', 'master@3')
  })

  test('writes nothing, not even its direction, when the old key file is missing', () => {
    const workspace = rotated()
    const { id } = runOf(workspace)
    unlinkSync(keyFile(workspace, 1))
    const before = workspace.treeHash()
    const refused = workspace.json('run', 'rollback', id, '--yes')
    expect(refused).toMatchObject({ exit: 5, error: { code: 'KEYRING_DAMAGED' } })
    expect(workspace.treeHash()).toBe(before)
    expect(runOf(workspace)).toMatchObject({ status: 'done', direction: 'forward' })
  })

  test.each(['compromised', 'lost'] as const)('goes forward again when the old version is %s', (how) => {
    const workspace = rotated({ shape: oneLevel })
    const { id } = runOf(workspace)
    workspace.put(5, workspace.strangeKey())
    expect(workspace.json('run', 'rollback', id, '--yes').exit).toBe(4)
    expect(ring(workspace).seals).toBe(1)
    if (how === 'compromised') workspace.ok('key', 'compromise', 'master@1', '--reason', 'stolen', '--yes')
    else renameSync(keyFile(workspace, 1), workspace.file('v1.key'))
    const refused = workspace.json('run', 'resume')
    expect(refused.exit).not.toBe(0)
    expect(refused.error?.hint).toContain(`kvx run resume ${id} --forward`)
    if (how === 'lost') {
      const published = workspace.json('run', 'resume', id, '--forward')
      expect(published).toMatchObject({ exit: 5, error: { code: 'KEYRING_DAMAGED' } })
      expect(published.error?.hint).toContain('kvx key import master')
      workspace.ok(
        'key',
        'import',
        'master',
        '--from',
        `file:${workspace.file('v1.key')}`,
        '--encoding',
        'raw',
        '--version',
        '1',
      )
    }
    expect(workspace.json('run', 'resume', id, '--forward').exit).toBe(4)
    expect(ring(workspace).seals).toBe(2)
    workspace.sql((database) => database.exec('DELETE FROM secrets WHERE id = 5'))
    workspace.ok('run', 'resume')
    expect(runOf(workspace)).toMatchObject({ status: 'done', direction: 'forward' })
    expect(workspace.read(workspace.publishedKey('current')).opened).toBe(rows - 1)
  })
})

describe('run abandon', () => {
  const ways: Readonly<Record<string, (workspace: Workspace, id: string) => void>> = {
    'its store was moved': (workspace) => {
      renameSync(workspace.database, workspace.file('moved.db'))
      workspace.writeConfig(workspace.configuration().replace('sqlite: app.db', 'sqlite: moved.db'))
    },
    'its store was dropped': (workspace) => rmSync(workspace.database),
    'its envelope was removed': (workspace) =>
      workspace.writeConfig(workspace.configuration().replace(/^stores:[^]*/m, '')),
    'its folder was lost': (workspace, id) => rmSync(join(workspace.home, 'runs', id), { recursive: true }),
  }

  test.each(Object.keys(ways))('frees the key of a run after %s', (name) => {
    const workspace = stuck()
    const { id } = runOf(workspace)
    ways[name]?.(workspace, id)
    for (const command of ['resume', 'rollback']) {
      expect(workspace.json('run', command, id, '--yes').exit).not.toBe(0)
    }
    const blocked = workspace.json('rotate', 'master', '--offline', '--yes', ...untested)
    expect(blocked.exit).not.toBe(0)
    const give = ['run', 'abandon', id, '--reason', 'it moved'] as const
    expect(workspace.json(...give, '--no-input')).toMatchObject({ exit: 2, error: { code: 'NOT_CONFIRMED' } })
    const done = workspace.run(...give, '--confirm', id)
    expect(done).toMatchObject({ exit: 0 })
    expect(done.stdout).toContain('master@2 seals')
    expect(done.stdout).toContain('kvx verify')
    expect(runOf(workspace).status).toBe('abandoned')
    expect(ring(workspace).seals).toBe(2)
    const audited = workspace.ok('audit', 'show').data
    expect(JSON.stringify(audited)).toContain('run.abandon')
    expect(workspace.json(...give, '--confirm', id)).toMatchObject({ error: { code: 'NOTHING_TO_RESUME' } })
  })
})

describe('a rotation without data', () => {
  test('goes on after an envelope was edited and its store is gone', () => {
    const workspace = staged()
    workspace.writeConfig(workspace.configuration().replace('id: id', 'id: other'))
    rmSync(workspace.database)
    workspace.ok('rotate', 'master', '--activate', '--rolled-out', '--yes')
    expect(ring(workspace).seals).toBe(2)
  })

  test('begins without opening a store, and its staged version is rolled back without one', () => {
    const workspace = begun()
    rmSync(workspace.database)
    workspace.ok('rotate', 'master', '--stage', '--yes', ...untested)
    workspace.ok('run', 'rollback', '--yes')
    expect(ring(workspace)).toMatchObject({ seals: 1, staged: null })
  })
})

function withBackup(workspace: Workspace, backup: string): void {
  const text = workspace.configuration().replace('stores:', `    backup: ${backup}\nstores:`)
  workspace.writeConfig(text)
}

describe('the backup of a new version', () => {
  test('shares are dealt while a rotation waits for them', (context: TestContext) => {
    needsTool(context, 'gpg')
    const gpg = new GpgHome()
    try {
      const people = ['A', 'B'].map(
        (name) => `{ name: ${name}, openpgp: ${gpg.makeKey(`${name}@example.org`)} }`,
      )
      const workspace = begun({ gpg })
      withBackup(workspace, `{ shares: { threshold: 2, of: 2, custodians: [${people.join(', ')}] } }`)
      const waiting = workspace.json('rotate', 'master', '--stage', '--yes')
      expect(waiting).toMatchObject({ exit: 6, error: { code: 'NO_TESTED_BACKUP' } })
      expect(waiting.error?.hint).toContain('kvx backup split master@2')
      expect(ring(workspace)).toMatchObject({ seals: 1, staged: null })
      workspace.ok('backup', 'split', 'master@2')
    } finally {
      gpg.remove()
    }
  })

  test('is made again when the configured recipients are others', (context: TestContext) => {
    needsTool(context, 'gpg')
    const gpg = new GpgHome()
    try {
      const [gone, here] = [gpg.makeKey('gone@example.org'), gpg.makeKey('here@example.org')]
      gpg.run(['--yes', '--delete-secret-keys', gone])
      const workspace = begun({ gpg })
      withBackup(workspace, `{ recipients: [${gone}] }`)
      const waiting = workspace.json('rotate', 'master', '--stage', '--yes')
      expect(waiting).toMatchObject({ exit: 6, error: { code: 'NO_TESTED_BACKUP' } })
      expect(waiting.error?.hint).toContain('kvx backup create master@2')
      withBackup(workspace, `{ recipients: [${here}] }`)
      workspace.ok('rotate', 'master', '--activate', '--rolled-out', '--yes')
      expect(ring(workspace).seals).toBe(2)
    } finally {
      gpg.remove()
    }
  })
})

describe('states', () => {
  test.each(['suspend', 'compromise'])('a staged version after key %s does not begin to seal', (step) => {
    const workspace = staged()
    workspace.ok('key', step, 'master@2', '--reason', 'odd', '--yes')
    const refused = workspace.json('rotate', 'master', '--activate', '--rolled-out', '--yes')
    expect(refused).toMatchObject({ exit: 2, error: { code: 'STATE_TRANSITION' } })
    const way = step === 'suspend' ? 'kvx key resume master@2' : 'kvx rotate master --unstage'
    expect(refused.error?.hint).toContain(way)
    expect(ring(workspace).seals).toBe(1)
  })

  test('a suspended version in the previous slot is resumed before it is retired, and both refusals say so', () => {
    const workspace = rotated()
    workspace.ok('key', 'suspend', 'master@1', '--reason', 'odd', '--yes')
    const occupied = workspace.json('rotate', 'master', '--stage', '--yes', ...untested)
    expect(occupied).toMatchObject({ exit: 6, error: { code: 'SLOT_OCCUPIED' } })
    const refused = workspace.json('retire', 'master@1', '--confirm', 'master@1')
    expect(refused).toMatchObject({ exit: 2, error: { code: 'STATE_TRANSITION' } })
    for (const { error } of [occupied, refused])
      expect(error?.hint).toContain('kvx key resume master@1 --reason TEXT')
  })

  test('a version that is resumed after another began to seal is not active beside it', () => {
    const workspace = begun()
    workspace.ok('key', 'suspend', 'master@1', '--reason', 'odd', '--yes')
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    workspace.ok('key', 'resume', 'master@1', '--reason', 'closed', '--yes')
    expect(ring(workspace).versions['1']?.state).toBe('deactivated')
  })
})

describe('a keyring that is made again', () => {
  test('takes the newest version where no published place holds one, and says so', () => {
    const workspace = rotated()
    writeFileSync(workspace.published, 'PORT=8080\n', { mode: 0o600 })
    const rebuilt = workspace.ok('doctor', '--rebuild-keyring', '--yes')
    expect(rebuilt.warnings).toContainEqual(expect.objectContaining({ code: 'SEALS_GUESSED' }))
    expect(ring(workspace).seals).toBe(2)
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
  })

  test('key import says which version seals where the keyring does not know', () => {
    const workspace = rotated()
    const path = join(workspace.home, 'keyring.json')
    const file = JSON.parse(readFileSync(path, 'utf8')) as {
      keys: Record<
        string,
        { seals: number | null; previous: number | null; versions: Record<string, { state: string }> }
      >
    }
    const key = file.keys['master']
    if (key?.versions['2'] === undefined) throw new Error('there is no version 2')
    key.seals = null
    key.versions['2'].state = 'deactivated'
    writeFileSync(path, JSON.stringify(file))
    expect(workspace.json('keygen', 'master')).toMatchObject({ exit: 2, error: { code: 'KEY_EXISTS' } })
    const from = ['--from', `file:${keyFile(workspace, 2)}`, '--encoding', 'raw', '--version', '2'] as const
    workspace.ok('key', 'import', 'master', ...from)
    expect(ring(workspace)).toMatchObject({ seals: 2 })
    expect(ring(workspace).versions['2']?.state).toBe('active')
  })
})

test('a warning is told when the command fails, too', () => {
  const workspace = begun()
  workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
  unlinkSync(keyFile(workspace, 1))
  const failed = workspace.json('rewrap', '--yes')
  expect(failed).toMatchObject({ exit: 5, error: { code: 'UNREADABLE_RECORDS' } })
  expect(failed.warnings).toContainEqual(expect.objectContaining({ code: 'KEY_FILE_UNUSABLE' }))
  expect(workspace.run('rewrap', '--yes').stderr).toMatch(/^warning: .*key file of master@1/m)
})
