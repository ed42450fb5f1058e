import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { plainTwoLevels } from '../support/application.ts'
import { GpgHome } from '../support/gpg.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

const gpg = new GpgHome()
const recipient = gpg.makeKey('operator@example.org')
const leaving = gpg.makeKey('leaving@example.org', { expire: '10d' })
const untested = ['--without-backup', '--reason', 'a test system'] as const
const open: { close(): void }[] = [{ close: () => gpg.remove() }]
afterAll(() => open.forEach((one) => one.close()))

type Status = {
  keys: {
    name: string
    purpose: string
    seals: number | null
    ageDays: number | null
    sealUntil: string | null
    backedUp: boolean
  }[]
  runs: { id: string }[]
  due: { code: string; subject: string; message: string; command: string }[]
}

/** One key that seals, without a backup. */
let begun: Workspace
/** The same with a tested backup: nothing is due. */
let healthy: Workspace

beforeAll(() => {
  begun = makeWorkspace({ shape: plainTwoLevels, rows: 6, gpg, recipients: [recipient] }).begin()
  open.push(begun)
  healthy = copyOf(begun)
  healthy.ok('backup', 'create', 'master')
})

function copyOf(workspace: Workspace): Workspace {
  const copy = workspace.copy()
  open.push(copy)
  return copy
}

/** The codes and commands of what is due; `--due` agrees by its exit code. */
function due(workspace: Workspace): readonly (readonly [code: string, command: string])[] {
  const { data, exit } = workspace.json<Status>('status', '--due')
  expect(exit).toBe(data.due.length === 0 ? 0 : 3)
  expect(workspace.json('status').exit).toBe(0)
  return data.due.map(({ code, command }) => [code, command])
}

function withMember(workspace: Workspace, member: string): void {
  workspace.writeConfig(workspace.configuration().replace('purpose: kek', `purpose: kek\n    ${member}`))
}

describe('kvx status', () => {
  test('ends in 0 with --due when nothing is due, and says so', () => {
    expect(due(healthy)).toEqual([])
    const { stdout } = healthy.run('status')
    expect(stdout).toMatch(/^master {2}kek {2}@1 seals {2}0 days .*backed up\nnothing is due\n$/)
  })

  test('has the fields of kvx.status/1', () => {
    withMember(healthy, 'cryptoperiod: { seal: 365d }')
    const { schema, data } = healthy.ok<Status>('status')
    healthy.writeConfig()
    expect(schema).toBe('kvx.status/1')
    const sealUntil = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) as string
    expect(data).toEqual({
      keys: [
        {
          name: 'master',
          purpose: 'kek',
          seals: 1,
          ageDays: 0,
          sealUntil,
          backedUp: true,
          lastDrill: null,
          drillDue: sealUntil, // a year after the first backup that counts
          backups: 1,
          limits: [{ version: 1, sealUntil, openUntil: null, values: null, maxValues: 2 ** 32 }],
        },
      ],
      runs: [],
      due: [],
    })
  })

  test('opens no record and writes nothing', () => {
    const before = begun.treeHash()
    begun.ok('status')
    begun.json('status', '--due')
    expect(begun.treeHash()).toBe(before)
  })

  test('tells an empty home how to begin', () => {
    const workspace = makeWorkspace({ shape: plainTwoLevels, rows: 0 })
    open.push(workspace)
    workspace.ok('init')
    expect(workspace.run('status', '--due')).toMatchObject({
      exit: 0,
      stdout: expect.stringContaining('kvx key import') as string,
    })
  })
})

describe('what is due', () => {
  test('is a backup that was not tested yet, until there is one', () => {
    const workspace = copyOf(begun)
    expect(due(workspace)).toEqual([['NO_TESTED_BACKUP', 'kvx backup create master@1']])
    expect(workspace.ok<Status>('status').data.keys[0]?.backedUp).toBe(false)
    workspace.ok('backup', 'create', 'master@1')
    expect(due(workspace)).toEqual([])
  })

  test('is a recorded reason to go without a backup, shown until it is mended', () => {
    const workspace = copyOf(begun)
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    expect(due(workspace)).toEqual([['WITHOUT_BACKUP', 'kvx backup create master@2']])
    const { stdout } = workspace.run('status')
    expect(stdout).toContain('NOT BACKED UP')
    expect(stdout).toContain('a test system')
    workspace.ok('backup', 'create', 'master@2')
    expect(due(workspace)).toEqual([])
  })

  test('is a cryptoperiod that is over, for sealing and for opening', async () => {
    const workspace = copyOf(healthy)
    withMember(workspace, 'cryptoperiod: { seal: 1s, open: 1h }')
    await sleep(2000)
    expect(due(workspace)).toEqual([['CRYPTOPERIOD_SEAL', 'kvx rotate master']])
    withMember(workspace, 'cryptoperiod: { open: 1s }')
    expect(due(workspace)).toEqual([['CRYPTOPERIOD_OPEN', 'kvx verify']])
  })

  test('stays due when the version was suspended in between: its age goes on', () => {
    const workspace = copyOf(healthy)
    workspace.ok('key', 'suspend', 'master@1', '--reason', 'x', '--yes')
    workspace.ok('key', 'resume', 'master@1', '--reason', 'x', '--yes')
    const activated = workspace.keyring().keys['master']?.versions['1'] as unknown as {
      history: { at: string; to: string }[]
    }
    const [first] = activated.history.filter(({ to }) => to === 'active')
    withMember(workspace, 'cryptoperiod: { seal: 1h }')
    const until = Date.parse(workspace.ok<Status>('status').data.keys[0]?.sealUntil ?? '')
    expect(until).toBe(Date.parse(first?.at ?? '') + 3_600_000)
  })

  test('is a published place that holds something else', () => {
    const workspace = copyOf(healthy)
    writeFileSync(
      workspace.published,
      readFileSync(workspace.published, 'utf8').replace(/^APP_KEK=.*$/m, 'APP_KEK='),
    )
    expect(due(workspace)).toEqual([['PUBLICATION_DIFFERS', 'kvx key publish master']])
    workspace.ok('key', 'publish', 'master', '--yes')
    expect(due(workspace)).toEqual([])
  })

  test('is a run that is open, then the version that it leaves in the second slot, then its end', async () => {
    const workspace = copyOf(healthy)
    workspace.ok('rotate', 'master', '--stage', '--yes')
    const staged = workspace.ok<Status>('status').data
    const [run] = staged.runs
    expect(due(workspace)).toEqual([['RUN_OPEN', `kvx run resume ${run?.id ?? ''}`]])
    workspace.ok('rotate', 'master', '--activate', '--rolled-out', '--yes')
    workspace.ok('rewrap', '--yes')
    expect(due(workspace)).toEqual([['NOT_RETIRED', 'kvx retire master@1']])
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    expect(due(workspace)).toEqual([])
    workspace.ok('destroy', 'master@1', '--after', '1s', '--confirm', 'master@1')
    await sleep(1100)
    expect(due(workspace)).toEqual([['DESTRUCTION_DUE', 'kvx destroy --due']])
  })

  test('is a recipient whose key expires soon', () => {
    const workspace = copyOf(begun)
    workspace.ok('backup', 'create', 'master', '--recipient', leaving)
    const [item, ...others] = workspace.ok<Status>('status').data.due
    expect(others).toEqual([])
    expect(item).toMatchObject({ code: 'RECIPIENT_EXPIRES', command: 'kvx backup create master' })
    expect(item?.message).toContain('leaving@example.org')
    expect(workspace.json('status', '--due').exit).toBe(3)
  })

  test('is a compromised version until it is retired', () => {
    const workspace = copyOf(healthy)
    workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes')
    workspace.ok('key', 'compromise', 'master@1', '--reason', 'a laptop was lost', '--yes')
    expect(due(workspace)).toEqual([
      ['COMPROMISED', 'kvx retire master@1'],
      ['NOT_RETIRED', 'kvx retire master@1'],
    ])
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    expect(due(workspace)).toEqual([])
  })
})
