import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { plainTwoLevels } from '../support/application.ts'
import { GpgHome } from '../support/gpg.ts'
import { needsRoot, needsTool } from '../support/needs.ts'
import { run } from '../support/trusted-directory.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

const rows = 16
const gpg = new GpgHome()
const recipient = gpg.makeKey('operator@example.org')
const open: { close(): void }[] = [{ close: () => gpg.remove() }]
afterAll(() => open.forEach((one) => one.close()))

type HomeCopied = { file: string; keys: number; backups: number; auditKeyFingerprint: string }
type RestoredHome = {
  proven: boolean
  missing: { subject: string; backup?: string }[]
  configWritten: boolean
}
type Restored = { proven: boolean; changed: boolean; fingerprint: string; path: string }
type Verified = { envelopes: { byVersion: Record<string, number>; unreadable: number }[] }

/** master@2 seals half of the records, master@1 opens the others; both have tested backups. */
let base: Workspace
/** A copy of its home, as `backup home` made it, and the fingerprint that was kept with it. */
let copyFile: string
let auditFingerprint: string

beforeAll(() => {
  base = makeWorkspace({ shape: plainTwoLevels, rows, gpg, recipients: [recipient] })
  open.push(base)
  base.begin()
  base.ok('backup', 'create', 'master@1')
  base.ok('rotate', 'master', '--offline', '--yes')
  for (let id = 1; id <= rows / 2; id++) base.put(id, base.currentKey())
  copyFile = base.file('offsite.json')
  const { data } = base.ok<HomeCopied>('backup', 'home', '--out', copyFile)
  auditFingerprint = data.auditKeyFingerprint
})

function copyOf(workspace: Workspace = base): Workspace {
  const copy = workspace.copy()
  open.push(copy)
  return copy
}

function material(workspace: Workspace, version: number): Buffer {
  return readFileSync(join(workspace.home, `keys/master.v${version}.key`))
}

function backupOf(workspace: Workspace, version: number): string {
  const folder = join(workspace.home, 'backups')
  const file = readdirSync(folder).find(
    (name) => name.startsWith(`master.v${version}.`) && name.endsWith('.asc'),
  )
  if (file === undefined) throw new Error(`there is no backup of version ${version}`)
  return join(folder, file)
}

/** kvx and the application, which knows nothing of kvx, read everything. */
function expectEverythingReads(workspace: Workspace): void {
  const [envelope] = workspace.ok<Verified>('verify').data.envelopes
  expect(envelope).toMatchObject({ byVersion: { 'master@1': rows / 2, 'master@2': rows / 2 }, unreadable: 0 })
  expect(workspace.lost()).toEqual([])
  expect(workspace.read(material(workspace, 2)).opened).toBe(rows / 2)
}

/** Nothing is left but the application, its published key, and what was kept elsewhere. */
function afterTheFire(): Workspace {
  const workspace = copyOf()
  rmSync(workspace.home, { recursive: true })
  rmSync(workspace.file('kvx.yaml'))
  return workspace
}

describe('the copy of a home', () => {
  test('holds the keyring, the configuration and the encrypted backups, and no key in the clear', () => {
    const text = readFileSync(copyFile, 'utf8')
    const copy = JSON.parse(text) as { keyring: object; config: { text: string }; backups: object }
    expect(copy.keyring).toMatchObject({ keys: { master: { seals: 2, previous: 1 } } })
    expect(copy.config.text).toBe(base.configuration())
    expect(Object.keys(copy.backups).filter((name) => name.endsWith('.asc'))).toHaveLength(2)
    expect(statSync(copyFile).mode & 0o777).toBe(0o600)
    for (const version of [1, 2]) {
      const key = material(base, version)
      for (const encoding of ['base64', 'base64url', 'hex', 'latin1'] as const)
        expect(text).not.toContain(key.toString(encoding))
    }
  })

  test('is not written into the home that it shall survive, nor without a place', () => {
    const workspace = copyOf()
    const before = workspace.treeHash()
    expect(workspace.json('backup', 'home', '--out', join(workspace.home, 'copy.json')).error?.code).toBe(
      'USAGE',
    )
    expect(workspace.json('backup', 'home').error?.code).toBe('USAGE')
    expect(workspace.treeHash()).toBe(before)
  })

  test('brings back a home that is gone, then each key, and the application reads on', () => {
    const workspace = afterTheFire()
    const { data, warnings } = workspace.ok<RestoredHome>(
      ...['restore', '--from', 'home', copyFile, '--yes', '--expect-fingerprint', auditFingerprint],
    )
    expect(data).toMatchObject({ proven: true, configWritten: true })
    expect(warnings.map(({ code }) => code)).not.toContain('UNPROVEN')
    expect(data.missing.map(({ subject }) => subject)).toEqual(['master@1', 'master@2'])
    for (const { subject, backup = '' } of data.missing) {
      const restored = workspace.ok<Restored>(
        ...['restore', '--from', 'gpg', join(workspace.home, 'backups', backup), '--confirm', subject],
      )
      expect(restored.data).toMatchObject({ proven: true, changed: true })
    }
    expect(material(workspace, 1)).toEqual(workspace.firstKey.bytes)
    expectEverythingReads(workspace)
    workspace.ok('audit', 'verify')
    expect(workspace.run('audit', 'show').stdout).toContain(`home.restore  note`)
    // What the old home signed goes on counting: the rotation's next steps need no new backup.
    expect(workspace.ok<{ keys: { backedUp: boolean }[] }>('status').data.keys[0]?.backedUp).toBe(true)
    workspace.ok('rewrap', '--yes')
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
  })

  test('is labelled unproven as long as nobody says which audit key signed it, and its proofs do not count', () => {
    const workspace = afterTheFire()
    const { data, warnings } = workspace.ok<RestoredHome>('restore', '--from', 'home', copyFile, '--yes')
    expect(data.proven).toBe(false)
    const unproven = warnings.find(({ code }) => code === 'UNPROVEN')
    expect(unproven?.message).toContain(auditFingerprint)
    for (const version of [1, 2]) {
      const file = backupOf(workspace, version)
      const restore = ['restore', '--from', 'gpg', file, '--confirm', `master@${version}`]
      expect(workspace.ok<Restored>(...restore).data).toMatchObject({ proven: false, changed: true })
      expect(workspace.run(...restore).stdout).toContain('UNPROVEN')
      const fingerprint = workspace.keyring().keys['master']?.versions[String(version)]?.fingerprint ?? ''
      const told = workspace.ok<Restored>(...restore, '--expect-fingerprint', fingerprint)
      expect(told.data).toMatchObject({ proven: true, changed: false })
    }
    expectEverythingReads(workspace)
    expect(workspace.ok<{ keys: { backedUp: boolean }[] }>('status').data.keys[0]?.backedUp).toBe(false)
  })

  test('goes to the home that its own configuration names', () => {
    const made = afterTheFire()
    // A home at a place of its own, then its copy, then only the copy.
    const text = made.configuration().replace('kvx: 1', `kvx: 1\nhome: ${made.file('own/home')}`)
    made.writeConfig(text)
    made.ok('init')
    made.ok('key', 'import', 'master', '--version', '2')
    made.ok('backup', 'home', '--out', made.file('own.json'))
    rmSync(made.file('own'), { recursive: true })
    rmSync(made.file('kvx.yaml'))
    made.ok('restore', '--from', 'home', 'own.json', '--yes')
    expect(existsSync(made.file('own/home/keyring.json'))).toBe(true)
    expect(readFileSync(made.file('kvx.yaml'), 'utf8')).toBe(text)
    made.ok('status')
  })

  test.each([
    ['one changed digit', (text: string) => text.replace('"seals": 2', '"seals": 1'), 5, 'DAMAGED'],
    ['a cut-off end', (text: string) => text.slice(0, -200), 5, 'DAMAGED'],
    ['another kind of document', () => '{"schema":"x"}', 5, 'DAMAGED'],
  ])('is refused with %s, and nothing is written', (_, tamper, exit, code) => {
    const workspace = afterTheFire()
    writeFileSync(workspace.file('copy.json'), tamper(readFileSync(copyFile, 'utf8')))
    const before = workspace.treeHash()
    for (const more of [[], ['--expect-fingerprint', auditFingerprint], ['--dry-run']]) {
      const document = workspace.json('restore', '--from', 'home', 'copy.json', '--yes', ...more)
      expect(document).toMatchObject({ exit, error: { code } })
    }
    expect(workspace.treeHash()).toBe(before)
  })

  test('is refused when another audit key signed it than expected', () => {
    const workspace = afterTheFire()
    const before = workspace.treeHash()
    const other = 'ab'.repeat(32)
    const refused = workspace.json(
      'restore',
      '--from',
      'home',
      copyFile,
      '--yes',
      '--expect-fingerprint',
      other,
    )
    expect(refused).toMatchObject({ exit: 5, error: { code: 'FINGERPRINT_DIFFERS' } })
    const short = workspace.json(
      'restore',
      '--from',
      'home',
      copyFile,
      '--yes',
      '--expect-fingerprint',
      'abcdef',
    )
    expect(short).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
    expect(workspace.treeHash()).toBe(before)
  })

  test('never goes over a home that exists, and asks before it makes one', () => {
    const workspace = copyOf()
    const before = workspace.treeHash()
    expect(workspace.json('restore', '--from', 'home', copyFile, '--yes')).toMatchObject({
      exit: 2,
      error: { code: 'HOME_EXISTS' },
    })
    expect(workspace.treeHash()).toBe(before)
    const burnt = afterTheFire()
    expect(burnt.json('restore', '--from', 'home', copyFile).error?.code).toBe('NOT_CONFIRMED')
    expect(existsSync(burnt.home)).toBe(false)
  })

  test('gives back a keyring that alone was lost', () => {
    const workspace = copyOf()
    rmSync(join(workspace.home, 'keyring.json'))
    workspace.ok('restore', '--from', 'home', copyFile, '--yes', '--expect-fingerprint', auditFingerprint)
    expectEverythingReads(workspace)
    expect(workspace.ok<{ keys: { backedUp: boolean }[] }>('status').data.keys[0]?.backedUp).toBe(true)
    workspace.ok('audit', 'verify')
  })
})

describe('home-backup in the configuration', () => {
  function mirrored(): { workspace: Workspace; mirror: string } {
    const workspace = copyOf()
    mkdirSync(workspace.file('offsite'))
    const mirror = workspace.file('offsite/home.json')
    workspace.writeConfig(
      workspace.configuration().replace('kvx: 1', 'kvx: 1\nhome-backup: offsite/home.json'),
    )
    return { workspace, mirror }
  }

  type Copy = { keyring: object; backups: Record<string, string> }

  function read(mirror: string): Copy {
    return JSON.parse(readFileSync(mirror, 'utf8')) as Copy
  }

  test('follows each change of the keyring and each backup by itself', () => {
    const { workspace, mirror } = mirrored()
    workspace.ok('key', 'suspend', 'master@1', '--reason', 'x', '--yes')
    expect(read(mirror).keyring).toMatchObject({
      keys: { master: { versions: { '1': { state: 'suspended' } } } },
    })
    workspace.ok('key', 'resume', 'master@1', '--reason', 'x', '--yes')
    expect(read(mirror).keyring).toEqual(workspace.keyring())
    const { data } = workspace.ok<{ id: string }>('backup', 'create', 'master')
    expect(Object.keys(read(mirror).backups)).toContain(`master.v2.${data.id}.asc`)
    workspace.ok('audit', 'verify')
  })

  test('that cannot be written is a warning, and the work goes on', () => {
    const { workspace, mirror } = mirrored()
    rmSync(workspace.file('offsite'), { recursive: true })
    const { warnings, exit } = workspace.json('key', 'suspend', 'master@1', '--reason', 'x', '--yes')
    expect(exit).toBe(0)
    const [warning] = warnings.filter(({ code }) => code === 'HOME_BACKUP_FAILED')
    expect(warning?.message).toContain(mirror)
    expect(warning?.message).toContain('kvx backup home')
    expect(workspace.keyring().keys['master']?.versions['1']?.state).toBe('suspended')
    mkdirSync(workspace.file('offsite'))
    workspace.ok('backup', 'home')
    expect(read(mirror).keyring).toEqual(workspace.keyring())
  })

  test('is enough to come back from', () => {
    const { workspace, mirror } = mirrored()
    const first = workspace.ok<{ id: string }>('backup', 'create', 'master@2').data.id
    rmSync(workspace.home, { recursive: true })
    rmSync(workspace.file('kvx.yaml'))
    workspace.ok('restore', '--from', 'home', mirror, '--yes', '--expect-fingerprint', auditFingerprint)
    expect(existsSync(join(workspace.home, `backups/master.v2.${first}.asc`))).toBe(true)
    for (const version of [1, 2])
      workspace.ok('restore', '--from', 'gpg', backupOf(workspace, version), '--confirm', `master@${version}`)
    expectEverythingReads(workspace)
  })
})

describe('doctor --rebuild-keyring', () => {
  /** master@1 seals, and readers have master@2 in their second slot. */
  let staged: Workspace

  beforeAll(() => {
    staged = makeWorkspace({ shape: plainTwoLevels, rows, gpg, recipients: [recipient] })
    open.push(staged)
    staged.begin()
    staged.ok('rotate', 'master', '--stage', '--yes')
  })

  const damages: readonly (readonly [string, (path: string) => void])[] = [
    ['was deleted', (path) => rmSync(path)],
    ['was damaged', (path) => writeFileSync(path, readFileSync(path, 'utf8').replaceAll('"seals"', '"sea'))],
    ['was emptied', (path) => truncateSync(path)],
  ]

  test.each(damages)(
    'makes a keyring that %s again from keys, backups and published places',
    (how, damage) => {
      const workspace = copyOf()
      const path = join(workspace.home, 'keyring.json')
      const before = workspace.keyring().keys['master']
      damage(path)
      const broken = existsSync(path) ? readFileSync(path) : undefined
      const refused = workspace.json('verify')
      expect(refused.error?.code).toBe(how === 'was deleted' ? 'HOME_NOT_FOUND' : 'KEYRING_DAMAGED')
      workspace.ok('doctor', '--rebuild-keyring', '--dry-run')
      expect(existsSync(path) ? readFileSync(path) : undefined).toEqual(broken)

      const { data, warnings } = workspace.ok<{ kept: string | null }>('doctor', '--rebuild-keyring', '--yes')
      expect(warnings.map(({ code }) => code)).toContain('REBUILT')
      const master = workspace.keyring().keys['master']
      expect(master).toMatchObject({ seals: 2, previous: 1, staged: null, next: 3 })
      for (const version of ['1', '2']) {
        expect(master?.versions[version]?.fingerprint).toBe(before?.versions[version]?.fingerprint)
        expect(master?.versions[version]?.canary).not.toBeNull()
      }
      expect([master?.versions['1']?.state, master?.versions['2']?.state]).toEqual(['deactivated', 'active'])
      if (broken === undefined) expect(data.kept).toBeNull()
      else expect(readFileSync(data.kept ?? '')).toEqual(broken)
      expectEverythingReads(workspace)
      workspace.ok('audit', 'verify')
      workspace.ok('rewrap', '--yes')
      workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    },
  )

  test('finds a staged version as its rotation left it, which then goes on', () => {
    const workspace = copyOf(staged)
    rmSync(join(workspace.home, 'keyring.json'))
    const { warnings } = workspace.ok('doctor', '--rebuild-keyring', '--yes')
    expect(warnings.map(({ code }) => code)).toEqual(['REBUILT'])
    const master = workspace.keyring().keys['master']
    expect(master).toMatchObject({ seals: 1, staged: 2, previous: null, next: 3 })
    expect(master?.versions['2']).toMatchObject({ state: 'pre-activation', rollout: null })
    const early = workspace.json('rotate', 'master', '--activate', '--yes')
    expect(early).toMatchObject({ exit: 6, error: { code: 'ROLLOUT_NOT_DECLARED' } })
    workspace.ok('rotate', 'master', '--activate', '--rolled-out', '--yes')
    expect(workspace.publishedKey('current')).toEqual(material(workspace, 2))
    workspace.ok('rewrap', '--yes')
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
  })

  test('says what it took a newer version in the previous slot for, when no run tells', () => {
    const workspace = copyOf(staged)
    rmSync(join(workspace.home, 'keyring.json'))
    rmSync(join(workspace.home, 'kvx.db'))
    const { warnings } = workspace.ok('doctor', '--rebuild-keyring', '--yes')
    const told = warnings.find(({ code }) => code === 'STATE_GUESSED')?.message
    expect(told).toMatch(/master@2.*newer than master@1.*staged, or rolled back.*kvx retire master@2/)
    expect(workspace.keyring().keys['master']).toMatchObject({ seals: 1, previous: 2, staged: null })
    expect(workspace.json('verify').exit).toBe(0)
    workspace.ok('retire', 'master@2', '--confirm', 'master@2')
    expect(workspace.publishedKey('previous')).toBeUndefined()
    workspace.ok('rotate', 'master', '--stage', '--yes')
  })

  test('knows a version whose key file is gone by the manifest of its backup', () => {
    const workspace = copyOf()
    const { fingerprint } = workspace.keyring().keys['master']?.versions['1'] ?? {}
    rmSync(join(workspace.home, 'keyring.json'))
    rmSync(join(workspace.home, 'keys/master.v1.key'))
    workspace.ok('doctor', '--rebuild-keyring', '--yes')
    expect(workspace.keyring().keys['master']?.versions['1']).toMatchObject({ fingerprint, canary: null })
    workspace.ok('restore', '--from', 'gpg', backupOf(workspace, 1), '--confirm', 'master@1')
    expectEverythingReads(workspace)
  })

  test('asks first, and refuses where there is nothing to begin from', () => {
    const workspace = copyOf()
    const before = workspace.treeHash()
    expect(workspace.json('doctor', '--rebuild-keyring').error?.code).toBe('NOT_CONFIRMED')
    expect(workspace.treeHash()).toBe(before)
    for (const folder of ['keys', 'backups']) {
      rmSync(join(workspace.home, folder), { recursive: true })
      mkdirSync(join(workspace.home, folder), { mode: 0o700 })
    }
    rmSync(join(workspace.home, 'keyring.json'))
    const refused = workspace.json('doctor', '--rebuild-keyring', '--yes')
    expect(refused.error).toMatchObject({
      code: 'USAGE',
      hint: expect.stringContaining('restore --from home') as string,
    })
    expect(existsSync(join(workspace.home, 'keyring.json'))).toBe(false)
  })
})

describe('a key from its backup', () => {
  test('goes to a file without any home, unproven, and proven by its fingerprint', () => {
    const workspace = copyOf()
    const backup = workspace.file('kept.asc')
    writeFileSync(backup, readFileSync(backupOf(workspace, 1)))
    const fingerprint = workspace.keyring().keys['master']?.versions['1']?.fingerprint ?? ''
    rmSync(workspace.home, { recursive: true })
    rmSync(workspace.file('kvx.yaml'))
    const bare = workspace.ok<Restored>('restore', '--from', 'gpg', backup, '--out', 'bare.key')
    expect(bare.data).toMatchObject({ proven: false, fingerprint })
    expect(readFileSync(workspace.file('bare.key'))).toEqual(workspace.firstKey.bytes)
    expect(statSync(workspace.file('bare.key')).mode & 0o777).toBe(0o600)
    expect(workspace.run('restore', '--from', 'gpg', backup, '--out', 'two.key').stdout).toContain('UNPROVEN')
    const proven = workspace.ok<Restored>(
      ...['restore', '--from', 'gpg', backup, '--out', 'three.key', '--expect-fingerprint', fingerprint],
    )
    expect(proven.data.proven).toBe(true)
    expect(existsSync(workspace.home)).toBe(false)
  })

  test('is refused with another fingerprint than expected, and nothing is written', () => {
    const workspace = copyOf()
    rmSync(join(workspace.home, 'keys/master.v1.key'))
    const backup = backupOf(workspace, 1)
    const other = workspace.keyring().keys['master']?.versions['2']?.fingerprint ?? ''
    const before = workspace.treeHash()
    for (const target of [
      ['--out', 'bare.key'],
      ['--confirm', 'master@1'],
    ]) {
      const document = workspace.json(
        'restore',
        '--from',
        'gpg',
        backup,
        ...target,
        '--expect-fingerprint',
        other,
      )
      expect(document).toMatchObject({ exit: 5, error: { code: 'FINGERPRINT_DIFFERS' } })
    }
    expect(workspace.treeHash()).toBe(before)
  })

  test('never goes over a file, nor over another live key', () => {
    const workspace = copyOf()
    const backup = backupOf(workspace, 1)
    writeFileSync(workspace.file('taken'), 'something else')
    writeFileSync(join(workspace.home, 'keys/master.v1.key'), randomBytes(32))
    const before = workspace.treeHash()
    expect(workspace.json('restore', '--from', 'gpg', backup, '--out', 'taken')).toMatchObject({
      exit: 2,
      error: { code: 'TARGET_EXISTS' },
    })
    expect(workspace.json('restore', '--from', 'gpg', backup, '--confirm', 'master@1')).toMatchObject({
      exit: 2,
      error: { code: 'KEY_EXISTS' },
    })
    expect(workspace.treeHash()).toBe(before)
  })

  test('takes no flag that would do nothing', () => {
    const workspace = copyOf()
    const before = workspace.treeHash()
    const gpgRestore = ['restore', '--from', 'gpg', backupOf(workspace, 1)]
    for (const args of [
      [...gpgRestore, '--out', 'bare.key', '--audit-to', 'side.jsonl'],
      [...gpgRestore, '--manifest', copyFile],
      [...gpgRestore, '--share-fd', '0'],
      ['restore', '--from', 'shares', '--share-fd', '0', '--out', 'bare.key', '--audit-to', 'side.jsonl'],
      ['restore', '--from', 'home', copyFile, '--yes', '--audit-to', 'side.jsonl'],
      ['restore', '--from', 'home', copyFile, '--yes', '--out', 'bare.key'],
    ]) {
      const refused = workspace.json(...args)
      expect([args, refused.exit, refused.error?.code]).toEqual([args, 2, 'USAGE'])
    }
    expect(workspace.treeHash()).toBe(before)
  })

  test('that is there already is nothing to do, and the keyring proves it', () => {
    const workspace = copyOf()
    const { data } = workspace.ok<Restored>('restore', '--from', 'gpg', backupOf(workspace, 1))
    expect(data).toMatchObject({ proven: true, changed: false })
  })
})

describe('a log that cannot be written', () => {
  function withoutLog(): { workspace: Workspace; mend: () => void } {
    const workspace = copyOf()
    rmSync(join(workspace.home, 'keys/master.v1.key'))
    const log = join(workspace.home, 'audit/log.jsonl')
    run('chattr', '+i', log)
    let immutable = true
    const mend = (): void => {
      if (immutable) run('chattr', '-i', log)
      immutable = false
    }
    onTestFinished(mend)
    return { workspace, mend }
  }

  test('does not hold up a restore with --audit-to, and takes that log in later', (context) => {
    needsRoot(context)
    needsTool(context, 'chattr')
    const { workspace, mend } = withoutLog()
    const command = ['restore', '--from', 'gpg', backupOf(workspace, 1), '--confirm', 'master@1']
    const refused = workspace.json(...command)
    expect(refused).toMatchObject({ exit: 9, error: { code: 'AUDIT_UNWRITABLE' } })
    expect(refused.error?.hint).toContain('--audit-to')
    expect(existsSync(join(workspace.home, 'keys/master.v1.key'))).toBe(false)

    workspace.ok(...command, '--audit-to', 'side.jsonl')
    expect(material(workspace, 1)).toEqual(workspace.firstKey.bytes)
    expect(statSync(workspace.file('side.jsonl')).mode & 0o777).toBe(0o600)
    expect(workspace.json('audit', 'adopt', 'side.jsonl').error?.code).toBe('AUDIT_UNWRITABLE')
    mend()
    const { data } = workspace.ok<{ entries: number; kept: string }>('audit', 'adopt', 'side.jsonl')
    expect(data.entries).toBe(2)
    expect(readFileSync(data.kept)).toEqual(readFileSync(workspace.file('side.jsonl')))
    workspace.ok('audit', 'verify')
    expect(workspace.run('audit', 'show').stdout).toMatch(/audit\.adopt {2}note .*entries=2/)
    expectEverythingReads(workspace)
  })

  test('is not replaced by a side log that somebody changed, cut in the middle or signed elsewhere', () => {
    const workspace = copyOf()
    rmSync(join(workspace.home, 'keys/master.v1.key'))
    const command = ['restore', '--from', 'gpg', backupOf(workspace, 1), '--confirm', 'master@1']
    workspace.ok(...command, '--audit-to', 'side.jsonl')
    const whole = readFileSync(workspace.file('side.jsonl'), 'utf8')
    const stranger = makeWorkspace({ shape: plainTwoLevels, rows: 1 }).begin()
    open.push(stranger)
    const foreign = readFileSync(join(stranger.home, 'audit/log.jsonl'), 'utf8')
    const log = readFileSync(join(workspace.home, 'audit/log.jsonl'))
    const variants = [
      whole.replace('"exit":0', '"exit":6'),
      whole.split('\n').slice(1).join('\n'),
      foreign,
      '',
      'no log at all\n',
    ]
    for (const text of variants) {
      writeFileSync(workspace.file('changed.jsonl'), text)
      const document = workspace.json('audit', 'adopt', 'changed.jsonl')
      expect(document, text.slice(0, 80)).toMatchObject({ exit: 5, error: { code: 'AUDIT_BROKEN' } })
    }
    expect(readFileSync(join(workspace.home, 'audit/log.jsonl'))).toEqual(log)
    expect(existsSync(join(workspace.home, 'audit/adopted'))).toBe(false)
    workspace.ok('audit', 'adopt', 'side.jsonl')
  })
})
