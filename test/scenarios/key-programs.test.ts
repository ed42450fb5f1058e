import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { GpgHome } from '../support/gpg.ts'
import { KeyFolder, withoutBackup } from '../support/key-folder.ts'
import { needsTool } from '../support/needs.ts'

// Keys that go to programs and come from them, and the other sources of `key import`.

const open: { close(): void }[] = []
afterEach(() => {
  for (const one of open.splice(0)) one.close()
})

function folderOf(...args: ConstructorParameters<typeof KeyFolder>): KeyFolder {
  const folder = new KeyFolder(...args)
  open.push(folder)
  return folder
}

/** Stores what it gets on standard input, and notes every call with its arguments and its environment. */
const taker = `cat > "$1"; { tr '\\0' ' ' < /proc/$$/cmdline; echo; tr '\\0' '\\n' < /proc/$$/environ; } >> calls
echo "the key is $(cat "$1")"; echo "the key is $(cat "$1")" >&2
[ ! -e refuse ]`
const giver = '[ ! -e refuse ] || exit 7; [ ! -e "$1" ] || cat "$1"'
const calls = (folder: KeyFolder): string => (existsSync(folder.file('calls')) ? folder.text('calls') : '')
const countOf = (folder: KeyFolder): number => calls(folder).match(/\/take /g)?.length ?? 0

/** A place that two programs know: current and previous lie in files that only they touch. */
function programFolder(isRead: boolean, more = ''): KeyFolder {
  const folder = folderOf(['{ file: later.key }'])
  const [take, give] = [folder.program('take', taker), folder.program('give', giver)]
  const read = isRead ? `, read: [${give}, now], read-previous: [${give}, before]` : ''
  folder.configure([`{ command: [${take}, now], previous: [${take}, before]${read}${more} }`])
  return folder
}

describe.each([
  ['that can be asked', true],
  ['that only takes', false],
])('a program %s', (_, isRead) => {
  test('gets each key on standard input alone, and once', () => {
    const folder = programFolder(isRead)
    const said = [folder.ok('keygen', 'master')]
    const text = (version: number): string => folder.material(version).toString('base64')
    expect(folder.text('now')).toBe(text(1))
    said.push(folder.ok('rotate', 'master', '--stage', '--yes', ...withoutBackup))
    expect([folder.text('now'), folder.text('before')]).toEqual([text(1), text(2)])
    said.push(folder.ok('rotate', 'master', '--activate', '--rolled-out', '--yes'))
    expect([folder.text('now'), folder.text('before')]).toEqual([text(2), text(1)])
    expect(countOf(folder)).toBe(4)
    said.push(folder.ok('key', 'publish', 'master', '--yes'), folder.ok('status'))
    expect(countOf(folder)).toBe(4)
    folder.ok('retire', 'master@1', '--confirm', 'master@1')
    expect([folder.text('now'), folder.text('before')]).toEqual([text(2), ''])
    const told = `${calls(folder)}${said.map(({ stdout, stderr }) => stdout + stderr).join('')}`
    expect(told).toContain('/take now')
    for (const version of [1, 2]) expect(told).not.toContain(text(version))
  })

  test('that fails ends in 9 without a word of what it said, and goes on when it is mended', () => {
    const folder = programFolder(isRead)
    folder.ok('keygen', 'master')
    folder.write('refuse', '')
    const failed = folder.json('rotate', 'master', '--stage', '--yes', ...withoutBackup)
    expect(failed).toMatchObject({ exit: 9, error: { code: 'TOOL_FAILED' } })
    expect(JSON.stringify(failed)).not.toContain('the key is')
    execFileSync('rm', [folder.file('refuse')])
    if (isRead) folder.ok('rotate', 'master', '--stage', '--yes', ...withoutBackup)
    else folder.ok('run', 'resume', '--yes')
    expect(folder.text('before')).toBe(folder.material(2).toString('base64'))
  })
})

test('a program gets the variables that are named and no others', () => {
  const folder = programFolder(false, ', env: [VAULT_ADDR]')
  Object.assign(folder.env, { VAULT_ADDR: 'https://vault', VAULT_TOKEN: 'not-for-it' })
  folder.ok('keygen', 'master')
  expect(calls(folder)).toContain('VAULT_ADDR=https://vault')
  expect(calls(folder)).not.toContain('not-for-it')
})

test('a key that a program holds and nobody knows is not overwritten; what drifted is handed over again', () => {
  const folder = programFolder(true)
  folder.ok('keygen', 'master')
  const foreign = randomBytes(32).toString('base64')
  folder.write('now', foreign)
  expect(folder.json('key', 'publish', 'master', '--yes').error?.code).toBe('PUBLICATION_DIFFERS')
  expect(folder.text('now')).toBe(foreign)
  folder.write('now', '')
  expect(folder.run('key', 'show', 'master').stderr).toContain('command')
  folder.ok('key', 'publish', 'master', '--yes')
  expect(folder.text('now')).toBe(folder.material(1).toString('base64'))
})

test('a program that does not keep what it got is found out', () => {
  const folder = programFolder(true)
  folder.program('take', 'cat > /dev/null')
  expect(folder.json('keygen', 'master')).toMatchObject({ exit: 6, error: { code: 'PUBLICATION_DIFFERS' } })
})

test('a program that is taken out of kvx.yaml still holds the key for destroy', () => {
  const folder = programFolder(false)
  folder.ok('keygen', 'master')
  folder.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...withoutBackup)
  folder.configure(['{ file: other.key, previous: other.old }'])
  folder.ok('retire', 'master@1', '--confirm', 'master@1')
  const scheduled = folder.json<{ ledger: { message: string }[] }>(
    'destroy',
    'master@1',
    '--after',
    '0s',
    '--confirm',
    'master@1',
  )
  expect(scheduled.data.ledger.map(({ message }) => message).join()).toContain('/take now got it last')
})

describe('key import', () => {
  const key = randomBytes(32)
  const text = key.toString('base64')
  const imported = (folder: KeyFolder, ...args: string[]): Buffer => {
    folder.ok('key', 'import', 'master', ...args)
    return folder.material(1)
  }

  test('takes a key from pass, with gpg under it', (context) => {
    needsTool(context, 'pass')
    const gpg = new GpgHome()
    open.push({ close: () => gpg.remove() })
    const fingerprint = gpg.makeKey('store')
    const folder = folderOf(['{ env-file: app.env, current: KEK }'])
    Object.assign(folder.env, gpg.env, { PASSWORD_STORE_DIR: folder.file('store') })
    const pass = (input: string, ...args: string[]): unknown =>
      execFileSync('pass', args, { env: { PATH: process.env['PATH'] ?? '', ...folder.env }, input })
    pass('', 'init', fingerprint)
    pass(`${text}\n`, 'insert', '--multiline', 'app/kek')
    expect(imported(folder, '--key-command', "pass show 'app/kek'")).toEqual(key)
  })

  test('takes a key from any program, and says nothing of what a failing one said', () => {
    const folder = folderOf(['{ env-file: app.env, current: KEK }'])
    const program = folder.program(
      'vault',
      `[ "$*" = "kv get -field=the kek" ] && echo '${text}' || { echo '${text}'; exit 3; }`,
    )
    const failed = folder.json('key', 'import', 'master', '--key-command', `${program} kv list`)
    expect(failed).toMatchObject({ exit: 9, error: { code: 'TOOL_FAILED' } })
    expect(JSON.stringify(failed)).not.toContain(text)
    Object.assign(folder.env, { PATH: `${folder.path}:${process.env['PATH'] ?? ''}` })
    expect(imported(folder, '--from', 'command', '--key-command', 'vault kv get "-field=the kek"')).toEqual(
      key,
    )
  })

  test('takes a key from where a published program reads it', () => {
    const folder = programFolder(true)
    folder.write('now', text)
    expect(imported(folder)).toEqual(key)
    expect(countOf(folder)).toBe(0)
  })

  test.each([
    ['a Docker secret', (folder: KeyFolder) => `docker-secret:${folder.write('secret', text)}`],
    ['a credential of the unit', () => 'systemd-credential:app.kek'],
    [
      'a Secret of Kubernetes',
      (folder: KeyFolder) => {
        const data = `{ KEK: ${Buffer.from(text).toString('base64')} }`
        return `kubernetes-secret:${folder.write('k.yaml', `kind: Secret\nmetadata: { name: app }\ndata: ${data}\n`)}#app/KEK`
      },
    ],
  ])('takes a key from %s', (_, from) => {
    const folder = folderOf(['{ file: app.key }'])
    mkdirSync(folder.file('credentials'))
    folder.write('credentials/app.kek', text)
    Object.assign(folder.env, { CREDENTIALS_DIRECTORY: folder.file('credentials') })
    expect(imported(folder, '--from', from(folder), '--encoding', 'base64')).toEqual(key)
  })

  let untouched: KeyFolder | undefined
  afterAll(() => untouched?.close())

  test.each([
    ['a source that does not exist', ['--from', 'vault:kek'], 'USAGE'],
    ['a manifest without a key in it', ['--from', 'kubernetes-secret:k.yaml'], 'USAGE'],
    ['a credential outside of a unit', ['--from', 'systemd-credential:kek'], 'USAGE'],
    ['a way out of the folder of secrets', ['--from', 'docker-secret:../kek'], 'USAGE'],
    ['two sources', ['--from', 'stdin', '--key-command', '/bin/true'], 'USAGE'],
    ['a program without words', ['--from', 'command'], 'USAGE'],
    ['a quote that stays open', ['--key-command', "pass 'app"], 'USAGE'],
    ['a program that prints nothing', ['--key-command', '/bin/true'], 'INPUT_EMPTY'],
    ['a program that is not there', ['--key-command', '/bin/nothing-here'], 'TOOL_MISSING'],
  ])('refuses %s', (_, args, code) => {
    const folder = (untouched ??= new KeyFolder(['{ file: app.key }']))
    const before = readFileSync(folder.file('.kvx/keyring.json'), 'utf8')
    expect(folder.json('key', 'import', 'master', ...args).error?.code).toBe(code)
    expect(folder.text('.kvx/keyring.json')).toBe(before)
  })
})

describe('a version that the application made by itself', () => {
  const taken = ['key', 'import', 'master', '--from', 'file:next', '--encoding', 'hex']
  function sealing(place: string): KeyFolder {
    const folder = folderOf([place], { next: randomBytes(32).toString('hex') })
    folder.ok('keygen', 'master')
    return folder
  }

  test.each([
    ['without its number', ['--seals'], 'USAGE'],
    ['with the number of the one that seals', ['--version', '1', '--seals'], 'KEY_EXISTS'],
    ['beside one that seals, unless it is said that it seals', ['--version', '1'], 'KEY_EXISTS'],
  ])('does not take over %s', (_, flags, code) => {
    const folder = sealing('{ file: app.key }')
    const before = folder.text('.kvx/keyring.json')
    expect(folder.json(...taken, ...flags).error?.code).toBe(code)
    expect(folder.text('.kvx/keyring.json')).toBe(before)
  })

  test('does not take over from a newer one, in an open run, or while the second slot is needed', () => {
    const folder = sealing('{ file: app.key, previous: app.old }')
    folder.ok(...taken, '--version', '5', '--seals')
    folder.write('next', randomBytes(32).toString('hex'))
    expect(folder.json(...taken, '--version', '4', '--seals').error?.code).toBe('USAGE')
    expect(folder.json(...taken, '--version', '6', '--seals').error?.code).toBe('SLOT_OCCUPIED')
    folder.ok('key', 'publish', 'master', '--yes')
    folder.ok('retire', 'master@1', '--confirm', 'master@1')
    folder.ok('rotate', 'master', '--stage', '--yes', ...withoutBackup)
    expect(folder.json(...taken, '--version', '7', '--seals').error?.code).toBe('RUN_OPEN')
  })
})
