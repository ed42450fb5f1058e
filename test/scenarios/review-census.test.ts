import { createCipheriv, randomBytes } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, test } from 'vitest'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { destroyVersion } from '../../src/migration/destroy.ts'
import { Journal } from '../../src/migration/journal.ts'
import type { Shape } from '../support/application.ts'
import { startKvx } from '../support/cli.ts'
import { makeWorkspace, type Workspace, type WorkspaceOptions } from '../support/workspace.ts'

const untested = ['--without-backup', '--reason', 'a test system'] as const
const lost = ['--reason', 'it is gone for good'] as const
const rows = 20
const open: { close(): void }[] = []
afterAll(() => open.forEach((one) => one.close()))

const layout = 'layout: "nonce:12 ct tag:16"'

function sealed(key: Buffer, text: string): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv(`aes-${key.length === 16 ? 128 : 256}-gcm`, key, nonce)
  return Buffer.concat([nonce, cipher.update(text), cipher.final(), (cipher as never as Tagged).getAuthTag()])
}
type Tagged = { getAuthTag(): Buffer }

/** Two values directly under the key and a version column, in one table. */
function twoValues(version: string | number | null = 1, type = 'INTEGER'): Shape {
  return {
    ddl: `a BLOB, b BLOB, ver ${type}`,
    envelope: [],
    purpose: 'data',
    work: 'reencrypt',
    seal: (key, id) => ({ a: sealed(key.bytes, `a${id}`), b: sealed(key.bytes, `b${id}`), ver: version }),
    open: () => [],
  }
}

const value = (column: string): string => `{ column: ${column}, ${layout}, aead: aes-256-gcm }`
const onlyA = [`value: ${value('a')}`]
const both = [`value: [${value('a')}, ${value('b')}]`]
const numbered = [`value: ${value('a')}`, 'version: ver']

function begun(envelope: readonly string[], options: Partial<WorkspaceOptions> = {}): Workspace {
  const workspace = makeWorkspace({ shape: twoValues(), rows, envelope, ...options })
  open.push(workspace)
  // What is not declared would hold the key back: `kvx retire` looks for it.
  if (envelope !== both && options.shape === undefined)
    workspace.sql((database) => database.exec('UPDATE secrets SET b = NULL'))
  return workspace.begin()
}

function rotated(workspace: Workspace): Workspace {
  workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
  return workspace
}

function material(workspace: Workspace, version: number): Buffer {
  return readFileSync(join(workspace.home, `keys/master.v${version}.key`))
}

type Runs = { runs: { id: string }[] }
type Verified = {
  envelopes: { records: number; byVersion: Record<string, number>; mislabelled: number }[]
}

function forgetRuns(workspace: Workspace): void {
  for (const { id } of workspace.ok<Runs>('run', 'list').data.runs)
    workspace.ok('run', 'forget', id, '--confirm', id)
}

function retire(workspace: Workspace, version: number, ...more: readonly string[]) {
  return workspace.json('retire', `master@${version}`, '--confirm', `master@${version}`, ...more)
}

/** master@1 is retired, its run forgotten, and its waiting time over. */
async function due(workspace: Workspace): Promise<Workspace> {
  expect(retire(workspace, 1).error).toBeUndefined()
  forgetRuns(workspace)
  workspace.ok('destroy', 'master@1', '--after', '0s', '--confirm', 'master@1')
  await sleep(1100)
  return workspace
}

describe('a record whose values lie under several versions', () => {
  test('counts under each of them, is moved, and holds the gate of each back', () => {
    const workspace = rotated(begun(both))
    const [run] = workspace.ok<Runs>('run', 'list').data.runs
    workspace.ok('run', 'rollback', run?.id ?? '', '--yes')
    const late = sealed(material(workspace, 2), 'late')
    workspace.sql((database) => database.prepare('UPDATE secrets SET b = ? WHERE id = 5').run(late))
    expect(workspace.ok<Verified>('verify').data.envelopes[0]).toMatchObject({
      records: rows,
      byVersion: { 'master@1': rows, 'master@2': 1 },
    })
    expect(retire(workspace, 2)).toMatchObject({ exit: 6, error: { code: 'VALUES_REMAIN' } })
    expect(workspace.ok<{ pending: number }>('reencrypt', '--dry-run').data.pending).toBe(1)
    workspace.ok('reencrypt', '--yes', ...untested)
    expect(workspace.ok<Verified>('verify').data.envelopes[0]?.byVersion).toEqual({ 'master@1': rows })
    expect(retire(workspace, 2).exit).toBe(0)
  })
})

/** The configuration with a second envelope over the same table, where it has members. */
function two(workspace: Workspace, members: readonly string[]): string {
  if (members.length === 0) return workspace.configuration()
  const common = ['store: app', 'table: secrets', 'id: id', 'key: master']
  return `${workspace.configuration()}  app.more: { ${[...common, ...members].join(', ')} }\n`
}

describe('a place that had values', () => {
  test('keeps the key when its envelope is taken out of kvx.yaml, until it is dropped by name', () => {
    const workspace = begun(onlyA)
    workspace.writeConfig(two(workspace, [`value: ${value('b')}`]))
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    workspace.ok('reencrypt', 'app.secrets', '--yes')
    workspace.writeConfig(two(workspace, []))
    const { exit, error } = retire(workspace, 1)
    expect({ exit, code: error?.code }).toEqual({ exit: 6, code: 'PLACE_MISSING' })
    expect(error?.message).toContain('app.more')
    expect(error?.hint).toContain('--drop-place app.more --reason')
    expect(retire(workspace, 1, '--drop-place', 'app.secrets', ...lost).exit).toBe(6)
    const done = retire(workspace, 1, '--drop-place', 'app.more', ...lost)
    expect(done.exit).toBe(0)
    const certificate = readFileSync((done.data as { certificate: string }).certificate, 'utf8')
    expect(JSON.parse(certificate)).toMatchObject({
      droppedPlaces: [{ name: 'app.more' }],
      droppedReason: lost[1],
    })
    expect(workspace.run('audit', 'show', '--action', 'key.retire').stdout).toContain('app.more')
  })

  test('keeps the key when no envelope is left, and when the store is another, emptied one', () => {
    const workspace = begun(onlyA)
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    workspace.writeConfig(workspace.configuration().replace(/envelopes:[^]*/, ''))
    expect(retire(workspace, 1)).toMatchObject({ exit: 6, error: { code: 'PLACE_MISSING' } })
    const other = makeWorkspace({ shape: twoValues(), rows: 0 })
    open.push(other)
    workspace.writeConfig(workspace.configuration().replace('app.db', other.database))
    expect(retire(workspace, 1)).toMatchObject({ exit: 6, error: { code: 'PLACE_MISSING' } })
    expect(retire(workspace, 1, '--drop-place', 'app.secrets', ...lost).exit).toBe(0)
  })

  test('keeps the key when it has none any more, although a verify has seen that', () => {
    const workspace = rotated(begun(onlyA))
    workspace.ok('verify')
    workspace.sql((database) => database.exec('DELETE FROM secrets'))
    workspace.ok('verify')
    expect(retire(workspace, 1)).toMatchObject({ exit: 6, error: { code: 'PLACE_MISSING' } })
    expect(retire(workspace, 1, '--drop-place', 'app.secrets', ...lost).exit).toBe(0)
  })

  test('keeps the key when it lost over a half of them, until a person says that it was meant', () => {
    const workspace = rotated(begun(onlyA))
    workspace.sql((database) => database.exec('DELETE FROM secrets WHERE id % 3 > 0'))
    const left = workspace.rows().length
    // Looking does not make the smaller number the one that counts.
    workspace.ok('verify')
    const { exit, error } = retire(workspace, 1)
    expect({ exit, code: error?.code }).toEqual({ exit: 6, code: 'PLACE_MISSING' })
    expect(error?.message).toContain(`app.secrets had ${rows} records and has ${left}`)
    expect(error?.hint).toContain('--accept-shrunk app.secrets --reason')
    expect(workspace.keyring().keys['master']?.versions['1']?.retired).toBeNull()
    expect(retire(workspace, 1, '--accept-shrunk', 'app.more', ...lost).error?.code).toBe('USAGE')
    const done = retire(workspace, 1, '--accept-shrunk', 'app.secrets', ...lost)
    expect(done.exit).toBe(0)
    const certificate = readFileSync((done.data as { certificate: string }).certificate, 'utf8')
    expect(JSON.parse(certificate)).toMatchObject({
      shrunkPlaces: [{ name: 'app.secrets', records: rows, now: left }],
      shrunkReason: lost[1],
    })
    expect(workspace.run('audit', 'show', '--action', 'key.retire').stdout).toContain('app.secrets')
    // From now on the new number counts.
    const places = JSON.parse(readFileSync(join(workspace.home, 'places.json'), 'utf8')) as object
    expect(places).toMatchObject({ keys: { master: [{ records: left }] } })
  })

  test('that lost a few, or less than a half, holds nothing back', () => {
    const workspace = rotated(begun(onlyA))
    workspace.sql((database) => database.exec('DELETE FROM secrets WHERE id % 3 = 0'))
    expect(retire(workspace, 1).exit).toBe(0)
  })

  test('keeps the key at its destruction as well', async () => {
    const workspace = await due(rotated(begun(onlyA)))
    workspace.writeConfig(workspace.configuration().replace(/envelopes:[^]*/, ''))
    expect(workspace.json('destroy', '--due')).toMatchObject({ exit: 6, error: { code: 'PLACE_MISSING' } })
    expect(existsSync(join(workspace.home, 'keys/master.v1.key'))).toBe(true)
    // Named as gone, and there all the same: nobody has looked at what it holds.
    const drop = ['destroy', 'master@1', '--due', '--drop-place', 'app.secrets', ...lost] as const
    expect(workspace.json(...drop)).toMatchObject({ exit: 6, error: { code: 'VALUES_REMAIN' } })
    workspace.sql((database) => database.exec('DELETE FROM secrets'))
    workspace.ok(...drop)
    expect(workspace.keyring().keys['master']?.versions['1']?.state).toBe('destroyed')
  })

  test('may get another name and more columns without being missed', () => {
    const workspace = rotated(begun(onlyA))
    workspace.sql((database) => database.exec('UPDATE secrets SET b = NULL'))
    workspace.writeConfig(
      workspace
        .configuration()
        .replace('app.secrets', 'app.renamed')
        .replace(onlyA[0] ?? '', both[0] ?? ''),
    )
    expect(retire(workspace, 1).error).toBeUndefined()
  })
})

describe('a version column', () => {
  test('that holds a name is not overwritten: the plan is refused', () => {
    const workspace = begun(numbered, { shape: twoValues('key-1', 'TEXT') })
    expect(workspace.ok<Verified>('verify').warnings).toMatchObject([{ code: 'VERSION_COLUMN' }])
    expect(workspace.ok<{ pending: number }>('reencrypt', '--yes').data.pending).toBe(0)
    const before = readFileSync(workspace.database)
    const refused = workspace.json('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
    expect(refused).toMatchObject({ exit: 5, error: { code: 'LAYOUT_MISMATCH' } })
    expect(readFileSync(workspace.database)).toEqual(before)
    expect(workspace.keyring().keys['master']?.next).toBe(2)
  })

  test('that names another version than the one that opens is a finding and pending work', () => {
    const workspace = begun(numbered, { shape: twoValues(7) })
    const found = workspace.json<Verified>('verify')
    expect(found).toMatchObject({ exit: 3, error: { code: 'FINDINGS' } })
    expect(found.data.envelopes[0]).toMatchObject({ mislabelled: rows, byVersion: { 'master@1': rows } })
    workspace.ok('reencrypt', '--yes', ...untested)
    expect(workspace.rows().every(({ ver }) => Number(ver) === 1)).toBe(true)
    workspace.ok('verify')
  })

  test('that names the old version on values under the new one holds its retirement back', () => {
    const workspace = rotated(begun(numbered))
    workspace.sql((database) => database.exec('UPDATE secrets SET ver = 1 WHERE id < 5'))
    expect(workspace.json('verify').exit).toBe(3)
    const refused = retire(workspace, 1)
    expect(refused).toMatchObject({ exit: 6, error: { code: 'VALUES_REMAIN' } })
    expect(refused.error?.message).toMatch(/^4 records name master@1/)
    workspace.ok('reencrypt', '--yes')
    expect(retire(workspace, 1).exit).toBe(0)
  })

  test('that another envelope writes or binds is refused with both names', () => {
    const workspace = begun(numbered)
    const second = `value: { column: b, ${layout}, aead: aes-256-gcm, aad: 'dec({ver})' }`
    const text = `${workspace.configuration()}  app.more: { store: app, table: SECRETS, id: id, key: master, ${second} }\n`
    workspace.writeConfig(text)
    const { error } = workspace.json('verify')
    expect(error?.code).toBe('CONFIG_INVALID')
    expect(error?.message).toMatch(/app\.secrets and app\.more.* ver /)
  })
})

describe('a version that does not seal and whose file is wrong', () => {
  test('is told and left out, and nothing else is held up', () => {
    const workspace = rotated(begun(onlyA))
    writeFileSync(join(workspace.home, 'keys/master.v1.key'), Buffer.alloc(32, 7))
    const { data, warnings } = workspace.ok<Verified>('verify')
    expect(data.envelopes[0]?.byVersion).toEqual({ 'master@2': rows })
    expect(warnings).toMatchObject([{ code: 'KEY_FILE_UNUSABLE' }])
  })

  test('of another length is not tried on values that cannot be under it', () => {
    const workspace = begun(onlyA)
    const short = workspace.file('short.key')
    writeFileSync(short, randomBytes(16), { mode: 0o600 })
    workspace.ok('key', 'import', 'master', '--from', `file:${short}`, '--encoding', 'raw', '--version', '9')
    workspace.put(3, workspace.strangeKey())
    const { exit, data } = workspace.json<Verified>('verify')
    expect(exit).toBe(3)
    expect(data.envelopes[0]).toMatchObject({ byVersion: { 'master@1': rows - 1 }, unreadable: 1 })
  })
})

describe('a destruction', () => {
  test('waits while a published place cannot be read', async () => {
    const workspace = await due(rotated(begun(onlyA)))
    const text = readFileSync(workspace.published, 'utf8')
    const old = workspace.firstKey.bytes.toString('base64')
    writeFileSync(workspace.published, `${text}APP_KEK_OLD="${old}" # the old one\n`)
    const { exit, error } = workspace.json('destroy', '--due')
    expect({ exit, code: error?.code }).toEqual({ exit: 6, code: 'LEDGER_OPEN' })
    expect(error?.message).toContain('cannot be read')
    expect(material(workspace, 1)).toEqual(workspace.firstKey.bytes)
  })

  test('that is cancelled and scheduled anew during its last scan erases nothing', async () => {
    const application = await due(rotated(begun(onlyA)))
    const workspace = await openWorkspace({ config: application.file('kvx.yaml') })
    const journal = Journal.open(workspace.home)
    let once = false
    const progress = (): void => {
      if (once) return
      once = true
      application.ok('destroy', 'master@1', '--cancel')
      application.ok('destroy', 'master@1', '--after', '7d', '--confirm', 'master@1')
    }
    const work = destroyVersion(
      workspace,
      journal,
      { name: 'master', version: 1 },
      { acceptLoss: undefined, drop: undefined, events: { progress } },
    )
    await expect(work).rejects.toMatchObject({ code: 'LEDGER_OPEN' })
    journal.close()
    expect(material(application, 1)).toEqual(application.firstKey.bytes)
    expect(application.keyring().keys['master']?.versions['1']?.state).toBe('deactivated')
  })

  test('takes an accepted loss for one version only, by its name', async () => {
    const workspace = rotated(rotated(begun(onlyA, { place: 'env-one-slot' })))
    expect(retire(workspace, 2).exit).toBe(0)
    workspace.put(3, workspace.firstKey)
    workspace.ok('key', 'show', 'master')
    expect(retire(workspace, 1).exit).toBe(6)
    workspace.sql((database) => database.exec('DELETE FROM secrets WHERE id = 3'))
    workspace.ok('destroy', 'master@2', '--after', '0s', '--confirm', 'master@2')
    await due(workspace)
    workspace.put(3, workspace.firstKey)
    // What no envelope declares cannot be given up by a count.
    workspace.sql((database) => database.exec('UPDATE secrets SET b = NULL WHERE id = 3'))
    const loss = ['--accept-loss', '1', '--reason', 'a test row'] as const
    const refused = workspace.json('destroy', '--due', ...loss)
    expect(refused).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
    expect(refused.error?.hint).toContain('kvx destroy master@1 --due --accept-loss')
    workspace.ok('destroy', 'master@1', '--due', ...loss)
    expect(workspace.keyring().keys['master']?.versions['1']?.state).toBe('destroyed')
    expect(workspace.keyring().keys['master']?.versions['2']?.state).toBe('deactivated')
  })
})

describe('a run that sets many records aside', () => {
  test('counts all of them in the log and in the report, and names all of them in a file', () => {
    const workspace = begun(onlyA, { rows: 1320 })
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    workspace.sql((database) => database.exec('UPDATE secrets SET a = randomblob(60) WHERE id > 20'))
    const { exit, run, error } = workspace.json('reencrypt', '--on-error', 'quarantine', '--yes')
    expect(exit, error?.message).toBe(4)
    const folder = join(workspace.home, 'runs', run ?? '')
    const log = workspace.run('audit', 'show', '--action', 'run.reencrypt').stdout
    expect(log).toContain('quarantined=1300')
    const report = readFileSync(join(folder, 'report.json'), 'utf8')
    expect(report).toMatch(/"quarantined": 1300,\n\s*"quarantine":/)
    const names = readFileSync(join(folder, 'quarantine.jsonl'), 'utf8').trim().split('\n')
    expect(new Set(names).size).toBe(1300)
    expect(JSON.parse(names[0] ?? '')).toEqual({
      envelope: 'app.secrets',
      record: '21',
      reason: 'no-known-key',
    })
    workspace.sql((database) => database.exec('DELETE FROM secrets WHERE id > 20'))
    workspace.ok('run', 'resume', run ?? '')
    expect(existsSync(join(folder, 'quarantine.jsonl'))).toBe(false)
  })
})

describe('the numbers of versions', () => {
  test('end where a rotation could not name the next one', () => {
    const workspace = begun(onlyA)
    expect(workspace.json('key', 'import', 'master', '--version', '100000000').exit).toBe(2)
    const path = join(workspace.home, 'keyring.json')
    const ring = JSON.parse(readFileSync(path, 'utf8')) as { keys: { master: { next: number } } }
    ring.keys.master.next = 1_000_000_000
    writeFileSync(path, JSON.stringify(ring), { mode: 0o600 })
    const before = workspace.treeHash()
    const refused = workspace.json('rotate', 'master', '--stage', '--yes', ...untested)
    expect(refused).toMatchObject({ exit: 2, error: { code: 'STATE_TRANSITION' } })
    expect(workspace.treeHash()).toBe(before)
    rmSync(path)
  })
})

describe('--rate', () => {
  test('holds the rate whatever the batch is, and hears a signal within a second', async () => {
    const workspace = begun(onlyA, { rows: 4 })
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    const copy = workspace.copy()
    open.push(copy)
    const begin = performance.now()
    workspace.ok('reencrypt', '--rate', '1', '--batch', '500', '--yes')
    expect(performance.now() - begin).toBeGreaterThan(4000)
    const child = startKvx(['reencrypt', '--rate', '1', '--yes'], { cwd: copy.path, env: copy.env })
    await sleep(2500)
    const asked = performance.now()
    child.kill('SIGTERM')
    const code = await new Promise((done) => child.once('exit', done))
    expect(performance.now() - asked).toBeLessThan(2000)
    expect([10, 143]).toContain(code)
  }, 60_000)
})

describe('a value that is sealed twice', () => {
  const prose = (id: number): string => `What row ${id} holds is prose, which cannot be a sealed value.`
  const token = (): string => randomBytes(30).toString('base64url')
  const twice = (key: Buffer): string =>
    JSON.stringify({ name: 'orders', material: sealed(key, 'inside').toString('base64') })

  test.each([
    { title: 'one row behind 240 that cannot hold one', rows: 240, ordinary: prose, doubled: 1 },
    { title: 'a few behind 140 that could', rows: 140, ordinary: token, doubled: 15 },
  ])('is found wherever it lies: $title', ({ rows: before, ordinary, doubled }) => {
    const shape: Shape = {
      ...twoValues(),
      ddl: 'a BLOB',
      seal: (key, id) => ({ a: sealed(key.bytes, id <= before ? ordinary(id) : twice(key.bytes)) }),
    }
    const workspace = begun(onlyA, { shape, rows: before + doubled })
    expect(workspace.ok('verify').warnings.map(({ code }) => code)).toContain('SEALED_TWICE')
    workspace.sql((database) => database.exec(`DELETE FROM secrets WHERE id > ${before}`))
    expect(workspace.ok('verify').warnings.map(({ code }) => code)).not.toContain('SEALED_TWICE')
  })
})
