import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest'
import { plainTwoLevels } from '../support/application.ts'
import { SshKeys } from '../support/approvers.ts'
import { GpgHome } from '../support/gpg.ts'
import { needsTool } from '../support/needs.ts'
import { makeWorkspace } from '../support/workspace.ts'
import { blocks, page } from './pages.ts'

// What docs/formats.md tells a person to type is typed here, on what kvx wrote.
const runnable = new Map(
  blocks(page('docs/formats.md')).flatMap(({ before, text }) => {
    const name = /^<!-- run: (\S+) -->$/.exec(before)?.[1]
    return name === undefined ? [] : [[name, text] as const]
  }),
)
const gpg = new GpgHome()
const workspace = makeWorkspace({
  shape: plainTwoLevels,
  rows: 30,
  gpg,
  recipients: [gpg.makeKey('a@example.org')],
})
const before = workspace.rows()
let run = ''

beforeAll(() => {
  workspace.begin()
  workspace.ok('rotate', 'master', '--offline', '--yes')
  run = String(workspace.ok('rewrap', '--yes').run)
  workspace.ok('retire', 'master@1', '--confirm', 'master@1')
})
afterAll(() => {
  workspace.close()
  gpg.remove()
})

/** Runs a block in a folder, with arguments, and gives back what it printed. */
function type(name: string, folder: string, ...args: string[]): string {
  const text = runnable.get(name) ?? ''
  const isPython = text.startsWith('import')
  const [program, argv] = isPython ? ['python3', ['-c', text, ...args]] : ['bash', ['-euc', text]]
  const env = { PATH: process.env['PATH'] ?? '', ...gpg.env }
  const { status, stdout, stderr } = spawnSync(program, argv, { cwd: folder, env, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${name} ended with ${status}\n${stdout}${stderr}`)
  return stdout.trim()
}

function needsAll(context: TestContext): void {
  for (const tool of ['python3', 'openssl', 'gpg']) needsTool(context, tool)
}

/** A folder of its own, so that nothing is written into the home. */
function folder(name: string): string {
  const path = workspace.file(name)
  mkdirSync(path)
  return path
}

test('every block that is marked is run', () => {
  expect([...runnable.keys()].toSorted()).toEqual([
    'approval',
    'chain',
    'ciphertext',
    'fingerprint',
    'key',
    'signature',
  ])
})

test('the approval of a plan, with plain ssh-keygen', (context) => {
  needsTool(context, 'ssh-keygen')
  const ssh = new SshKeys()
  const [at, key] = [folder('approval'), ssh.make('approver')]
  try {
    copyFileSync(`${key}.pub`, join(at, 'approver.pub'))
    workspace.ok('plan', 'rotate', 'master', '--offline', '--out', join(at, 'plan.json'))
    const { data } = workspace.ok('plan', 'approve', join(at, 'plan.json'), '--ssh-key', key, '--yes')
    copyFileSync(String(data['file']), join(at, 'plan.json.1.sig'))
    expect(type('approval', at)).toContain('Good "kvx-plan" signature')
    writeFileSync(join(at, 'plan.json'), 'another one')
    expect(() => type('approval', at)).toThrow(/ended with/)
  } finally {
    ssh.remove()
  }
})

test('the fingerprint of a key file', (context) => {
  needsAll(context)
  const fingerprint = workspace.keyring().keys['master']?.versions['1']?.fingerprint
  expect(type('fingerprint', workspace.home)).toBe(fingerprint)
})

test('the key out of a backup, with plain gpg', (context) => {
  needsAll(context)
  const at = folder('recovery')
  const [file = ''] = readdirSync(join(workspace.home, 'backups')).filter((name) => name.endsWith('.asc'))
  copyFileSync(join(workspace.home, 'backups', file), join(at, 'BACKUP.asc'))
  type('key', at)
  expect(readFileSync(join(at, 'key.raw'))).toEqual(workspace.publishedKey('current'))
})

test('the old values out of the ciphertext backup of a run', (context) => {
  needsAll(context)
  const copy = workspace.file('restored.db')
  copyFileSync(workspace.database, copy)
  type(
    'ciphertext',
    workspace.path,
    join(workspace.home, 'runs', run, 'backup/ciphertext.jsonl'),
    copy,
    'secrets',
  )
  const database = new DatabaseSync(copy)
  const rows = database.prepare('SELECT * FROM secrets ORDER BY id').all()
  database.close()
  expect(rows).toEqual(before)
  expect(workspace.rows()).not.toEqual(before)
})

test('numbers and chain of the log', (context) => {
  needsAll(context)
  const { data } = workspace.ok<{ head: string }>('audit', 'verify')
  const log = join(workspace.home, 'audit/log.jsonl')
  expect(type('chain', workspace.path, log)).toBe(data.head)
})

test('the signature of a report and of a certificate', (context) => {
  needsAll(context)
  const [certificate = ''] = readdirSync(join(workspace.home, 'certificates'))
  const signed = [
    join(workspace.home, 'runs', run, 'report.json'),
    join(workspace.home, 'certificates', certificate),
  ]
  for (const [at, file] of signed.entries()) {
    const place = folder(`signed-${at}`)
    copyFileSync(file, join(place, 'report.json'))
    const { signature } = JSON.parse(readFileSync(file, 'utf8')) as {
      signature: { publicKeyFingerprint: string }
    }
    expect(type('signature', place)).toBe(
      `Signature Verified Successfully\n${signature.publicKeyFingerprint}  -`,
    )
  }
})
