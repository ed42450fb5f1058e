import { appendFileSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { numberedValues, plainTwoLevels, versionColumn } from '../support/application.ts'
import { begun, closeAll, killMidway, material, ring, rows, runs, untested } from '../support/rotations.ts'
import { closeImported, type Workspace } from '../support/workspace.ts'

afterAll(() => {
  closeAll()
  closeImported()
})

describe('run rollback', () => {
  test.each([
    ['env', plainTwoLevels],
    ['file', numberedValues],
    ['env-one-slot', versionColumn],
  ] as const)('undoes a rotation with its data, %s', (place, shape) => {
    const workspace = begun({ place, shape })
    const done = workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
    expect(workspace.read(workspace.firstKey.bytes).opened).toBe(0)
    workspace.ok('run', 'rollback', done.run ?? '', '--yes')
    expect(workspace.publishedKey('current')).toEqual(workspace.firstKey.bytes)
    expect(workspace.read(workspace.firstKey.bytes)).toMatchObject({ opened: rows, failed: 0 })
    expect(ring(workspace)).toMatchObject({ seals: 1 })
    expect(ring(workspace).versions['2']?.state).toBe('deactivated')
    expect(workspace.ok('verify').data).toMatchObject({ envelopes: [{ byVersion: { 'master@1': rows } }] })
  })

  test('undoes a bare rewrap: the old version seals again', () => {
    const workspace = begun()
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    const rewrap = workspace.ok('rewrap', '--yes')
    workspace.ok('run', 'rollback', rewrap.run ?? '', '--yes')
    expect(workspace.publishedKey('current')).toEqual(workspace.firstKey.bytes)
    expect(workspace.read(workspace.firstKey.bytes)).toMatchObject({ opened: rows, failed: 0 })
    expect(ring(workspace).seals).toBe(1)
  })

  test('undoes a rotation that never activated, and touches no value', () => {
    const workspace = begun()
    const [published, before] = [readFileSync(workspace.published, 'utf8'), workspace.rows()]
    workspace.ok('rotate', 'master', '--stage', '--yes', ...untested)
    workspace.ok('run', 'rollback', '--yes')
    expect(readFileSync(workspace.published, 'utf8')).toBe(published)
    expect(workspace.rows()).toEqual(before)
    expect(ring(workspace)).toMatchObject({ seals: 1, staged: null })
    expect(ring(workspace).versions['2']?.state).toBe('pre-activation')
    expect(runs(workspace)[0]?.status).toBe('rolled-back')
  })

  test('moves values back that the application sealed under the new key meanwhile', () => {
    const workspace = begun()
    const rotation = workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    workspace.put(rows + 1, workspace.currentKey())
    workspace.ok('run', 'rollback', rotation.run ?? '', '--yes')
    expect(workspace.read(workspace.firstKey.bytes)).toMatchObject({ opened: rows + 1, failed: 0 })
  })

  test('is refused when the old version is retired, and works after unretire', () => {
    const workspace = begun()
    const done = workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    const before = workspace.treeHash()
    const refused = workspace.json('run', 'rollback', done.run ?? '', '--yes')
    expect(refused).toMatchObject({ exit: 2, error: { code: 'STATE_TRANSITION' } })
    expect(refused.error?.hint).toContain('kvx key unretire master@1')
    expect(workspace.treeHash()).toBe(before)
    workspace.ok('key', 'unretire', 'master@1', '--yes')
    workspace.ok('run', 'rollback', done.run ?? '', '--yes')
    expect(workspace.read(workspace.firstKey.bytes).opened).toBe(rows)
  })

  test('is refused to a compromised version, and the run stays as it was', () => {
    const workspace = begun()
    const done = workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
    workspace.ok('key', 'compromise', 'master@1', '--reason', 'leaked', '--yes')
    const before = workspace.treeHash()
    const refused = workspace.json('run', 'rollback', done.run ?? '', '--yes')
    expect(refused).toMatchObject({ exit: 2, error: { code: 'STATE_TRANSITION' } })
    expect(workspace.treeHash()).toBe(before)
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
  })

  test('is refused while another run of the key is unfinished', () => {
    const workspace = begun()
    const rotation = workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    workspace.put(3, workspace.strangeKey())
    const rewrap = workspace.json('rewrap', '--on-error', 'quarantine', '--yes')
    expect(rewrap.exit).toBe(4)
    const before = workspace.treeHash()
    const refused = workspace.json('run', 'rollback', rotation.run ?? '', '--yes')
    expect(refused).toMatchObject({ exit: 6, error: { code: 'RUN_OPEN' } })
    expect(refused.error?.hint).toContain(rewrap.run ?? 'the rewrap')
    expect(workspace.treeHash()).toBe(before)
  })
})

describe('run restore and run forget', () => {
  function rewrapped(): { workspace: Workspace; run: string; before: readonly object[] } {
    const workspace = begun()
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    const before = workspace.rows()
    return { workspace, run: workspace.ok('rewrap', '--yes').run ?? '', before }
  }

  test('restore brings back what the run replaced, missing records too, to the byte', () => {
    const { workspace, run, before } = rewrapped()
    workspace.sql((database) => database.exec('DELETE FROM secrets WHERE id IN (4, 9)'))
    const hash = workspace.treeHash()
    const look = workspace.ok('run', 'restore', run, '--dry-run')
    expect(look.data).toEqual({ restored: rows - 2, inserted: 2, same: 0, changedSince: 0, unreadable: 0 })
    expect(workspace.treeHash()).toBe(hash)
    workspace.ok('run', 'restore', run, '--yes')
    expect(workspace.rows()).toEqual(before)
    expect(workspace.read(workspace.firstKey.bytes).opened).toBe(rows)
    const again = workspace.ok('run', 'restore', run, '--yes')
    expect(again.data).toMatchObject({ restored: 0, inserted: 0, same: rows })
  })

  test('restore brings numbers back that JSON has no spelling for', () => {
    const workspace = begun()
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    workspace.sql((database) =>
      database.exec(
        'ALTER TABLE secrets ADD COLUMN weight; UPDATE secrets SET weight = CASE id % 3 WHEN 0 THEN 9e999 WHEN 1 THEN -9e999 ELSE 1e-300 END',
      ),
    )
    const before = workspace.rows()
    expect(new Set(before.map((row) => row['weight']))).toEqual(new Set([Infinity, -Infinity, 1e-300]))
    const { run = '' } = workspace.ok('rewrap', '--yes')
    workspace.sql((database) => database.exec('DELETE FROM secrets WHERE id IN (1, 2, 3)'))
    workspace.ok('run', 'restore', run, '--yes')
    expect(workspace.rows()).toEqual(before)
  })

  test('restore leaves records that something else wrote since, unless their loss is accepted', () => {
    const { workspace, run, before } = rewrapped()
    workspace.put(5, workspace.currentKey())
    const [hash, written] = [workspace.treeHash(), workspace.rows()]
    const refused = workspace.json('run', 'restore', run, '--yes')
    expect(refused).toMatchObject({ exit: 6, error: { code: 'VALUES_REMAIN' } })
    expect(refused.error?.hint).toContain('--accept-loss 1 --reason')
    expect(workspace.treeHash()).toBe(hash)
    expect(workspace.rows()).toEqual(written)
    expect(workspace.json('run', 'restore', run, '--yes', '--accept-loss', '1').exit).toBe(2)
    workspace.ok('run', 'restore', run, '--yes', '--accept-loss', '1', '--reason', 'bad deploy')
    expect(workspace.rows()).toEqual(before)
  })

  test('restore leaves nothing out in silence: what was planned must be declared still', () => {
    const { workspace, run } = rewrapped()
    workspace.writeConfig(workspace.configuration().replace('app.secrets', 'app.others'))
    const before = workspace.treeHash()
    const refused = workspace.json('run', 'restore', run, '--yes')
    expect(refused).toMatchObject({ exit: 7, error: { code: 'PLAN_DIFFERS' } })
    expect(refused.error?.message).toContain('app.secrets')
    expect(workspace.treeHash()).toBe(before)
  })

  test('forget removes the ciphertext backup and nothing else, and rollback still works', () => {
    const { workspace, run } = rewrapped()
    const backup = join(workspace.home, 'runs', run, 'backup/ciphertext.jsonl')
    expect(existsSync(backup)).toBe(true)
    expect(workspace.json('run', 'forget', run, '--no-input').exit).toBe(2)
    workspace.ok('run', 'forget', run, '--confirm', run)
    expect(existsSync(backup)).toBe(false)
    expect(workspace.ok('run', 'forget', run, '--confirm', run).data).toMatchObject({ removed: false })
    const gone = workspace.json('run', 'restore', run, '--yes')
    expect(gone.exit).toBe(2)
    expect(gone.error?.hint).toContain(`kvx run rollback ${run}`)
    workspace.ok('run', 'rollback', run, '--yes')
    expect(workspace.read(workspace.firstKey.bytes).opened).toBe(rows)
  })

  test('forget refuses a run that is not finished', async () => {
    const workspace = begun()
    await killMidway(workspace, 1)
    const run = runs(workspace)[0]?.id ?? ''
    const refused = workspace.json('run', 'forget', run, '--confirm', run)
    expect(refused).toMatchObject({ exit: 6, error: { code: 'RUN_OPEN' } })
    expect(existsSync(join(workspace.home, 'runs', run, 'backup/ciphertext.jsonl'))).toBe(true)
  })
})

describe('the states of a version', () => {
  test('a suspended version neither opens nor seals until it is resumed', () => {
    const workspace = begun()
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    workspace.ok('key', 'suspend', 'master@1', '--reason', 'incident 12', '--yes')
    const blind = workspace.json('verify')
    expect(blind.exit).toBe(3)
    expect(blind.data).toMatchObject({ envelopes: [{ unreadable: rows }] })
    expect(blind.error?.hint).toContain('kvx key resume master@1')
    const stopped = workspace.json('rewrap', '--yes')
    expect(stopped.exit).toBe(5)
    workspace.ok('key', 'resume', 'master@1', '--reason', 'closed', '--yes')
    expect(ring(workspace).versions['1']?.state).toBe('deactivated')
    workspace.ok('rewrap', '--yes')
  })

  test('a version that seals and is suspended or compromised takes no values', () => {
    const workspace = begun()
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    for (const step of ['suspend', 'compromise']) {
      workspace.ok('key', step, 'master@2', '--reason', 'incident 13', '--yes')
      const before = workspace.treeHash()
      const refused = workspace.json('rewrap', '--yes')
      expect(refused).toMatchObject({ exit: 2, error: { code: 'STATE_TRANSITION' } })
      expect(workspace.treeHash()).toBe(before)
    }
  })

  test('a compromised version opens to move values away from it, and is retired', () => {
    const workspace = begun()
    workspace.ok('key', 'compromise', 'master@1', '--reason', 'in a public repository', '--yes')
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
    expect(ring(workspace).versions['1']?.state).toBe('compromised')
    expect(workspace.read(workspace.publishedKey('current')).opened).toBe(rows)
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    const back = workspace.json('key', 'resume', 'master@1', '--reason', 'no', '--yes')
    expect(back).toMatchObject({ exit: 2, error: { code: 'STATE_TRANSITION' } })
  })
})

describe('retire', () => {
  test('leaves the key untouched while one value needs it', () => {
    const workspace = begun()
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
    workspace.put(11, workspace.firstKey)
    const published = readFileSync(workspace.published, 'utf8')
    const keyring = readFileSync(join(workspace.home, 'keyring.json'), 'utf8')
    const refused = workspace.json('retire', 'master@1', '--confirm', 'master@1')
    expect(refused).toMatchObject({ exit: 6, error: { code: 'VALUES_REMAIN' }, data: { remaining: 1 } })
    expect(readFileSync(workspace.published, 'utf8')).toBe(published)
    expect(readFileSync(join(workspace.home, 'keyring.json'), 'utf8')).toBe(keyring)
    expect(existsSync(join(workspace.home, 'certificates'))).toBe(false)
    workspace.ok('rewrap', '--yes')
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    expect(workspace.publishedKey('previous')).toBeUndefined()
  })

  test('a value that comes back under a retired version is a finding, and can be moved after all', () => {
    const workspace = begun()
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    workspace.put(11, workspace.firstKey)
    const found = workspace.json('verify')
    expect(found).toMatchObject({ exit: 3, error: { code: 'FINDINGS' } })
    expect(found.error?.hint).toContain('kvx key unretire master@1')
    const before = workspace.treeHash()
    expect(workspace.json('rewrap', '--yes')).toMatchObject({ exit: 6, error: { code: 'VALUES_REMAIN' } })
    expect(workspace.treeHash()).toBe(before)
    workspace.ok('key', 'unretire', 'master@1', '--yes')
    workspace.ok('rewrap', '--yes')
    expect(workspace.ok('verify').data).toMatchObject({ envelopes: [{ byVersion: { 'master@2': rows } }] })
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
  })

  test('refuses while values lie there in another form than the declared one', () => {
    const workspace = begun({ shape: numberedValues })
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
    const old = numberedValues.seal(workspace.firstKey, 11)
    workspace.put(11, workspace.firstKey, {
      ...old,
      login: String(old['login']).replace('vault:', 'VAULT:'),
      password: null,
    })
    const refused = workspace.json('retire', 'master@1', '--confirm', 'master@1')
    expect(refused.exit).toBe(5)
    expect(refused.error?.code).toBe('UNREADABLE_RECORDS')
    expect(ring(workspace).versions['1']?.retired).toBeNull()
  })

  test('a damaged value beside a good one in the same record is not overlooked', () => {
    const workspace = begun({ shape: numberedValues })
    const row = numberedValues.seal(workspace.firstKey, 11)
    workspace.put(11, workspace.firstKey, { ...row, login: `X${String(row['login'])}` })
    expect(workspace.json('verify').exit).toBe(3)
  })

  test('refuses the version that seals, one that is staged, and one that it does not know', () => {
    const workspace = begun()
    workspace.ok('rotate', 'master', '--stage', '--yes', ...untested)
    const before = workspace.treeHash()
    const refusals = ['master@1', 'master@2', 'master@9'].map(
      (subject) => workspace.json('retire', subject, '--confirm', subject).error?.code,
    )
    expect(refusals).toEqual(['VERSION_IN_USE', 'VERSION_IN_USE', 'VERSION_UNKNOWN'])
    expect(workspace.treeHash()).toBe(before)
  })
})

describe('key publish', () => {
  test('repairs a published place that lost or changed its key', () => {
    const workspace = begun()
    workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
    const right = readFileSync(workspace.published, 'utf8')
    rmSync(workspace.published)
    appendFileSync(workspace.published, right.replace(/^APP_KEK=.*\n/m, ''), { mode: 0o600 })
    expect(workspace.ok<{ drift: string[] }>('key', 'show', 'master').data.drift).toHaveLength(1)
    workspace.ok('key', 'publish', 'master', '--yes')
    expect(workspace.publishedKey('current')).toEqual(material(workspace, 2))
    expect(workspace.lost()).toEqual([])
  })
})
