import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { plainTwoLevels } from '../support/application.ts'
import { GpgHome } from '../support/gpg.ts'
import { again, atEachKill, closeKilled, closing, killedSoFar } from '../support/kill-each.ts'
import { needsTool } from '../support/needs.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

/** Changes of a key's state, the copy of the home, and the adoption of a side log, killed in their middle. */

const gpg = new GpgHome()
const recipient = gpg.makeKey('operator@example.org')
const timeout = 240_000
closing({ close: () => gpg.remove() })
afterAll(closeKilled)

/** master@2 seals everything; master@1 is retired; both have tested backups. */
let base: Workspace

beforeAll(() => {
  base = closing(makeWorkspace({ shape: plainTwoLevels, rows: 6, gpg, recipients: [recipient] }))
  base.begin()
  base.ok('backup', 'create', 'master')
  base.ok('rotate', 'master', '--offline', '--then', 'data', '--yes')
  base.ok('retire', 'master@1', '--confirm', 'master@1')
})

function stateOf(workspace: Workspace, version: number): string | undefined {
  return workspace.keyring().keys['master']?.versions[String(version)]?.state
}

/** The state that the command leads to, or the one before: nothing between. */
function expectStates(workspace: Workspace, states: readonly string[], at: string): void {
  expect(states, at).toContain(stateOf(workspace, 2))
  const history = workspace.keyring().keys['master']?.versions['2']?.history ?? []
  expect(history.at(-1)?.to, at).toBe(stateOf(workspace, 2))
}

describe('after SIGKILL in its middle', () => {
  test('key resume is done or is not', { timeout }, (context) => {
    needsTool(context, 'strace')
    const suspended = closing(base.copy())
    suspended.ok('key', 'suspend', 'master@2', '--reason', 'an incident', '--yes')
    const command = ['key', 'resume', 'master@2', '--reason', 'over', '--yes']
    atEachKill({
      from: suspended,
      command,
      always: (workspace, at) => expectStates(workspace, ['suspended', 'active'], at),
      mend: (workspace, at) => {
        again(workspace, command, at, 'STATE_TRANSITION')
        expect(stateOf(workspace, 2), at).toBe('active')
        expect(workspace.json('verify').exit, at).toBe(0)
      },
    })
  })

  test('key compromise is done or is not, and the values can move away', { timeout }, (context) => {
    needsTool(context, 'strace')
    const command = ['key', 'compromise', 'master@2', '--reason', 'a stolen laptop', '--yes']
    atEachKill({
      from: base,
      command,
      always: (workspace, at) => expectStates(workspace, ['active', 'compromised'], at),
      mend: (workspace, at) => {
        again(workspace, command, at, 'STATE_TRANSITION')
        expect(stateOf(workspace, 2), at).toBe('compromised')
        workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes')
        expect(workspace.keyring().keys['master']?.seals, at).toBe(3)
      },
    })
  })

  test('key unretire takes the mark back or leaves it', { timeout }, (context) => {
    needsTool(context, 'strace')
    const command = ['key', 'unretire', 'master@1', '--yes']
    atEachKill({
      from: base,
      command,
      mend: (workspace, at) => {
        again(workspace, command, at, 'STATE_TRANSITION')
        expect(workspace.keyring().keys['master']?.versions['1']?.retired, at).toBeNull()
        workspace.ok('retire', 'master@1', '--confirm', 'master@1')
      },
    })
  })

  test('backup home leaves the earlier copy or the new one, and either brings the home back', {
    timeout,
  }, (context) => {
    needsTool(context, 'strace')
    const copied = closing(base.copy())
    const { auditKeyFingerprint } = copied.ok<{ auditKeyFingerprint: string }>(
      ...['backup', 'home', '--out', 'copy.json'],
    ).data
    copied.ok('backup', 'create', 'master@2')
    const command = ['backup', 'home', '--out', 'copy.json']
    atEachKill({
      from: copied,
      command,
      always: (workspace) => {
        const lost = closing(workspace.copy())
        rmSync(lost.home, { recursive: true })
        lost.ok(
          ...['restore', '--from', 'home', 'copy.json', '--yes'],
          ...['--expect-fingerprint', auditKeyFingerprint],
        )
        lost.close()
      },
      mend: (workspace, at) => {
        again(workspace, command, at)
        const copy = JSON.parse(readFileSync(workspace.file('copy.json'), 'utf8')) as { backups: object }
        const held = readdirSync(join(workspace.home, 'backups')).filter((name) => name.endsWith('.asc'))
        expect(Object.keys(copy.backups), at).toEqual(expect.arrayContaining(held))
      },
    })
  })

  test('audit adopt takes the side log in, and keeps the file', { timeout }, (context) => {
    needsTool(context, 'strace')
    const aside = closing(base.copy())
    const keyFile = '.kvx/keys/master.v2.key'
    const [backup = ''] = readdirSync(join(aside.home, 'backups')).filter((name) =>
      /^master\.v2\..*\.asc$/.test(name),
    )
    rmSync(aside.file(keyFile))
    aside.ok(
      ...['restore', '--from', 'gpg', `.kvx/backups/${backup}`, '--confirm', 'master@2'],
      ...['--audit-to', 'side.jsonl'],
    )
    const entries = readFileSync(aside.file('side.jsonl'))
    const command = ['audit', 'adopt', 'side.jsonl']
    atEachKill({
      from: aside,
      command,
      always: (workspace) => expect(existsSync(workspace.file('side.jsonl'))).toBe(true),
      mend: (workspace, at) => {
        const { kept } = workspace.ok<{ kept: string }>(...command).data
        expect(readFileSync(kept), at).toEqual(entries)
        expect(workspace.run('audit', 'show').stdout, at).toContain('audit.adopt')
      },
    })
  })

  test('was seen at 25 points or more', (context) => {
    needsTool(context, 'strace')
    expect(killedSoFar()).toBeGreaterThanOrEqual(25)
  })
})
