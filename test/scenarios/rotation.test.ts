import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, type TestContext, test } from 'vitest'
import { oneLevel, plainTwoLevels } from '../support/application.ts'
import { startKvx } from '../support/cli.ts'
import { GpgHome } from '../support/gpg.ts'
import { needsTool } from '../support/needs.ts'
import {
  begun,
  closeAll,
  closing,
  killMidway,
  material,
  ring,
  rows,
  runs,
  untested,
} from '../support/rotations.ts'
import { closeImported, makeWorkspace, type Workspace } from '../support/workspace.ts'

afterAll(() => {
  closeAll()
  closeImported()
})

type Slots = readonly [current: string | undefined, previous: string | undefined]

/** What the published place holds, by the name that the test gives to each key. */
function slots(workspace: Workspace, names: Readonly<Record<string, Buffer | undefined>>): Slots {
  const name = (key: Buffer | undefined): string | undefined =>
    key === undefined
      ? undefined
      : (Object.entries(names).find(([, bytes]) => bytes?.equals(key))?.[0] ?? 'other')
  return [name(workspace.publishedKey('current')), name(workspace.publishedKey('previous'))]
}

describe('a rotation in steps', () => {
  test.each(['env', 'file'] as const)(
    'gives readers the new version in their second slot before anything is sealed with it, %s',
    (place) => {
      const workspace = begun({ place })
      const v1 = workspace.firstKey.bytes
      workspace.ok('rotate', 'master', '--stage', '--yes', ...untested)
      const v2 = material(workspace, 2)
      expect(slots(workspace, { v1, v2 })).toEqual(['v1', 'v2'])
      expect(ring(workspace)).toMatchObject({ seals: 1, staged: 2 })
      expect(workspace.read(v1).opened).toBe(rows)

      const early = workspace.json('rotate', 'master', '--activate', '--yes')
      expect(early).toMatchObject({ exit: 6, error: { code: 'ROLLOUT_NOT_DECLARED' } })
      expect(early.error?.hint).toContain('--rolled-out')
      expect(slots(workspace, { v1, v2 })).toEqual(['v1', 'v2'])
      expect(ring(workspace).seals).toBe(1)

      workspace.ok('rotate', 'master', '--activate', '--rolled-out', '--yes')
      expect(slots(workspace, { v1, v2 })).toEqual(['v2', 'v1'])
      expect(ring(workspace)).toMatchObject({ seals: 2, previous: 1, staged: null })
      expect(ring(workspace).versions['2']?.rollout?.how).toBe('declared')
      expect(workspace.lost()).toEqual([])
      workspace.ok('rewrap', '--yes')
      expect(workspace.read(v2).opened).toBe(rows)
    },
  )

  test('goes nowhere without staging while readers run, and says how many there are', () => {
    const workspace = begun({ members: ['instances: 3'] })
    const v1 = workspace.firstKey.bytes
    // A plain rotation stages and waits: nothing says that three readers have the new version.
    workspace.ok('rotate', 'master', '--yes', ...untested)
    const v2 = material(workspace, 2)
    const early = workspace.json('rotate', 'master', '--activate', '--yes')
    expect(early).toMatchObject({ exit: 6, error: { code: 'ROLLOUT_NOT_DECLARED' } })
    expect(early.error?.message).toContain('each of the 3 readers')
    workspace.json('run', 'resume', '--yes')
    expect(slots(workspace, { v1, v2 })).toEqual(['v1', 'v2'])
    expect(ring(workspace).seals).toBe(1)
    workspace.ok('rotate', 'master', '--activate', '--rolled-out', '--yes')
    expect(ring(workspace).seals).toBe(2)
  })

  test('of readers with one slot goes offline alone: the refusal and the plan say how many to stop', () => {
    const workspace = begun({ place: 'env-one-slot', members: ['instances: 3'] })
    const before = workspace.treeHash()
    for (const args of [[], ['--stage']]) {
      const refused = workspace.json('rotate', 'master', ...args, '--yes', ...untested)
      expect(refused).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
      expect(refused.error?.hint).toMatch(/Stop each of the 3 readers.*--offline --then data/)
    }
    expect(workspace.treeHash()).toBe(before)
    const args = ['rotate', 'master', '--offline', '--then', 'data', ...untested]
    expect(workspace.run(...args, '--dry-run').stdout).toContain('each of the 3 readers must be stopped')
    workspace.ok(...args, '--yes')
    expect(ring(workspace).seals).toBe(2)
  })

  test('takes a staged version back and never gives its number again', () => {
    const workspace = begun()
    const before = readFileSync(workspace.published, 'utf8')
    workspace.ok('rotate', 'master', '--stage', '--yes', ...untested)
    workspace.ok('rotate', 'master', '--unstage', '--yes')
    expect(readFileSync(workspace.published, 'utf8')).toBe(before)
    expect(ring(workspace)).toMatchObject({ seals: 1, staged: null })
    expect(runs(workspace)[0]?.status).toBe('abandoned')
    const again = workspace.ok<{ to: { version: number } }>(
      ...['rotate', 'master', '--offline', '--yes', ...untested],
    )
    expect(again.data.to.version).toBe(3)
  })

  test('stops after staging where nothing can say that readers have it, and says what to do next', () => {
    const workspace = begun()
    const { exit, stdout } = workspace.run('rotate', 'master', '--yes', ...untested)
    expect(exit).toBe(0)
    expect(stdout).toContain('Next: restart every reader, then kvx rotate master --activate --rolled-out')
    expect(ring(workspace)).toMatchObject({ seals: 1, staged: 2 })
  })

  test('refuses to rewrap to a version whose rollout is not declared', () => {
    const workspace = begun()
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    const path = join(workspace.home, 'keyring.json')
    const text = readFileSync(path, 'utf8')
    const edited = JSON.parse(text) as { keys: { master: { versions: Record<string, { rollout: null }> } } }
    const second = edited.keys.master.versions['2']
    if (second !== undefined) second.rollout = null
    writeFileSync(path, JSON.stringify(edited))
    const before = workspace.treeHash()
    expect(workspace.json('rewrap', '--yes')).toMatchObject({
      exit: 6,
      error: { code: 'ROLLOUT_NOT_DECLARED' },
    })
    expect(workspace.treeHash()).toBe(before)
    workspace.ok('rewrap', '--rolled-out', '--yes')
    expect(ring(workspace).versions['2']?.rollout?.how).toBe('declared')
  })

  test('an import of what is published changes nothing, at whatever step it comes', () => {
    const workspace = begun()
    const nothingToDo = (): void => {
      const keyring = workspace.keyring()
      const { data } = workspace.ok<{ versions: { changed: boolean }[] }>('key', 'import', 'master')
      expect(data.versions.map(({ changed }) => changed)).not.toContain(true)
      expect(workspace.keyring()).toEqual(keyring)
    }
    nothingToDo()
    workspace.ok('rotate', 'master', '--stage', '--yes', ...untested)
    nothingToDo()
    const staged = workspace.ok('rotate', 'master', '--activate', '--rolled-out', '--yes')
    nothingToDo()
    workspace.ok('run', 'rollback', staged.run ?? '', '--yes')
    nothingToDo()
  })

  test('a run that waits says how it goes on', () => {
    const workspace = begun()
    workspace.ok('rotate', 'master', '--stage', '--yes', ...untested)
    expect(workspace.run('run', 'list').stdout).toContain('Next: kvx rotate master --activate')
    const refused = workspace.json('rewrap', '--yes')
    expect(refused).toMatchObject({ exit: 6, error: { code: 'RUN_OPEN' } })
    expect(refused.error?.hint).toContain('kvx rotate master --activate')
  })

  test('refuses a second rotation while the slot holds a version that is not retired', () => {
    const workspace = begun()
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    const before = workspace.treeHash()
    const second = workspace.json('rotate', 'master', '--offline', '--yes', ...untested)
    expect(second).toMatchObject({ exit: 6, error: { code: 'SLOT_OCCUPIED' } })
    expect(second.error?.hint).toContain('kvx retire master@1')
    expect(workspace.treeHash()).toBe(before)
  })
})

describe('readers that kvx can ask', () => {
  /** A reload that notes what is published at that moment, and a probe that ends as its file says. */
  function asked(
    probeExit: number,
    reloadExit = 0,
  ): { workspace: Workspace; log: string; set: (exit: number) => void } {
    const scripts = closing(makeWorkspace({ shape: plainTwoLevels, rows: 0 }))
    const log = scripts.file('log')
    writeFileSync(scripts.file('exit'), String(probeExit))
    writeFileSync(scripts.file('reload-exit'), String(reloadExit))
    const members = [`probe: [${scripts.file('probe')}]`, `reload: [${scripts.file('reload')}, web]`]
    const workspace = begun({ members })
    const script = (text: string): string => `#!/bin/sh\n${text}\n`
    writeFileSync(
      scripts.file('probe'),
      script(`echo probe >> ${log}; exit "$(cat ${scripts.file('exit')})"`),
      { mode: 0o700 },
    )
    writeFileSync(
      scripts.file('reload'),
      script(
        `echo "reload $1 $(grep -c APP_KEK ${workspace.published})" >> ${log}; exit "$(cat ${scripts.file('reload-exit')})"`,
      ),
      { mode: 0o700 },
    )
    const set = (exit: number): void => {
      writeFileSync(scripts.file('exit'), String(exit))
      writeFileSync(scripts.file('reload-exit'), '0')
    }
    return { workspace, log, set }
  }

  test('are reloaded, probed, and reloaded again in one plain rotation', () => {
    const { workspace, log } = asked(0)
    workspace.ok('rotate', 'master', '--yes', ...untested)
    expect(readFileSync(log, 'utf8')).toBe('reload web 2\nprobe\nreload web 2\n')
    expect(ring(workspace)).toMatchObject({ seals: 2, previous: 1, staged: null })
    expect(ring(workspace).versions['2']?.rollout?.how).toBe('probed')
  })

  test('keep the old version sealing while a probe says no', () => {
    const { workspace, log, set } = asked(7)
    const refused = workspace.json('rotate', 'master', '--yes', ...untested)
    expect(refused).toMatchObject({ exit: 6, error: { code: 'ROLLOUT_NOT_DECLARED' } })
    expect(refused.error?.hint).toContain('kvx rotate master --activate')
    expect(ring(workspace)).toMatchObject({ seals: 1, staged: 2 })
    expect(workspace.publishedKey('current')).toEqual(workspace.firstKey.bytes)

    set(0)
    workspace.ok('rotate', 'master', '--activate', '--yes')
    expect(ring(workspace)).toMatchObject({ seals: 2, staged: null })
    expect(readFileSync(log, 'utf8')).toBe('reload web 2\nprobe\nprobe\nreload web 2\n')
  })

  test('are not asked with --stage', () => {
    const { workspace, log } = asked(0)
    workspace.ok('rotate', 'master', '--stage', '--yes', ...untested)
    expect(readFileSync(log, 'utf8')).toBe('reload web 2\n')
    expect(ring(workspace)).toMatchObject({ seals: 1, staged: 2 })
  })

  test('a failed reload stops the rotation, and a resume goes on from there', () => {
    const { workspace, log, set } = asked(0, 3)
    const failed = workspace.json('rotate', 'master', '--yes', ...untested)
    expect(failed).toMatchObject({ exit: 9, error: { code: 'TOOL_FAILED' } })
    expect(failed.error?.hint).toContain('kvx run resume')
    expect(ring(workspace)).toMatchObject({ seals: 1, staged: 2 })
    set(0)
    workspace.ok('run', 'resume')
    expect(ring(workspace).seals).toBe(2)
    expect(readFileSync(log, 'utf8')).toBe('reload web 2\nreload web 2\nprobe\nreload web 2\n')
  })
})

describe('readers with a cache', () => {
  test('have their time before the last sweep begins: what they still seal under the old key is moved', async () => {
    const workspace = begun({ members: ['cache-ttl: 4s'] })
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    const rewrap = startKvx(['rewrap', '--yes'], { cwd: workspace.path, env: workspace.env })
    const ended = new Promise<number | null>((done) => rewrap.on('close', done))
    while (workspace.read(workspace.firstKey.bytes).failed < rows && rewrap.exitCode === null) await sleep(20)
    workspace.put(7, workspace.firstKey)
    expect(await ended).toBe(0)
    // The keyring's time is cut to the second, so that a cache of 4 s has ended 5 s after it.
    const activated = ring(workspace).versions['2']?.history.at(-1)
    expect(Date.now() - Date.parse(activated?.at ?? '')).toBeGreaterThanOrEqual(5000)
    expect(workspace.read(workspace.publishedKey('current'))).toMatchObject({ opened: rows, failed: 0 })
  })

  test('hold the second scan of a retirement back: a value that came in between keeps the key', async () => {
    const workspace = begun({ members: ['cache-ttl: 2s'] })
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
    const retire = startKvx(['retire', 'master@1', '--confirm', 'master@1', '--json'], {
      cwd: workspace.path,
      env: workspace.env,
    })
    let stdout = ''
    retire.stdout.on('data', (bytes: Buffer) => (stdout += bytes.toString()))
    const ended = new Promise<number | null>((done) => retire.on('close', done))
    await sleep(1300)
    workspace.put(7, workspace.firstKey)
    expect(await ended).toBe(6)
    expect(stdout).toContain('VALUES_REMAIN')
    expect(ring(workspace).versions['1']?.retired).toBeNull()
    expect(workspace.lost()).toEqual([])
  })
})

describe('readers with one slot', () => {
  test.each([
    [['rotate', 'master', '--stage'], '--offline --then data'],
    [['rotate', 'master'], '--offline --then data'],
    [['rotate', 'master', '--offline'], '--then data'],
  ] as const)('cannot do %j: the way is named', (args, way) => {
    const workspace = begun({ place: 'env-one-slot' })
    const before = workspace.treeHash()
    const refused = workspace.json(...args, '--yes', ...untested)
    expect(refused).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
    expect(refused.error?.hint).toContain(way)
    expect(workspace.treeHash()).toBe(before)
  })

  test.each([
    ['env-one-slot', plainTwoLevels],
    ['file-one-slot', oneLevel],
  ] as const)('get their key back only when all data is under it, %s', async (place, shape) => {
    const workspace = begun({ place, shape })
    const child = startKvx(
      [
        'rotate',
        'master',
        '--offline',
        '--then',
        'data',
        '--yes',
        '--batch',
        '1',
        '--rate',
        '40',
        ...untested,
      ],
      { cwd: workspace.path, env: workspace.env },
    )
    const ended = new Promise((done) => child.on('close', done))
    const seen = new Set<string>()
    for (let running = true; running; ) {
      running = await Promise.race([ended.then(() => false), sleep(15, true)])
      const key = workspace.publishedKey('current')
      const reading = workspace.read(key)
      seen.add(key === undefined ? 'nothing' : `${reading.failed === 0 ? 'all' : 'some'} open`)
    }
    expect([...seen].sort()).toEqual(['all open', 'nothing'])
    expect(child.exitCode).toBe(0)
    expect(workspace.read(material(workspace, 2)).opened).toBe(rows)
    expect(workspace.publishedKey('current')).toEqual(material(workspace, 2))
  })

  test('stay without a key when the run is killed in between, and get it with the resume', async () => {
    const workspace = begun({ place: 'env-one-slot' })
    await killMidway(workspace, 1)
    expect(workspace.publishedKey('current')).toBeUndefined()
    expect(workspace.run('verify').exit).toBe(0)

    const tempted = workspace.json('key', 'publish', 'master', '--yes')
    expect(tempted).toMatchObject({ exit: 6, error: { code: 'RUN_OPEN' } })
    expect(workspace.publishedKey('current')).toBeUndefined()

    workspace.ok('run', 'resume')
    expect(workspace.read(workspace.publishedKey('current'))).toMatchObject({ opened: rows, failed: 0 })
  })

  test('get the old key back with a rollback of a run that was killed in between', async () => {
    const workspace = begun({ place: 'file-one-slot' })
    await killMidway(workspace, 1)
    workspace.ok('run', 'rollback', '--yes')
    expect(workspace.publishedKey('current')).toEqual(workspace.firstKey.bytes)
    expect(workspace.read(workspace.firstKey.bytes)).toMatchObject({ opened: rows, failed: 0 })
  })

  test('get the new key although a record was set aside: the others need it', () => {
    const workspace = begun({ place: 'env-one-slot' })
    workspace.put(3, workspace.strangeKey())
    const partly = workspace.json(
      ...[
        'rotate',
        'master',
        '--offline',
        '--then',
        'data',
        '--on-error',
        'quarantine',
        '--yes',
        ...untested,
      ],
    )
    expect(partly).toMatchObject({ exit: 4, error: { code: 'RECORDS_QUARANTINED' } })
    expect(workspace.read(workspace.publishedKey('current'))).toMatchObject({ opened: rows - 1, failed: 1 })
    workspace.put(3, workspace.currentKey())
    workspace.ok('run', 'resume')
    expect(workspace.read(workspace.publishedKey('current'))).toMatchObject({ opened: rows, failed: 0 })
  })
})

describe('a backup that nobody here can open', () => {
  const office = new GpgHome()
  const safe = new GpgHome()
  afterAll(() => {
    office.remove()
    safe.remove()
  })
  const recipient = safe.makeKey('custodian@example.org')
  office.import(safe.exportPublic(recipient))

  test.each([['--offline'], ['--stage']] as const)(
    'holds rotate %s back until its receipt is confirmed',
    (mode) => {
      const workspace = begun({ gpg: office, recipients: [recipient] })
      const published = readFileSync(workspace.published, 'utf8')
      const waiting = workspace.json('rotate', 'master', mode, '--yes')
      expect(waiting).toMatchObject({ exit: 6, error: { code: 'NO_TESTED_BACKUP' } })
      const [backup] = workspace.ok<{ backups: { id: string; file: string; version: number }[] }>(
        ...['backup', 'list', 'master'],
      ).data.backups
      if (backup === undefined) throw new Error('there is no backup')
      expect(waiting.error?.hint).toContain(`kvx backup confirm ${backup.id}`)
      expect(readFileSync(workspace.published, 'utf8')).toBe(published)
      expect(ring(workspace)).toMatchObject({ seals: 1, staged: null })
      expect(ring(workspace).versions['2']?.state).toBe('pre-activation')
      expect(runs(workspace)[0]).toMatchObject({ status: 'waiting' })

      const still = workspace.json('rotate', 'master', '--activate', '--yes')
      expect(still).toMatchObject({ exit: 6, error: { code: 'NO_TESTED_BACKUP' } })
      const wrong = workspace.json('backup', 'confirm', backup.id, '--receipt', '0000-0000-0000-0000')
      expect(wrong.exit).toBe(5)

      const opened = safe.decrypt(readFileSync(backup.file)).toString('utf8')
      const receipt = /^receipt: *(\S+)/m.exec(opened)?.[1] ?? ''
      workspace.ok('backup', 'confirm', backup.id, '--receipt', receipt)
      workspace.ok('rotate', 'master', '--activate', '--rolled-out', '--yes')
      expect(ring(workspace).seals).toBe(2)
      const key = /^key-base64: *(\S+)$/m.exec(opened)?.[1]
      expect(workspace.publishedKey('current')?.toString('base64')).toBe(key)
    },
  )

  test('can be done without for a recorded reason, which is shown', () => {
    const workspace = begun({ gpg: office, recipients: [recipient] })
    expect(workspace.json('rotate', 'master', '--offline', '--yes', '--without-backup').exit).toBe(2)
    workspace.ok('rotate', 'master', '--offline', '--yes', '--without-backup', '--reason', 'moving house')
    expect(ring(workspace).versions['2']?.withoutBackup?.reason).toBe('moving house')
    expect(workspace.run('key', 'show', 'master').stdout).toContain('moving house')
    expect(workspace.ok('backup', 'list', 'master').data).toMatchObject({ backups: [] })
  })

  test('a key without a configured backup names both ways, before a new version exists', () => {
    const workspace = begun()
    const refused = workspace.json('rotate', 'master', '--offline', '--yes')
    expect(refused).toMatchObject({ exit: 6, error: { code: 'NO_TESTED_BACKUP' } })
    expect(refused.error?.hint).toMatch(/recipients.*--without-backup --reason/s)
    expect(ring(workspace).seals).toBe(1)
  })
})

describe('a key file with a second slot', () => {
  test('keeps owner, mode and the ACL of its readers through a whole rotation', (context: TestContext) => {
    needsTool(context, 'setfacl')
    const workspace = begun({ place: 'file', members: ['readers: [games]', 'mode: "0640"'] })
    execFileSync('setfacl', ['-m', 'g:games:r', workspace.published])
    const acl = (name: string): string =>
      execFileSync('getfacl', ['-cpE', workspace.file('keys', name)], { encoding: 'utf8' })
    const before = acl('app.key')
    expect(before).toContain('group:games:r--')
    workspace.ok('rotate', 'master', '--stage', '--yes', ...untested)
    expect([acl('app.key'), acl('app.key.previous')]).toEqual([before, before])
    workspace.ok('rotate', 'master', '--activate', '--rolled-out', '--yes')
    expect([acl('app.key'), acl('app.key.previous')]).toEqual([before, before])
    workspace.ok('rewrap', '--yes')
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    expect(acl('app.key')).toBe(before)
    expect(existsSync(workspace.file('keys/app.key.previous'))).toBe(false)
  })
})
