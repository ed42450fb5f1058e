import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { plainTwoLevels } from '../support/application.ts'
import { signWithGpg, SshKeys, withPolicy } from '../support/approvers.ts'
import { GpgHome } from '../support/gpg.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

const gpg = new GpgHome()
const ssh = new SshKeys()
const untested = ['--without-backup', '--reason', 'a test system'] as const
const open: { close(): void }[] = [{ close: () => gpg.remove() }, { close: () => ssh.remove() }]
afterAll(() => open.forEach((one) => one.close()))

const boole = gpg.makeKey('boole@example.org')
const fermi = gpg.makeKey('fermi@example.org')
const stranger = gpg.makeKey('stranger@example.org')
const dirac = ssh.make('dirac')

const approvers = [
  `- { name: A. Boole, openpgp: ${boole} }`,
  `- { name: C. Dirac, ssh: "${ssh.publicLine(dirac)}" }`,
  `- { name: E. Fermi, openpgp: ${fermi} }`,
]

function policy(commands: string, required = 2, people = approvers): readonly string[] {
  return [
    'approvals:',
    `  required: ${required}`,
    `  for: [${commands}]`,
    '  approvers:',
    ...people.map((line) => `    ${line}`),
  ]
}

type Made = { file: string; digest: string; required: number; done: boolean }
type Applied = { digest: string; approvals: { counted: { approver: string }[] }; result: { run?: string } }

/** Version 2 seals, every value is still under version 1: a rewrap is what is next. */
let rotated: Workspace

beforeAll(() => {
  const workspace = makeWorkspace({ shape: plainTwoLevels, rows: 12, gpg }).begin()
  open.push(workspace)
  workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
  withPolicy(workspace, policy('rewrap'))
  rotated = workspace
})

function copyOf(workspace: Workspace): Workspace {
  const copy = workspace.copy()
  open.push(copy)
  return copy
}

/** A copy with a plan of its rewrap, signed by nobody yet. */
function planned(...flags: string[]): { workspace: Workspace; plan: string } {
  const workspace = copyOf(rotated)
  workspace.ok<Made>('plan', 'rewrap', 'app.secrets', '--out', 'plan.json', ...flags)
  return { workspace, plan: workspace.file('plan.json') }
}

function signedByTwo(...flags: string[]): { workspace: Workspace; plan: string } {
  const made = planned(...flags)
  signWithGpg(gpg, boole, made.plan, 'boole')
  writeFileSync(`${made.plan}.dirac.sig`, ssh.sign(dirac, readFileSync(made.plan)))
  return made
}

/** It ends in 7 with this code, and every byte stays as it was. */
function refuses(workspace: Workspace, code: string, about: RegExp): void {
  const before = workspace.treeHash()
  const { exit, error } = workspace.json('apply', 'plan.json', '--yes')
  expect([exit, error?.code], error?.message).toEqual([7, code])
  expect(`${error?.message} ${error?.hint}`).toMatch(about)
  expect(workspace.treeHash()).toBe(before)
}

describe('a command that the policy binds to approvals', () => {
  test('ends in 7, names kvx plan, and changes nothing', () => {
    const workspace = copyOf(rotated)
    const before = workspace.treeHash()
    const { exit, error } = workspace.json('rewrap', '--yes')
    expect([exit, error?.code]).toEqual([7, 'APPROVAL_MISSING'])
    expect(error?.hint).toContain('`kvx plan rewrap app.secrets --out plan.json`')
    expect(workspace.treeHash()).toBe(before)
    expect(workspace.json('rewrap', '--dry-run').exit).toBe(0)
  })

  test.each([
    ['rotate', ['rotate', 'master', '--stage', '--yes', ...untested], 'plan rotate master'],
    ['retire', ['retire', 'master@1', '--confirm', 'master@1'], 'plan retire master@1'],
    ['destroy', ['destroy', 'master@1', '--confirm', 'master@1'], 'plan destroy master@1'],
    // A rotation with its data moves them: whoever binds a rewrap binds that too.
    ['rewrap', ['rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested], 'plan rotate'],
  ])('the policy for %s stops %j', (bound, args, hint) => {
    const workspace = copyOf(rotated)
    withPolicy(workspace, policy(bound))
    const before = workspace.treeHash()
    const { exit, error } = workspace.json(...args)
    expect([exit, error?.code], error?.message).toEqual([7, 'APPROVAL_MISSING'])
    expect(error?.hint).toContain(hint)
    expect(workspace.treeHash()).toBe(before)
  })

  test('one that it does not name goes on as before', () => {
    const workspace = copyOf(rotated)
    withPolicy(workspace, policy('destroy'))
    workspace.ok('rewrap', '--yes')
    expect(workspace.read(workspace.publishedKey()).failed).toBe(0)
  })
})

describe('a plan', () => {
  test('is canonical JSON whose digest is that of its bytes, with counts and no secrets', () => {
    const { workspace, plan } = planned()
    const bytes = readFileSync(plan)
    const { data } = workspace.ok<{ digest: string; plan: { facts: { envelopes: object[] } } }>(
      'plan',
      'show',
      'plan.json',
    )
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(data.digest)
    expect(data.plan.facts.envelopes[0]).toMatchObject({ envelope: 'app.secrets', byVersion: { 1: 12 } })
    for (const key of [workspace.firstKey.bytes, workspace.publishedKey()]) {
      for (const form of ['hex', 'base64', 'base64url'] as const)
        expect(bytes.toString()).not.toContain(key?.toString(form))
    }
  })

  test('can be read where there is no home and no configuration', () => {
    const { workspace, plan } = planned()
    rmSync(workspace.file('kvx.yaml'))
    const { data } = workspace.ok<{ approvals: null }>('plan', 'show', plan)
    expect(data.approvals).toBe(null)
  })

  test('is not written for nothing, nor over another file', () => {
    const workspace = copyOf(rotated)
    expect(workspace.json('plan', 'rewrap').error?.code).toBe('USAGE')
    workspace.ok('plan', 'rewrap', '--out', 'plan.json')
    expect(workspace.json('plan', 'rewrap', '--out', 'plan.json').error?.code).toBe('TARGET_EXISTS')
  })
})

describe('kvx apply', () => {
  test('two of three approvers sign a rewrap, by OpenPGP and SSH through kvx, and it is done once', () => {
    const { workspace, plan } = planned()
    workspace.ok('plan', 'approve', plan, '--openpgp', boole, '--yes')
    workspace.ok('plan', 'approve', plan, '--ssh-key', dirac, '--yes')
    expect(workspace.run('plan', 'show', 'plan.json').stdout).toMatch(
      /approvals {2}2 of 2\n {2}A\. Boole {2}openpgp .*\n {2}C\. Dirac {2}ssh SHA256:/,
    )
    const { data } = workspace.ok<Applied>('apply', 'plan.json', '--yes')
    expect(data.approvals.counted.map(({ approver }) => approver).sort()).toEqual(['A. Boole', 'C. Dirac'])
    expect(workspace.read(workspace.publishedKey('current'))).toMatchObject({ opened: 12, failed: 0 })
    expect(workspace.read(workspace.firstKey.bytes).opened).toBe(0)
    // The home keeps what was approved and by whom; the log names them.
    const kept = workspace.file('.kvx', 'plans', data.digest.slice(0, 16))
    expect(readFileSync(`${kept}/plan.json`)).toEqual(readFileSync(plan))
    expect([existsSync(`${kept}/plan.json.1.asc`), existsSync(`${kept}/plan.json.2.sig`)]).toEqual([
      true,
      true,
    ])
    const log = workspace.run('audit', 'show', '--action', 'plan', '--json').stdout
    expect(log).toContain(data.digest)
    expect(log).toContain('A. Boole')
    // Even after everything is as it was before, it is not done again.
    workspace.ok('run', 'rollback', data.result.run ?? '', '--yes')
    workspace.ok('audit', 'verify')
    refuses(workspace, 'PLAN_APPLIED', /new one/)
  })

  test('takes signatures that were made with gpg and ssh-keygen alone', () => {
    const { workspace } = signedByTwo()
    const { data } = workspace.ok<Applied>('apply', 'plan.json', '--yes')
    expect(data.result.run).toBeTypeOf('string')
  })

  test('a dry run says that it could be applied, and does nothing', () => {
    const { workspace } = signedByTwo()
    const before = workspace.treeHash()
    expect(workspace.json('apply', 'plan.json', '--dry-run').exit).toBe(0)
    expect(workspace.treeHash()).toBe(before)
  })

  test('refuses one approval of two, and tells who has signed', () => {
    const { workspace, plan } = planned()
    signWithGpg(gpg, boole, plan, 'boole')
    refuses(workspace, 'APPROVAL_MISSING', /1 of 2 approvals \(A\. Boole\)/)
  })

  test('refuses a plan that was changed after it was signed', () => {
    const { workspace, plan } = signedByTwo()
    const text = readFileSync(plan, 'utf8')
    writeFileSync(plan, text.replace('"tolerance":0', '"tolerance":9'))
    refuses(workspace, 'APPROVAL_MISSING', /0 of 2 approvals.*not a valid signature of this file/s)
    writeFileSync(plan, `${text} `)
    refuses(workspace, 'PLAN_DIFFERS', /no plan, or was changed/)
    writeFileSync(plan, text.slice(0, -20))
    refuses(workspace, 'PLAN_DIFFERS', /no plan, or was changed/)
  })

  test('refuses when a record came or went since', () => {
    const { workspace } = signedByTwo()
    workspace.put(99, { version: 1, bytes: workspace.firstKey.bytes })
    refuses(workspace, 'PLAN_DIFFERS', /app\.secrets had 12 records and has 13/)
  })

  test('takes a count that differs by no more than the tolerance that was approved', () => {
    const { workspace } = signedByTwo('--tolerance', '1')
    workspace.put(99, { version: 1, bytes: workspace.firstKey.bytes })
    workspace.put(98, { version: 1, bytes: workspace.firstKey.bytes })
    refuses(workspace, 'PLAN_DIFFERS', /had 12 records and has 14/)
    workspace.sql((database) => database.exec('DELETE FROM secrets WHERE id = 98'))
    workspace.ok('apply', 'plan.json', '--yes')
  })

  test('refuses when kvx.yaml or a key changed since', () => {
    const { workspace } = signedByTwo()
    const config = readFileSync(workspace.file('kvx.yaml'), 'utf8')
    workspace.writeConfig(`${config}# a word\n`)
    refuses(workspace, 'PLAN_DIFFERS', /kvx\.yaml was changed since/)
    workspace.writeConfig(config)
    workspace.ok('key', 'compromise', 'master@1', '--reason', 'found in a log', '--yes')
    refuses(workspace, 'PLAN_DIFFERS', /master@1 was deactivated and is compromised/)
  })

  test('refuses a plan of another home', () => {
    const { workspace } = signedByTwo()
    const text = readFileSync(workspace.file('plan.json'), 'utf8')
    const other = text.replace(/"home":"[0-9a-f]{64}"/, `"home":"${'0'.repeat(64)}"`)
    writeFileSync(workspace.file('plan.json'), other)
    refuses(workspace, 'PLAN_DIFFERS', /another home/)
  })

  test('refuses a plan whose time is over', async () => {
    const { workspace } = signedByTwo('--expires', '1s')
    await sleep(1100) // the time itself is what is tested
    refuses(workspace, 'PLAN_EXPIRED', /expired at/)
  })
})

describe('a signature does not count', () => {
  type Shown = { approvals: { uncounted: { file: string; reason: string }[] } }

  function reasons(workspace: Workspace): readonly (readonly [file: string, reason: string])[] {
    const { data } = workspace.ok<Shown>('plan', 'show', 'plan.json')
    return data.approvals.uncounted.map(({ file, reason }) => [file, reason])
  }

  test('by a key of nobody whom the policy names, for another purpose, over another plan, or a second time', () => {
    const { workspace, plan } = planned()
    const bytes = readFileSync(plan)
    signWithGpg(gpg, boole, plan, '0')
    signWithGpg(gpg, boole, plan, '1')
    signWithGpg(gpg, stranger, plan, '2')
    writeFileSync(`${plan}.3.sig`, ssh.sign(ssh.make('nobody'), bytes))
    writeFileSync(`${plan}.4.sig`, ssh.sign(dirac, bytes, 'git'))
    writeFileSync(`${plan}.5.sig`, ssh.sign(dirac, Buffer.from('something else')))
    writeFileSync(`${plan}.6.sig`, 'I agree\n')
    expect(reasons(workspace)).toEqual([
      ['plan.json.1.asc', expect.stringMatching(/A\. Boole has signed already and counts once/)],
      ['plan.json.2.asc', expect.stringMatching(/a key of nobody/)],
      ['plan.json.3.sig', expect.stringMatching(/a key of nobody/)],
      ['plan.json.4.sig', expect.stringMatching(/another purpose/)],
      ['plan.json.5.sig', expect.stringMatching(/not a valid signature of this file/)],
      ['plan.json.6.sig', expect.stringMatching(/neither an OpenPGP nor an SSH signature/)],
    ])
    refuses(workspace, 'APPROVAL_MISSING', /1 of 2 approvals \(A\. Boole\); plan\.json\.1\.asc/)
  })

  test('by a key that is expired, or was revoked after it signed, or after the last day of its approver', () => {
    const keys = new GpgHome()
    open.push({ close: () => keys.remove() })
    const short = keys.makeKey('short@example.org', { at: '20240101T000000', expire: '30d' })
    const left = keys.makeKey('left@example.org')
    const workspace = copyOf(rotated)
    writeFileSync(workspace.file('left.asc'), keys.exportPublic(left))
    writeFileSync(workspace.file('short.asc'), keys.exportPublic(short))
    const people = [
      `- { name: Left, openpgp: ${left}, key-file: left.asc }`,
      `- { name: Short, openpgp: ${short}, key-file: short.asc }`,
      `- { name: C. Dirac, until: "2020-01-01", ssh: "${ssh.publicLine(dirac)}" }`,
    ]
    withPolicy(workspace, policy('rewrap', 2, people))
    workspace.ok('plan', 'rewrap', '--out', 'plan.json')
    const plan = workspace.file('plan.json')
    signWithGpg(keys, left, plan, '1')
    const then = ['--faked-system-time', '20240110T000000', '--local-user', short, '--armor', '--detach-sign']
    writeFileSync(`${plan}.2.asc`, keys.run(then, readFileSync(plan)))
    writeFileSync(`${plan}.3.sig`, ssh.sign(dirac, readFileSync(plan)))
    expect(reasons(workspace)).toHaveLength(2) // the first one still counts
    keys.revoke(left)
    writeFileSync(workspace.file('left.asc'), keys.exportPublic(left))
    expect(reasons(workspace)).toEqual([
      ['plan.json.1.asc', expect.stringMatching(/Left: the key does not count: it is revoked/)],
      ['plan.json.2.asc', expect.stringMatching(/Short: the key does not count: it expired/)],
      ['plan.json.3.sig', expect.stringMatching(/until 2020-01-01/)],
    ])
    refuses(workspace, 'APPROVAL_MISSING', /0 of 2/)
  })
})

describe('a plan of', () => {
  test('a rotation is approved as a whole: staged, activated, and its number used once', () => {
    const workspace = makeWorkspace({ shape: plainTwoLevels, rows: 6, gpg }).begin()
    open.push(workspace)
    withPolicy(workspace, policy('rotate', 1))
    workspace.ok('plan', 'rotate', 'master', '--stage', '--out', 'plan.json', ...untested)
    workspace.ok('plan', 'approve', 'plan.json', '--ssh-key', dirac, '--yes')
    workspace.ok('apply', 'plan.json', '--yes')
    expect(workspace.keyring().keys['master']?.staged).toBe(2)
    workspace.ok('rotate', 'master', '--activate', '--rolled-out', '--yes')
    expect(workspace.keyring().keys['master']?.seals).toBe(2)
    refuses(workspace, 'PLAN_APPLIED', /run .* is done/)
  })

  test('a retirement and a destruction are carried out, each once', () => {
    const workspace = copyOf(rotated)
    withPolicy(workspace, policy('retire, destroy', 1))
    workspace.ok('rewrap', '--yes')
    const approve = (): void => {
      workspace.ok('plan', 'approve', 'plan.json', '--ssh-key', dirac, '--yes')
    }
    workspace.ok('plan', 'retire', 'master@1', '--out', 'plan.json')
    approve()
    expect(workspace.json('apply', 'plan.json', '--yes').error?.code).toBe('NOT_CONFIRMED')
    workspace.ok('apply', 'plan.json', '--confirm', 'master@1')
    expect(workspace.keyring().keys['master']?.versions['1']?.retired).not.toBe(null)
    workspace.ok('key', 'unretire', 'master@1', '--yes')
    refuses(workspace, 'PLAN_APPLIED', /its work was done/)

    const next = copyOf(workspace)
    for (const name of ['plan.json', 'plan.json.sig']) rmSync(next.file(name), { force: true })
    withPolicy(next, policy('destroy', 1))
    next.ok('retire', 'master@1', '--confirm', 'master@1')
    const run = next.ok<{ runs: { id: string }[] }>('run', 'list').data.runs[0]?.id ?? ''
    next.ok('run', 'forget', run, '--confirm', run)
    next.ok('plan', 'destroy', 'master@1', '--after', '0s', '--out', 'end.json')
    next.ok('plan', 'approve', 'end.json', '--ssh-key', dirac, '--yes')
    next.ok('apply', 'end.json', '--confirm', 'master@1')
    // The schedule was approved: a timer carries it out.
    next.ok('destroy', '--due')
    expect(next.keyring().keys['master']?.versions['1']?.state).toBe('destroyed')
  })

  test('a destruction that was scheduled before the policy, or that accepts a loss, needs one of its own', () => {
    const workspace = copyOf(rotated)
    withPolicy(workspace, policy('retire', 1))
    workspace.writeConfig()
    workspace.ok('rewrap', '--yes')
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    const run = workspace.ok<{ runs: { id: string }[] }>('run', 'list').data.runs[0]?.id ?? ''
    workspace.ok('run', 'forget', run, '--confirm', run)
    workspace.ok('destroy', 'master@1', '--after', '0s', '--confirm', 'master@1')
    withPolicy(workspace, policy('destroy', 1))
    const { exit, error } = workspace.json('destroy', '--due')
    expect([exit, error?.code]).toEqual([7, 'APPROVAL_MISSING'])
    expect(error?.hint).toContain('kvx plan destroy master@1 --due')
    workspace.ok('plan', 'destroy', 'master@1', '--due', '--out', 'end.json')
    workspace.ok('plan', 'approve', 'end.json', '--ssh-key', dirac, '--yes')
    workspace.ok('apply', 'end.json', '--confirm', 'master@1')
    expect(workspace.keyring().keys['master']?.versions['1']?.state).toBe('destroyed')
  })
})
