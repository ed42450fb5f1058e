import { execFileSync } from 'node:child_process'
import { createCipheriv, randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadAuditKey } from '../../src/audit/audit-key.ts'
import { openAudit } from '../../src/audit/audit.ts'
import { oneLevel, plainTwoLevels } from '../support/application.ts'
import { GpgHome } from '../support/gpg.ts'
import { killAt, killPoints } from '../support/kill.ts'
import { needsTool } from '../support/needs.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

const rows = 20
const gpg = new GpgHome()
const recipient = gpg.makeKey('operator@example.org')
const untested = ['--without-backup', '--reason', 'a test system'] as const
const open: { close(): void }[] = [{ close: () => gpg.remove() }]
afterAll(() => open.forEach((one) => one.close()))

type Runs = { runs: { id: string; kind: string }[] }
type Destroyed = { destroyed: { subject: string; backupsThatHoldIt: string[] }[]; due?: string[] }

/** master@1 is retired and master@2 seals everything; the rewrap's ciphertext backup is still there. */
let retired: Workspace
/** The same, and that backup is forgotten: nothing but the waiting time holds master@1. */
let settled: Workspace

beforeAll(() => {
  retired = makeWorkspace({ shape: plainTwoLevels, rows, gpg, recipients: [recipient] })
  open.push(retired)
  retired.begin()
  retired.ok('backup', 'create', 'master@1')
  retired.ok('rotate', 'master', '--offline', '--then', 'data', '--yes')
  retired.ok('retire', 'master@1', '--confirm', 'master@1')
  settled = copyOf(retired)
  forgetRuns(settled)
})

function copyOf(workspace: Workspace): Workspace {
  const copy = workspace.copy()
  open.push(copy)
  return copy
}

function forgetRuns(workspace: Workspace): void {
  for (const { id } of workspace.ok<Runs>('run', 'list').data.runs)
    workspace.ok('run', 'forget', id, '--confirm', id)
}

function schedule(workspace: Workspace, after: string, subject = 'master@1'): void {
  workspace.ok('destroy', subject, '--after', after, '--confirm', subject)
}

async function due(workspace: Workspace, subject = 'master@1'): Promise<Workspace> {
  schedule(workspace, '1s', subject)
  await sleep(1100)
  return workspace
}

function keyFile(workspace: Workspace, version = 1): string {
  return join(workspace.home, `keys/master.v${version}.key`)
}

function stateOf(workspace: Workspace, version = 1): string | undefined {
  return workspace.keyring().keys['master']?.versions[String(version)]?.state
}

/** The command is refused with this code and exit 6, and the key file and the application stay to the byte. */
function expectRefused(workspace: Workspace, code: string, ...args: readonly string[]) {
  const [key, database] = [readFileSync(keyFile(workspace)), readFileSync(workspace.database)]
  const document = workspace.json('destroy', '--due', ...args)
  expect(document).toMatchObject({ exit: 6, error: { code } })
  expect(readFileSync(keyFile(workspace))).toEqual(key)
  expect(readFileSync(workspace.database)).toEqual(database)
  expect(stateOf(workspace)).toBe('deactivated')
  return document
}

function expectDestroyed(workspace: Workspace): void {
  expect(stateOf(workspace)).toBe('destroyed')
  expect(existsSync(keyFile(workspace))).toBe(false)
  expect(workspace.read(workspace.publishedKey('current')).opened).toBe(rows)
  workspace.ok('verify')
  workspace.ok('audit', 'verify')
}

describe('a destruction that is scheduled', () => {
  test('erases nothing before its waiting time is over, and tells when that is', () => {
    const workspace = copyOf(settled)
    const key = readFileSync(keyFile(workspace))
    schedule(workspace, '1h')
    const { exit, stdout } = workspace.run('destroy', '--due')
    expect(exit).toBe(0)
    expect(stdout).toMatch(/nothing is due\n {2}master@1 not before \d{4}-\d\d-\d\dT/)
    expect(readFileSync(keyFile(workspace))).toEqual(key)
    expect(stateOf(workspace)).toBe('deactivated')
  })

  test('is stopped by --cancel, and once more there is nothing to stop', async () => {
    const workspace = copyOf(settled)
    await due(workspace)
    workspace.ok('destroy', 'master@1', '--cancel')
    expect(workspace.ok<Destroyed>('destroy', '--due').data.destroyed).toEqual([])
    expect(existsSync(keyFile(workspace))).toBe(true)
    expect(workspace.json('destroy', 'master@1', '--cancel')).toMatchObject({
      exit: 2,
      error: { code: 'STATE_TRANSITION' },
    })
  })

  test('ends with the retirement: a later one starts a waiting time of its own', async () => {
    const workspace = await due(copyOf(settled))
    workspace.ok('key', 'unretire', 'master@1', '--yes')
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    expect(workspace.ok<Destroyed>('destroy', '--due').data.destroyed).toEqual([])
    expect(existsSync(keyFile(workspace))).toBe(true)
  })

  test('needs a retired version: without the gate nothing proves that no value needs it', () => {
    const workspace = copyOf(retired)
    const before = workspace.treeHash()
    for (const subject of ['master@2']) {
      expect(workspace.json('destroy', subject, '--confirm', subject)).toMatchObject({
        exit: 6,
        error: { code: 'NOT_RETIRED', hint: expect.stringContaining(`kvx retire ${subject}`) as string },
      })
    }
    expect(workspace.treeHash()).toBe(before)
  })

  test('needs the name typed, and takes no name with --due', () => {
    const workspace = copyOf(settled)
    const before = workspace.treeHash()
    expect(workspace.json('destroy', 'master@1', '--yes').error?.code).toBe('NOT_CONFIRMED')
    expect(workspace.json('destroy', 'master@1', '--confirm', 'master@2').error?.code).toBe('NOT_CONFIRMED')
    expect(workspace.json('destroy', 'master@1', '--due').error?.code).toBe('USAGE')
    expect(workspace.json('destroy', 'master@1', '--after', 'soon').error?.code).toBe('USAGE')
    expect(workspace.treeHash()).toBe(before)
  })

  test('shows what is due and erases nothing in a dry run', async () => {
    const workspace = await due(copyOf(settled))
    const before = workspace.treeHash()
    expect(workspace.ok<Destroyed>('destroy', '--due', '--dry-run').data.due).toEqual(['master@1'])
    expect(workspace.treeHash()).toBe(before)
  })
})

describe('a destruction that is due', () => {
  test('erases the key file, keeps the record, and the application reads on', async () => {
    const workspace = await due(copyOf(settled))
    const { fingerprint } = workspace.keyring().keys['master']?.versions['1'] ?? {}
    const { data } = workspace.ok<Destroyed>('destroy', '--due', '--no-input')
    expect(data.destroyed.map(({ subject }) => subject)).toEqual(['master@1'])
    expectDestroyed(workspace)
    expect(workspace.keyring().keys['master']?.versions['1']).toMatchObject({ fingerprint, canary: null })
    expect(workspace.json('key', 'unretire', 'master@1', '--yes').error?.code).toBe('STATE_TRANSITION')
    expect(workspace.ok<Destroyed>('destroy', '--due').data.destroyed).toEqual([])
    const { stdout } = workspace.run('audit', 'show', '--action', 'key.destroy')
    expect(stdout).toMatch(/key\.destroy master@1 {2}result exit 0/)
  })

  test('says what was done and what was not, and lists every copy that still holds the key', async () => {
    const workspace = await due(copyOf(settled))
    const orphan = join(workspace.home, 'backups/master.v1.ABCDEFGH.asc')
    appendFileSync(orphan, 'a backup whose manifest a crash left out')
    const { stdout } = workspace.run('destroy', '--due')
    expect(stdout).toMatch(/overwritten once and removed from \S+/)
    expect(stdout).toMatch(/may still (hold|lie)/)
    expect(stdout).not.toMatch(/secure|shred|irrecoverab|wiped|for ever|permanent/i)
    expect(stdout).toContain('Until they and their copies elsewhere are destroyed, it exists')
    const listed = [...stdout.matchAll(/^ {2}OpenPGP backup {2}(.*)$/gm)].map(([, path]) => path)
    expect(listed).toHaveLength(2)
    expect(listed).toContain(orphan)
  })

  test('does not come back from such a backup into the home, but into a file', async () => {
    const workspace = await due(copyOf(settled))
    const { data } = workspace.ok<Destroyed>('destroy', '--due')
    const [backup = ''] = data.destroyed[0]?.backupsThatHoldIt ?? []
    expect(workspace.json('restore', '--from', 'gpg', backup, '--confirm', 'master@1')).toMatchObject({
      exit: 2,
      error: { code: 'STATE_TRANSITION', hint: expect.stringContaining('--out') as string },
    })
    expect(existsSync(keyFile(workspace))).toBe(false)
    workspace.ok('restore', '--from', 'gpg', backup, '--out', workspace.file('old.key'))
    expect(readFileSync(workspace.file('old.key'))).toEqual(workspace.firstKey.bytes)
  })

  test('waits for a clock that is behind the audit log, and neither schedules with it', async () => {
    const workspace = await due(copyOf(settled))
    const { signer } = await loadAuditKey(join(workspace.home, 'audit'))
    const future = openAudit(join(workspace.home, 'audit'), { signer, now: () => '2999-01-01T00:00:00Z' })
    await future.append({ action: 'audit.test', phase: 'note', data: {} })
    expectRefused(workspace, 'CLOCK_BEHIND')
    expect(workspace.json('destroy', 'master@1', '--confirm', 'master@1').error?.code).toBe('CLOCK_BEHIND')
  })

  test('waits while a run of its key is open', async () => {
    const workspace = await due(copyOf(settled))
    workspace.ok('rotate', 'master', '--stage', '--yes')
    const open = workspace.ok<{ runs: { status: string }[] }>('run', 'list').data.runs
    expect(open[0]?.status).not.toBe('done')
    expectRefused(workspace, 'RUN_OPEN')
  })
})

describe('the last scan', () => {
  test('finds a value that came back under the version, and leaves the key as it is', async () => {
    const workspace = await due(copyOf(settled))
    workspace.put(3, workspace.firstKey)
    const { error } = expectRefused(workspace, 'VALUES_REMAIN')
    expect(error?.message).toContain('1 value needs master@1')
    expect(error?.hint).toContain('--accept-loss 1')
    expect(workspace.lost()).toEqual([3])
    workspace.ok('key', 'unretire', 'master@1', '--yes')
    workspace.ok('rewrap', '--yes')
    expect(workspace.lost()).toEqual([])
  })

  test('finds a value that nothing declares, as retire does', async () => {
    const workspace = await due(copyOf(settled))
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', workspace.firstKey.bytes, nonce)
    const sealed = Buffer.concat([
      nonce,
      cipher.update('of an old dump'),
      cipher.final(),
      cipher.getAuthTag(),
    ])
    workspace.sql((database) => {
      database.exec('CREATE TABLE dump (name TEXT NOT NULL PRIMARY KEY, hidden TEXT)')
      database.prepare('INSERT INTO dump VALUES (?, ?)').run('a', sealed.toString('base64'))
    })
    const { error } = expectRefused(workspace, 'VALUES_REMAIN')
    expect(error?.message).toContain('app "dump" "hidden" (master@1)')
    workspace.sql((database) => database.exec('DELETE FROM dump'))
    workspace.ok('destroy', '--due')
  })

  test('counts what opens with no known key, and what is not sealed as declared', async () => {
    const workspace = await due(copyOf(settled))
    workspace.put(4, workspace.strangeKey())
    workspace.sql((database) => database.exec("UPDATE secrets SET ciphertext = 'plain text' WHERE id = 5"))
    const { error } = expectRefused(workspace, 'VALUES_REMAIN')
    expect(error?.message).toMatch(/^2 values need/)
  })

  test('takes an accepted loss of that many and no fewer, and the log keeps the reason', async () => {
    const workspace = await due(copyOf(settled))
    for (const id of [1, 2]) workspace.put(id, workspace.firstKey)
    expectRefused(workspace, 'VALUES_REMAIN', '--accept-loss', '1', '--reason', 'too few')
    workspace.ok('destroy', '--due', '--accept-loss', '2', '--reason', 'rows of a test tenant')
    expect(stateOf(workspace)).toBe('destroyed')
    expect(workspace.read(workspace.publishedKey('current'))).toMatchObject({ opened: rows - 2, failed: 2 })
    const { stdout } = workspace.run('audit', 'show', '--action', 'key.destroy')
    expect(stdout).toContain('acceptedLoss=2 reason=rows of a test tenant')
  })

  test('does not take declared plaintext for a value that needs the key', async () => {
    const workspace = makeWorkspace({ shape: oneLevel, rows })
    open.push(workspace)
    workspace.begin()
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    forgetRuns(workspace)
    await due(workspace)
    workspace.ok('destroy', '--due')
    expect(stateOf(workspace)).toBe('destroyed')
  })

  test('holds back one version and not another', async () => {
    const workspace = copyOf(settled)
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes')
    const second = { version: 2, bytes: readFileSync(keyFile(workspace, 2)) }
    workspace.ok('retire', 'master@2', '--confirm', 'master@2')
    forgetRuns(workspace)
    schedule(workspace, '1s', 'master@1')
    await due(workspace, 'master@2')
    workspace.put(7, second)
    const document = workspace.json<Destroyed>('destroy', '--due')
    expect(document).toMatchObject({ exit: 6, error: { code: 'VALUES_REMAIN' } })
    expect(document.data.destroyed.map(({ subject }) => subject)).toEqual(['master@1'])
    expect([stateOf(workspace, 1), stateOf(workspace, 2)]).toEqual(['destroyed', 'deactivated'])
    expect(readFileSync(keyFile(workspace, 2))).toEqual(second.bytes)
  })
})

describe('the ledger', () => {
  test('keeps the key while the ciphertext backup of a run is there, until run forget', async () => {
    const workspace = await due(copyOf(retired))
    const { error } = expectRefused(workspace, 'LEDGER_OPEN')
    const id = /kvx run forget (\S+)`/.exec(error?.hint ?? '')?.[1] ?? ''
    expect(workspace.ok<Runs>('run', 'list').data.runs.map((run) => run.id)).toContain(id)
    workspace.ok('run', 'forget', id, '--confirm', id)
    workspace.ok('destroy', '--due')
    expectDestroyed(workspace)
  })

  test('names what it waits for already when the end is scheduled', () => {
    const workspace = copyOf(retired)
    const { stdout } = workspace.run('destroy', 'master@1', '--confirm', 'master@1')
    expect(stdout).toMatch(/it waits: the ciphertext backup of run \S+ .*\(kvx run forget \S+\)/)
  })

  test('keeps the key as long as backups of the application may hold old values', async () => {
    const workspace = copyOf(settled)
    const text = workspace.configuration()
    workspace.writeConfig(text.replace('{ sqlite: app.db }', '{ sqlite: app.db, backup-retention: 35d }'))
    await due(workspace)
    const { error } = expectRefused(workspace, 'LEDGER_OPEN')
    expect(error?.message).toMatch(/backups of the store app may hold values under it until \d{4}-\d\d-\d\d/)
    expect(error?.hint).toContain('Only time settles it')
    workspace.writeConfig(text.replace('{ sqlite: app.db }', '{ sqlite: app.db, backup-retention: 1s }'))
    workspace.ok('destroy', '--due')
    expectDestroyed(workspace)
  })

  test('names a split that died among what still holds the key, as doctor does', async () => {
    const workspace = await due(copyOf(settled))
    const folder = join(workspace.home, 'backups/shares/.master.v1.KVXDEM.kvx-new')
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    writeFileSync(join(folder, 'KVXDEM-share-1.asc'), 'encrypted', { mode: 0o600 })
    expect(workspace.run('doctor').stdout).toMatch(/master\.v1\.KVXDEM\.kvx-new.*a split that died/)
    const [done] = workspace.ok<Destroyed>('destroy', '--due').data.destroyed
    expect(done?.backupsThatHoldIt).toContain(folder)
  })

  test('keeps the key while a place holds it that kvx.yaml does not declare any more', async () => {
    const workspace = makeWorkspace({ shape: plainTwoLevels, rows, gpg, recipients: [recipient] })
    open.push(workspace)
    workspace.begin()
    const second = '      - { file: second.key, previous: second.key.old, encoding: raw }\n'
    workspace.writeConfig(workspace.configuration().replace('    backup:', `${second}    backup:`))
    workspace.ok('key', 'publish', 'master', '--yes')
    workspace.writeConfig()
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes')
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    expect(readFileSync(workspace.file('second.key'))).toEqual(workspace.firstKey.bytes)
    forgetRuns(workspace)
    await due(workspace)
    const held = workspace.json('destroy', '--due')
    expect(held).toMatchObject({ exit: 6, error: { code: 'LEDGER_OPEN' } })
    expect(held.error?.message).toContain(`${workspace.file('second.key')} still holds it`)
    expect(held.error?.message).toContain('take it out by hand')
    expect(held.error?.hint).not.toContain('Only time')
    expect(existsSync(keyFile(workspace))).toBe(true)
    // Something else in its place is no copy of the key any more, not even a text that is no key.
    writeFileSync(workspace.file('second.key'), 'nothing\n')
    expect(workspace.ok<Destroyed>('destroy', '--due').data.destroyed).toHaveLength(1)
  })

  test('keeps the key while a published place holds it', async () => {
    const workspace = await due(copyOf(settled))
    appendFileSync(workspace.published, `APP_KEK_OLD=${workspace.firstKey.bytes.toString('base64')}\n`)
    const { error } = expectRefused(workspace, 'LEDGER_OPEN')
    expect(error?.hint).toContain('kvx key publish master')
    workspace.ok('key', 'publish', 'master', '--yes')
    workspace.ok('destroy', '--due')
    expectDestroyed(workspace)
  })
})

describe('a destruction that is killed', () => {
  test('ends as destroyed with the same command again, wherever it died', async (context) => {
    needsTool(context, 'strace')
    const base = await due(copyOf(settled))
    const command = ['destroy', '--due', '--no-input']
    const points = killPoints(copyOf(base), command)
    const key = readFileSync(keyFile(base))
    let killed = 0
    let begun = 0
    for (const point of points) {
      const workspace = copyOf(base)
      if (killAt(workspace, command, point)) killed++
      const at = `${point.call} ${point.when}`
      const isWhole = existsSync(keyFile(workspace)) && readFileSync(keyFile(workspace)).equals(key)
      if (!isWhole && stateOf(workspace) !== 'destroyed') {
        expect(workspace.json('destroy', 'master@1', '--cancel').exit, at).toBe(2)
        begun++
      }
      expect(workspace.json('verify').exit, `verify after ${at}`).toBe(0)
      expect(workspace.json('destroy', '--due').error, at).toBeUndefined()
      expect(stateOf(workspace), at).toBe('destroyed')
      expect(existsSync(keyFile(workspace)), at).toBe(false)
      expect(workspace.read(workspace.publishedKey('current')).opened, at).toBe(rows)
      expect(workspace.json('audit', 'verify').exit, at).toBe(0)
      workspace.close()
    }
    expect(killed).toBeGreaterThan(12)
    expect(begun, 'deaths in the middle of the erasure').toBeGreaterThan(2)
  }, 180_000)

  test('does not let a begun erasure be taken back, and says how to finish it', async () => {
    const workspace = await due(copyOf(settled))
    const path = join(workspace.home, 'keyring.json')
    const mark = `const r = JSON.parse(fs.readFileSync(${JSON.stringify(path)})); r.keys.master.versions[1].destruction.begun = '2026-01-01T00:00:00Z'; fs.writeFileSync(${JSON.stringify(path)}, JSON.stringify(r))`
    execFileSync(process.execPath, ['-e', mark])
    for (const args of [
      ['destroy', 'master@1', '--cancel'],
      ['key', 'unretire', 'master@1', '--yes'],
    ]) {
      const document = workspace.json(...args)
      expect(document).toMatchObject({ exit: 2, error: { code: 'STATE_TRANSITION' } })
      expect(document.error?.hint).toContain('kvx destroy --due')
    }
    workspace.ok('destroy', '--due')
    expectDestroyed(workspace)
  })
})
