import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { plainTwoLevels } from '../support/application.ts'
import { GpgHome } from '../support/gpg.ts'
import { again, atEachKill, closeKilled, closing, killedSoFar } from '../support/kill-each.ts'
import { needsTool } from '../support/needs.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

const rows = 6
const gpg = new GpgHome()
const recipient = gpg.makeKey('operator@example.org')
closing({ close: () => gpg.remove() })
afterAll(closeKilled)

/** A key in use, with one tested backup. */
let base: Workspace
let fingerprint: string

beforeAll(() => {
  base = closing(makeWorkspace({ shape: plainTwoLevels, rows, gpg, recipients: [recipient] }))
  base.begin()
  base.ok('backup', 'create', 'master')
  fingerprint = base.ok<{ auditKeyFingerprint: string }>('backup', 'home', '--out', 'copy.json').data
    .auditKeyFingerprint
})

function atEachPoint(
  from: Workspace,
  command: readonly string[],
  mend: (workspace: Workspace, at: string) => void,
): void {
  atEachKill({ from, command, mend })
}

function keyFile(workspace: Workspace): string {
  return join(workspace.home, 'keys/master.v1.key')
}

function onlyBackup(workspace: Workspace): string {
  const folder = join(workspace.home, 'backups')
  const [file = ''] = readdirSync(folder).filter((name) => name.endsWith('.asc'))
  return join(folder, file)
}

type Listed = { backups: { id: string; state: string; file: string }[] }

describe('after SIGKILL in its middle', () => {
  test('backup create makes another backup, and every earlier one still opens', (context) => {
    needsTool(context, 'strace')
    atEachPoint(base, ['backup', 'create', 'master'], (workspace, at) => {
      again(workspace, ['backup', 'create', 'master'], at)
      const { backups } = workspace.ok<Listed>('backup', 'list').data
      expect(backups.filter(({ state }) => state === 'tested').length, at).toBeGreaterThanOrEqual(2)
      for (const { file } of backups)
        expect(gpg.decrypt(readFileSync(file)).toString(), at).toContain('receipt:')
      expect(workspace.ok<{ due: object[] }>('status').data.due, at).toEqual([])
    })
  }, 120_000)

  test('backup confirm takes the same receipt again', (context) => {
    needsTool(context, 'strace')
    const [backup] = base.ok<Listed>('backup', 'list').data.backups
    const text = gpg.decrypt(readFileSync(onlyBackup(base))).toString()
    const receipt = /^receipt: *(\S+)/m.exec(text)?.[1] ?? ''
    const command = ['backup', 'confirm', backup?.id ?? '', '--receipt', receipt]
    atEachPoint(base, command, (workspace, at) => {
      again(workspace, command, at)
      expect(workspace.ok<Listed>('backup', 'list').data.backups[0]?.state, at).toBe('confirmed')
    })
  }, 120_000)

  test('restore --from gpg brings the key back, whole or not at all', (context) => {
    needsTool(context, 'strace')
    const without = closing(base.copy())
    rmSync(keyFile(without))
    // The name of the file in the home is the same in each copy.
    const command = ['restore', '--from', 'gpg', `.kvx/backups/${onlyBackup(base).split('/').at(-1) ?? ''}`]
    atEachPoint(without, [...command, '--confirm', 'master@1'], (workspace, at) => {
      if (existsSync(keyFile(workspace)))
        expect(readFileSync(keyFile(workspace)), at).toEqual(base.firstKey.bytes)
      again(workspace, [...command, '--confirm', 'master@1'], at)
      expect(readFileSync(keyFile(workspace)), at).toEqual(base.firstKey.bytes)
      expect(workspace.json('verify').exit, at).toBe(0)
    })
  }, 120_000)

  test('restore --from home makes the home, or says that it is there', (context) => {
    needsTool(context, 'strace')
    const burnt = closing(base.copy())
    rmSync(burnt.home, { recursive: true })
    rmSync(burnt.file('kvx.yaml'))
    const command = ['restore', '--from', 'home', 'copy.json', '--yes', '--expect-fingerprint', fingerprint]
    atEachPoint(burnt, command, (workspace, at) => {
      again(workspace, command, at, 'HOME_EXISTS')
      expect(readFileSync(workspace.file('kvx.yaml'), 'utf8'), at).toBe(workspace.configuration())
      workspace.ok('restore', '--from', 'gpg', onlyBackup(workspace), '--confirm', 'master@1')
      expect(readFileSync(keyFile(workspace)), at).toEqual(base.firstKey.bytes)
      expect(workspace.ok<{ due: object[] }>('status').data.due, at).toEqual([])
    })
  }, 120_000)

  test('key suspend is done or is not, and the way back is open', (context) => {
    needsTool(context, 'strace')
    const command = ['key', 'suspend', 'master@1', '--reason', 'an incident', '--yes']
    atEachPoint(base, command, (workspace, at) => {
      again(workspace, command, at, 'STATE_TRANSITION')
      expect(workspace.keyring().keys['master']?.versions['1']?.state, at).toBe('suspended')
      workspace.ok('key', 'resume', 'master@1', '--reason', 'over', '--yes')
      expect(workspace.json('verify').exit, at).toBe(0)
    })
  }, 120_000)

  test('init finishes what it began, and the home takes the key', (context) => {
    needsTool(context, 'strace')
    const fresh = closing(makeWorkspace({ shape: plainTwoLevels, rows, gpg, recipients: [recipient] }))
    rmSync(fresh.file('kvx.yaml'))
    atEachPoint(fresh, ['init'], (workspace, at) => {
      again(workspace, ['init'], at, 'HOME_EXISTS')
      expect(readFileSync(workspace.file('kvx.yaml'), 'utf8'), at).toContain('# master:')
      workspace.writeConfig()
      again(workspace, ['key', 'import', 'master'], at)
      expect(readFileSync(keyFile(workspace)), at).toEqual(workspace.firstKey.bytes)
      expect(workspace.json('verify').exit, at).toBe(0)
    })
  }, 120_000)

  test('was seen at 40 points or more', (context) => {
    needsTool(context, 'strace')
    expect(killedSoFar()).toBeGreaterThanOrEqual(40)
  })
})
