import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { plainTwoLevels } from '../support/application.ts'
import { withPolicy } from '../support/approvers.ts'
import { GpgHome } from '../support/gpg.ts'
import { needsTool } from '../support/needs.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

const gpg = new GpgHome()
const recipient = gpg.makeKey('operator@example.org')
const open: { close(): void }[] = [{ close: () => gpg.remove() }]
afterAll(() => open.forEach((one) => one.close()))

type Status = {
  keys: {
    backups: number
    limits: { version: number; sealUntil: string; openUntil: string; values: number; maxValues: number }[]
  }[]
  due: { code: string; message: string; command: string }[]
}
type Findings = { findings: { rule: string; message: string; remedy: string }[] }

/** One backed-up key that seals, verified. */
let begun: Workspace

beforeAll(() => {
  begun = makeWorkspace({ shape: plainTwoLevels, rows: 6, gpg, recipients: [recipient] }).begin()
  open.push(begun)
  begun.ok('backup', 'create', 'master')
  begun.ok('verify')
})

function copyOf(workspace: Workspace): Workspace {
  const copy = workspace.copy()
  open.push(copy)
  return copy
}

function withMember(workspace: Workspace, member: string): void {
  workspace.writeConfig(workspace.configuration().replace('purpose: kek', `purpose: kek\n    ${member}`))
}

/** Codes of what is due; `status --due` and `check` agree by their exit codes. */
function due(workspace: Workspace): readonly (readonly [code: string, command: string])[] {
  const { data, exit } = workspace.json<Status>('status', '--due')
  expect(exit).toBe(data.due.length === 0 ? 0 : 3)
  const checked = workspace.json<Findings>('check', 'kvx.yaml', '--only', 'config')
  expect(checked.exit).toBe(exit)
  expect(checked.data.findings.map(({ message }) => message)).toEqual(data.due.map(({ message }) => message))
  return data.due.map(({ code, command }) => [code, command])
}

describe('a policy', () => {
  test('asks for as many proven backups as it says', () => {
    const workspace = copyOf(begun)
    withPolicy(workspace, ['backups: 2'])
    expect(due(workspace)).toEqual([['BACKUPS_FEWER', 'kvx backup create master@1']])
    workspace.ok('backup', 'create', 'master')
    expect(due(workspace)).toEqual([])
    expect(workspace.ok<Status>('status').data.keys[0]?.backups).toBe(2)
  })

  test('asks for a drill as often as it says', async () => {
    const workspace = copyOf(begun)
    withPolicy(workspace, ['drill: 365d'])
    expect(due(workspace)).toEqual([])
    withPolicy(workspace, ['drill: 1s'])
    await sleep(1100) // the interval itself is what is tested
    expect(due(workspace)).toEqual([['DRILL_DUE', 'kvx backup drill master@1']])
  })

  test('gives a version two dates, and a number of values', async () => {
    const workspace = copyOf(begun)
    withMember(workspace, 'cryptoperiod: { seal: 365d, open: 3y }')
    const [limits] = workspace.ok<Status>('status').data.keys[0]?.limits ?? []
    expect(limits).toMatchObject({ version: 1, values: 6, maxValues: 4_294_967_296 })
    expect(Date.parse(limits?.openUntil ?? '') - Date.parse(limits?.sealUntil ?? '')).toBe(
      2 * 365 * 86_400_000,
    )
    expect(due(workspace)).toEqual([])
    withMember(workspace, 'cryptoperiod: { values: 6 }')
    expect(due(workspace)).toEqual([['VALUES_LIMIT', 'kvx rotate master']])
    withMember(workspace, 'cryptoperiod: { seal: 1s, open: 1s }')
    await sleep(1100) // the period itself is what is tested
    expect(due(workspace).map(([code]) => code)).toEqual(['CRYPTOPERIOD_SEAL', 'CRYPTOPERIOD_OPEN'])
  })

  test('that cannot be kept is found in the file alone', () => {
    const workspace = makeWorkspace({ shape: plainTwoLevels, rows: 0 })
    open.push(workspace)
    withPolicy(workspace, [
      'backups: 1',
      'approvals:',
      '  required: 1',
      '  for: [destroy]',
      `  approvers: [{ name: A. Boole, openpgp: ${recipient}, until: "2020-01-01" }]`,
    ])
    const { exit, data } = workspace.json<Findings>('check', 'kvx.yaml', '--only', 'config')
    expect(exit).toBe(3)
    expect(data.findings).toMatchObject([
      {
        rule: 'POLICY_UNKEPT',
        message: expect.stringMatching(/kvx\.yaml:\d+:\d+: .*keys\.master names nobody/) as string,
      },
      { rule: 'POLICY_UNKEPT', message: expect.stringMatching(/only 0 of its approvers/) as string },
    ])
  })

  test.each([
    [
      'more approvals than approvers',
      ['approvals:', '  required: 2', '  for: [retire]', `  approvers: [{ name: A, openpgp: ${recipient} }]`],
      /more approvals are required/,
    ],
    [
      'one key twice',
      [
        'approvals:',
        '  required: 1',
        '  for: [retire]',
        `  approvers: [{ name: A, openpgp: ${recipient} }, { name: B, openpgp: ${recipient.toLowerCase()} }]`,
      ],
      /the same key/,
    ],
    [
      'a command that has no plan',
      ['approvals:', '  required: 1', '  for: [verify]', `  approvers: [{ name: A, openpgp: ${recipient} }]`],
      /kvx\.yaml:\d+/,
    ],
    [
      'an SSH key that is too weak or none',
      [
        'approvals:',
        '  required: 1',
        '  for: [retire]',
        '  approvers: [{ name: A, ssh: "ssh-ed25519 AAAA" }]',
      ],
      /SSH key/i,
    ],
  ])('is refused with %s', (_, lines, about) => {
    const workspace = copyOf(begun)
    withPolicy(workspace, lines)
    const { exit, error } = workspace.json('status')
    expect([exit, error?.code]).toEqual([2, 'CONFIG_INVALID'])
    expect(error?.message).toMatch(about)
  })

  test('a version never opens for a shorter time than it seals', () => {
    const workspace = copyOf(begun)
    withMember(workspace, 'cryptoperiod: { seal: 2y, open: 1y }')
    expect(workspace.json('status').error?.message).toMatch(/would seal what it may not open/)
  })
})

describe('an audit sink', () => {
  /** A workspace whose sink is this shell script; it appends to `taken`. */
  function withSink(script: string): Workspace {
    const workspace = copyOf(begun)
    const program = workspace.file('sink.sh')
    writeFileSync(program, `#!/bin/sh\n${script}\n`)
    chmodSync(program, 0o755)
    workspace.writeConfig(
      `${workspace.configuration()}audit:\n  sink: { command: [${program}, ${workspace.file('taken')}] }\n`,
    )
    return workspace
  }

  function log(workspace: Workspace): string {
    return readFileSync(workspace.file('.kvx/audit/log.jsonl'), 'utf8')
  }

  const change = (workspace: Workspace, what: string) =>
    workspace.ok('key', what, 'master@1', '--reason', 'x', '--yes')

  test('gets every entry once, in order, from the first', () => {
    const workspace = withSink('cat >> "$1"')
    change(workspace, 'suspend')
    expect(readFileSync(workspace.file('taken'), 'utf8')).toBe(log(workspace))
    change(workspace, 'resume')
    expect(readFileSync(workspace.file('taken'), 'utf8')).toBe(log(workspace))
    expect(due(workspace)).toEqual([])
  })

  test('that fails or hangs holds up no work, is told, and gets everything later', () => {
    const workspace = withSink(
      'test -e "$1.down" && exit 3; test -e "$1.hangs" && exec sleep 600; cat >> "$1"',
    )
    change(workspace, 'suspend')
    writeFileSync(workspace.file('taken.down'), '')
    const { warnings, exit } = change(workspace, 'resume')
    expect([exit, warnings.map(({ code }) => code)]).toEqual([0, ['AUDIT_SINK_BEHIND']])
    expect(workspace.json<Status>('status', '--due').data.due.map(({ code }) => code)).toEqual([
      'AUDIT_SINK_BEHIND',
    ])
    rmSync(workspace.file('taken.down'))
    writeFileSync(workspace.file('taken.hangs'), '')
    expect(change(workspace, 'suspend').warnings[0]?.message).toMatch(/did not end within/)
    rmSync(workspace.file('taken.hangs'))
    change(workspace, 'resume')
    expect(readFileSync(workspace.file('taken'), 'utf8')).toBe(log(workspace))
  })

  test('takes them into the log of the system', async (context) => {
    needsTool(context, 'logger')
    needsTool(context, 'python3')
    if (existsSync('/dev/log') || process.geteuid?.() !== 0) context.skip('the machine has a log of its own')
    const workspace = copyOf(begun)
    workspace.writeConfig(`${workspace.configuration()}audit:\n  sink: { syslog: authpriv }\n`)
    // Without a log there is nobody to take them.
    expect(change(workspace, 'suspend').warnings[0]?.code).toBe('AUDIT_SINK_BEHIND')
    const server = spawn('python3', ['-u', '-c', listener, workspace.file('messages')])
    try {
      await once(server.stdout, 'data')
      change(workspace, 'resume')
      const messages = readFileSync(workspace.file('messages'), 'utf8')
      const seen = [...messages.matchAll(/<(\d+)>.* kvx(?:\[\d+\])?: (\{.*\})$/gm)]
      expect(seen.map(([, , entry]) => entry).join('\n')).toBe(log(workspace).trimEnd())
      expect(new Set(seen.map(([, priority]) => priority))).toEqual(new Set(['85'])) // authpriv.notice
    } finally {
      server.kill()
      rmSync('/dev/log', { force: true })
    }
  })
})

/** What stands behind /dev/log: datagrams, one line each. */
const listener = `
import socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind("/dev/log")
with open(sys.argv[1], "ab", buffering=0) as out:
    print("ready")
    while True:
        out.write(server.recv(65536).rstrip(b"\\0\\n") + b"\\n")
`
