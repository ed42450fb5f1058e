import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { appendFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadAuditKey } from '../../src/audit/audit-key.ts'
import { openAudit } from '../../src/audit/audit.ts'
import { plainTwoLevels } from '../support/application.ts'
import { kvxBin } from '../support/cli.ts'
import { needsRoot } from '../support/needs.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

type Examination = { name: string; health: 'ok' | 'warn' | 'stop'; message: string; remedy?: string }

const open: Workspace[] = []
afterAll(() => open.forEach((one) => one.close()))

let healthy: Workspace

beforeAll(() => {
  healthy = makeWorkspace({ shape: plainTwoLevels, rows: 4 }).begin()
  open.push(healthy)
})

function copy(): Workspace {
  const workspace = healthy.copy()
  open.push(workspace)
  return workspace
}

/** What is not well, apart from what this machine is like. */
function findings(workspace: Workspace): { exit: number; wrong: readonly Examination[] } {
  const before = workspace.treeHash()
  const { exit, data } = workspace.json<{ examinations: Examination[] }>('doctor')
  expect(workspace.treeHash(), 'doctor mends nothing').toBe(before)
  const ofTheMachine = ['swap', 'ACLs']
  const wrong = data.examinations.filter(
    ({ name, health }) => health !== 'ok' && !ofTheMachine.includes(name),
  )
  return { exit, wrong }
}

function keyFile(workspace: Workspace): string {
  return join(workspace.home, 'keys/master.v1.key')
}

function logFile(workspace: Workspace): string {
  return join(workspace.home, 'audit/log.jsonl')
}

function editKeyring(workspace: Workspace, edit: (record: Record<string, unknown>) => void): void {
  const path = join(workspace.home, 'keyring.json')
  const ring = workspace.keyring()
  edit(ring.keys['master']?.versions['1'] as unknown as Record<string, unknown>)
  writeFileSync(path, JSON.stringify(ring))
}

describe('kvx doctor', () => {
  test('finds nothing wrong with a whole installation, and ends in 0', () => {
    expect(findings(healthy)).toEqual({ exit: 0, wrong: [] })
    const names = healthy
      .ok<{ examinations: Examination[] }>('doctor')
      .data.examinations.map(({ name }) => name)
    for (const name of ['tool setfacl', 'master@1', 'published master', 'runs', 'audit log', 'clock'])
      expect(names).toContain(name)
  })

  test('stops at a missing key file and names the way back', () => {
    const workspace = copy()
    rmSync(keyFile(workspace))
    const { exit, wrong } = findings(workspace)
    expect(exit).toBe(3)
    expect(wrong).toMatchObject([
      { name: 'master@1', health: 'stop', message: expect.stringContaining('missing') as string },
    ])
    expect(wrong[0]?.remedy).toContain('kvx restore --from gpg')
  })

  test('stops at a key file that holds another key', () => {
    const workspace = copy()
    writeFileSync(keyFile(workspace), randomBytes(32))
    const { exit, wrong } = findings(workspace)
    expect(exit).toBe(3)
    expect(wrong).toMatchObject([{ name: 'master@1', health: 'stop' }])
    expect(wrong[0]?.message).toContain('holds another key')
  })

  test('stops at a canary that the key does not open', () => {
    const workspace = copy()
    editKeyring(workspace, (record) => {
      const bytes = Buffer.from(String(record['canary']), 'base64')
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
      record['canary'] = bytes.toString('base64')
    })
    const { exit, wrong } = findings(workspace)
    expect(exit).toBe(3)
    expect(wrong).toMatchObject([{ name: 'master@1', health: 'stop' }])
    expect(wrong[0]?.message).toContain('canary')
  })

  test('warns of unfinished files in the home and beside a published place, and ends in 0', () => {
    const workspace = copy()
    const paths = [join(workspace.home, 'keys/.master.v2.key.kvx-new'), workspace.file('.app.env.kvx-new')]
    for (const path of paths) writeFileSync(path, randomBytes(32), { mode: 0o600 })
    const { exit, wrong } = findings(workspace)
    expect(exit).toBe(0)
    expect(wrong.map(({ name, health }) => [name, health])).toEqual(paths.map((path) => [path, 'warn']))
    for (const [index, { remedy }] of wrong.entries()) expect(remedy).toContain(`rm ${paths[index] ?? ''}`)
  })

  test('warns of a key file without a record', () => {
    const workspace = copy()
    const path = join(workspace.home, 'keys/other.v1.key')
    writeFileSync(path, randomBytes(32), { mode: 0o600 })
    const { exit, wrong } = findings(workspace)
    expect(exit).toBe(0)
    expect(wrong).toMatchObject([{ name: path, health: 'warn', remedy: `kvx inspect ${path}` }])
  })

  test('warns of a key file that is there although its version is destroyed', () => {
    const workspace = copy()
    editKeyring(workspace, (record) => (record['state'] = 'destroyed'))
    const { exit, wrong } = findings(workspace)
    expect(exit).toBe(0)
    expect(wrong).toMatchObject([{ name: 'master@1', health: 'warn', remedy: `rm ${keyFile(workspace)}` }])
  })

  test('warns of an erasure that was interrupted', () => {
    const workspace = copy()
    const at = '2026-01-01T00:00:00Z'
    editKeyring(
      workspace,
      (record) => (record['destruction'] = { scheduled: at, due: at, actor: 'x', begun: at }),
    )
    writeFileSync(keyFile(workspace), Buffer.alloc(32))
    const { exit, wrong } = findings(workspace)
    expect(exit).toBe(0)
    expect(wrong).toMatchObject([{ name: 'master@1', health: 'warn', remedy: 'kvx destroy --due' }])
  })

  test('warns of a published place that holds something else', () => {
    const workspace = copy()
    writeFileSync(workspace.published, 'PORT=8080\n')
    const { exit, wrong } = findings(workspace)
    expect(exit).toBe(0)
    expect(wrong).toMatchObject([{ health: 'warn', remedy: 'kvx key publish master' }])
    expect(wrong[0]?.name).toContain(workspace.published)
  })

  test('warns of a run that is not finished', () => {
    const workspace = copy()
    workspace.ok('rotate', 'master', '--stage', '--yes', '--without-backup', '--reason', 'a test')
    const { exit, wrong } = findings(workspace)
    expect(exit).toBe(0)
    expect(wrong).toMatchObject([{ health: 'warn', name: expect.stringMatching(/^run /) as string }])
    expect(wrong[0]?.remedy).toMatch(/^kvx run resume /)
  })

  test('stops at a log in which an entry was changed', () => {
    const workspace = copy()
    const text = readFileSync(logFile(workspace), 'utf8')
    writeFileSync(logFile(workspace), text.replace('"home.init"', '"home.iniT"'))
    const { exit, wrong } = findings(workspace)
    expect(exit).toBe(3)
    expect(wrong).toMatchObject([{ name: 'audit log', health: 'stop', remedy: 'kvx audit verify' }])
    expect(workspace.json('audit', 'verify').exit).toBe(5)
  })

  test('still tells everything else where the end of the log was changed', () => {
    const workspace = copy()
    const lines = readFileSync(logFile(workspace), 'utf8').trimEnd().split('\n')
    const last = (lines.pop() ?? '').replace('"exit":0', '"exit":1')
    writeFileSync(logFile(workspace), `${[...lines, last].join('\n')}\n`)
    rmSync(keyFile(workspace))
    const { exit, wrong } = findings(workspace)
    expect(exit).toBe(3)
    expect(wrong.map(({ name, health }) => [name, health])).toEqual([
      ['master@1', 'stop'],
      ['audit log', 'stop'],
      ['clock', 'stop'],
    ])
  })

  test('stops at a clock that is behind the log', async () => {
    const workspace = copy()
    const directory = join(workspace.home, 'audit')
    const { signer } = await loadAuditKey(directory)
    const audit = openAudit(directory, { signer, now: () => '2999-01-01T00:00:00Z' })
    await audit.append({ action: 'audit.test', phase: 'note', data: {} })
    const { exit, wrong } = findings(workspace)
    expect(exit).toBe(3)
    expect(wrong).toMatchObject([{ name: 'clock', health: 'stop' }])
    expect(wrong[0]?.message).toContain('2999-01-01')
  })

  test.for([
    ['setfacl', 'stop', 3, 'apt-get install acl'],
    ['gpg', 'warn', 0, 'apt-get install gpg'],
  ] as const)('names a missing %s', ([tool, health, exit, remedy], context) => {
    needsRoot(context)
    const hidden = `mount --bind /dev/null /usr/bin/${tool} && exec "$@"`
    const result = spawnSync('unshare', ['-m', 'sh', '-c', hidden, 'sh', kvxBin, 'doctor', '--json'], {
      cwd: healthy.path,
      env: { PATH: process.env['PATH'] ?? '', ...healthy.env },
      encoding: 'utf8',
    })
    const { data } = JSON.parse(result.stdout) as { data: { examinations: Examination[] } }
    const found = data.examinations.find(({ name }) => name === `tool ${tool}`)
    expect(found).toMatchObject({ health, message: 'is missing', remedy })
    expect(result.status).toBe(exit)
  })

  test('ends in 5 and names both ways where the keyring cannot be read', () => {
    const workspace = copy()
    appendFileSync(join(workspace.home, 'keyring.json'), '}')
    const { exit, error } = workspace.json('doctor')
    expect([exit, error?.code]).toEqual([5, 'KEYRING_DAMAGED'])
    expect(error?.hint).toContain('kvx doctor --rebuild-keyring')
  })
})
