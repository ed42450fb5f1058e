import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, readFileSync, statSync } from 'node:fs'
import { afterEach, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { KeyFolder, withoutBackup } from '../support/key-folder.ts'
import { needsRoot, needsTool } from '../support/needs.ts'
import { treeFiles } from '../support/workspace.ts'

// Where applications read their keys besides key files and env files. Each place is read here as its own reader does.

const open: KeyFolder[] = []
afterEach(() => {
  for (const folder of open.splice(0)) folder.close()
})

function folderOf(...args: ConstructorParameters<typeof KeyFolder>): KeyFolder {
  const folder = new KeyFolder(...args)
  open.push(folder)
  return folder
}

const stage = (folder: KeyFolder): unknown =>
  folder.ok('rotate', 'master', '--stage', '--yes', ...withoutBackup)
const activate = (folder: KeyFolder): unknown =>
  folder.ok('rotate', 'master', '--activate', '--rolled-out', '--yes')
const retire = (folder: KeyFolder): unknown => folder.ok('retire', 'master@1', '--confirm', 'master@1')
const fresh = (): Buffer => randomBytes(32)

describe('a Secret of Kubernetes', () => {
  const place =
    '{ kubernetes-secret: { file: kek.yaml, name: rcrt-kek, key: LOCAL_KEK_BASE64, previous: LOCAL_KEK_BASE64_OLD } }'
  const twice = (key: Buffer): string => Buffer.from(key.toString('base64')).toString('base64')
  const manifest = (key: Buffer): string =>
    `# the KEK of the secrets service\napiVersion: v1\nkind: Secret\nmetadata:\n  name: rcrt-kek\n  labels: { app: rcrt }\ntype: Opaque\ndata:\n  LOCAL_KEK_BASE64: ${twice(key)} # by kvx\n  # of the database\n  DATABASE_URL: cG9zdGdyZXM6Ly9kYg==\n`
  const valueOf = (folder: KeyFolder, name: string): Buffer | undefined => {
    const { data } = parse(folder.text('kek.yaml')) as { data: Record<string, string> }
    const text = data[name]
    return text === undefined ? undefined : Buffer.from(Buffer.from(text, 'base64').toString(), 'base64')
  }

  test('goes through a rotation in base64 of base64, the old key beside the new one until it is retired', () => {
    const key = fresh()
    const folder = folderOf([place], { 'kek.yaml': manifest(key) })
    execFileSync('setfacl', ['-m', 'g:daemon:r--', folder.file('kek.yaml')])
    const acl = execFileSync('getfacl', ['-cp', folder.file('kek.yaml')], { encoding: 'utf8' })
    folder.ok('key', 'import', 'master')
    expect(folder.material(1)).toEqual(key)
    stage(folder)
    expect([valueOf(folder, 'LOCAL_KEK_BASE64'), valueOf(folder, 'LOCAL_KEK_BASE64_OLD')]).toEqual([
      key,
      folder.material(2),
    ])
    activate(folder)
    const second = folder.material(2)
    expect([valueOf(folder, 'LOCAL_KEK_BASE64'), valueOf(folder, 'LOCAL_KEK_BASE64_OLD')]).toEqual([
      second,
      key,
    ])
    retire(folder)
    expect(folder.text('kek.yaml')).toBe(manifest(second))
    expect(execFileSync('getfacl', ['-cp', folder.file('kek.yaml')], { encoding: 'utf8' })).toBe(acl)
  })

  test('is made where there is no manifest, and can be read by its owner alone', () => {
    const folder = folderOf([place])
    folder.ok('keygen', 'master')
    expect(parse(folder.text('kek.yaml'))).toEqual({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'rcrt-kek' },
      type: 'Opaque',
      data: { LOCAL_KEK_BASE64: twice(folder.material(1)) },
    })
    expect(statSync(folder.file('kek.yaml')).mode & 0o777).toBe(0o600)
  })

  test('that drifted is named by status and doctor, and mended by key publish', () => {
    const folder = folderOf([place], { 'kek.yaml': manifest(fresh()) })
    folder.ok('key', 'import', 'master')
    stage(folder)
    const staged = folder.text('kek.yaml')
    folder.write('kek.yaml', staged.replace(/^ {2}LOCAL_KEK_BASE64_OLD.*\n/m, ''))
    expect(folder.run('status').stdout + folder.run('status').stderr).toContain('kvx key publish master')
    expect(folder.run('doctor').stdout).toContain('kek.yaml#rcrt-kek/LOCAL_KEK_BASE64')
    folder.ok('key', 'publish', 'master', '--yes')
    expect(folder.text('kek.yaml')).toBe(staged)
  })

  test('with a key of somebody else is not overwritten', () => {
    const folder = folderOf([place], { 'kek.yaml': manifest(fresh()) })
    folder.ok('key', 'import', 'master')
    const foreign = manifest(fresh())
    folder.write('kek.yaml', foreign)
    expect(folder.json('key', 'publish', 'master', '--yes')).toMatchObject({
      exit: 6,
      error: { code: 'PUBLICATION_DIFFERS' },
    })
    expect(folder.text('kek.yaml')).toBe(foreign)
  })

  test.each([
    ['that nobody may change', (text: string) => `${text}immutable: true\n`, 0o600, 'CONFIG_INVALID'],
    ['that SOPS encrypts', (text: string) => `${text}sops: { version: 3.9 }\n`, 0o600, 'CONFIG_INVALID'],
    [
      'that is not there by this name',
      (text: string) => text.replace('rcrt-kek', 'other'),
      0o600,
      'CONFIG_INVALID',
    ],
    ['that every user can read', (text: string) => text, 0o644, 'UNSAFE_MODE'],
  ])('%s is refused before there is a new key', (_, change, mode, code) => {
    const folder = folderOf([place], { 'kek.yaml': manifest(fresh()) })
    folder.ok('key', 'import', 'master')
    folder.write('kek.yaml', change(folder.text('kek.yaml')), mode)
    const before = treeFiles(folder.path)
    expect(folder.json('rotate', 'master', '--stage', '--yes', ...withoutBackup).error?.code).toBe(code)
    const after = treeFiles(folder.path)
    expect(after['kek.yaml']).toBe(before['kek.yaml'])
    expect(existsSync(folder.file('.kvx/keys/master.v2.key'))).toBe(false)
  })

  test('in base64 once says which encoding the application reads', () => {
    const text = manifest(fresh()).replace(/(LOCAL_KEK_BASE64:) \S+/, `$1 ${fresh().toString('base64')}`)
    const folder = folderOf([place], { 'kek.yaml': text })
    const refused = folder.json('key', 'import', 'master')
    expect(refused).toMatchObject({ exit: 5, error: { code: 'KEY_MALFORMED' } })
    expect(refused.error?.hint).toContain('encoding: raw')
    folder.ok('key', 'import', 'master', '--encoding', 'raw')
  })
})

describe('one key in three places', () => {
  test('is the same in the env file, the Docker secret and the Secret of Kubernetes through the grace period', () => {
    const key = fresh()
    const text = key.toString('base64')
    const folder = folderOf(
      [
        '{ env-file: rcrt.env, current: LOCAL_KEK_BASE64, previous: LOCAL_KEK_BASE64_OLD }',
        '{ docker-secret: kek.txt, previous: kek_old.txt }',
        '{ kubernetes-secret: { file: kek.yaml, name: rcrt-kek, key: KEK, previous: KEK_OLD } }',
      ],
      { 'rcrt.env': `LOCAL_KEK_BASE64=${text}\n` },
    )
    folder.ok('key', 'import', 'master')
    folder.ok('key', 'publish', 'master', '--yes')
    stage(folder)
    activate(folder)
    const [now, before] = [folder.material(2).toString('base64'), text]
    expect(folder.text('rcrt.env')).toBe(`LOCAL_KEK_BASE64=${now}\nLOCAL_KEK_BASE64_OLD=${before}\n`)
    expect([folder.text('kek.txt'), folder.text('kek_old.txt')]).toEqual([now, before])
    const { data } = parse(folder.text('kek.yaml')) as { data: Record<string, string> }
    expect(Object.values(data).map((value) => Buffer.from(value, 'base64').toString())).toEqual([now, before])
    retire(folder)
    expect(existsSync(folder.file('kek_old.txt'))).toBe(false)
    expect(folder.text('rcrt.env')).toBe(`LOCAL_KEK_BASE64=${now}\n`)
  })

  test('stays as it is in all of them when one refuses what it would get', () => {
    const folder = folderOf(
      ['{ file: app.key }', '{ kubernetes-secret: { file: kek.yaml, name: kek, key: KEK } }'],
      { 'app.key': fresh() },
    )
    folder.ok('key', 'import', 'master')
    folder.ok('key', 'publish', 'master', '--yes')
    const [first, second] = [folder.text('app.key'), folder.text('kek.yaml')]
    folder.write('kek.yaml', second.replace(/ {2}KEK:.*\n/, ''), 0o644)
    folder.write('app.key', '')
    execFileSync('rm', [folder.file('app.key')])
    expect(folder.json('key', 'publish', 'master', '--yes').error?.code).toBe('UNSAFE_MODE')
    expect(existsSync(folder.file('app.key'))).toBe(false)
    chmodSync(folder.file('kek.yaml'), 0o600)
    folder.ok('key', 'publish', 'master', '--yes')
    expect([folder.text('app.key'), folder.text('kek.yaml')]).toEqual([first, second])
  })
})

describe('a credential of systemd', () => {
  test('is a file that only its owner reads', () => {
    const folder = folderOf(['{ systemd-credential: app.kek, previous: app.kek-old }'])
    folder.ok('keygen', 'master')
    stage(folder)
    activate(folder)
    expect(readFileSync(folder.file('app.kek'))).toEqual(folder.material(2))
    expect(readFileSync(folder.file('app.kek-old'))).toEqual(folder.material(1))
    expect(statSync(folder.file('app.kek')).mode & 0o777).toBe(0o600)
  })

  test('that is encrypted opens with systemd-creds under its name, and is not written again without need', (context) => {
    needsTool(context, 'systemd-creds')
    needsRoot(context)
    const folder = folderOf([
      '{ systemd-credential: kek.cred, previous: kek-old.cred, encrypted: true, encoding: hex }',
    ])
    folder.ok('keygen', 'master')
    const decrypt = (file: string, name: string): string =>
      execFileSync('systemd-creds', ['decrypt', `--name=${name}`, folder.file(file), '-'], {
        encoding: 'utf8',
      })
    expect(decrypt('kek.cred', 'kek')).toBe(folder.material(1).toString('hex'))
    expect(folder.text('kek.cred')).not.toContain(folder.material(1).toString('hex'))
    const before = folder.text('kek.cred')
    stage(folder)
    expect(folder.text('kek.cred')).toBe(before)
    activate(folder)
    expect([decrypt('kek.cred', 'kek'), decrypt('kek-old.cred', 'kek-old')]).toEqual([
      folder.material(2).toString('hex'),
      folder.material(1).toString('hex'),
    ])
    folder.write('kek.cred', 'damaged')
    expect(folder.json('key', 'publish', 'master', '--yes')).toMatchObject({
      exit: 9,
      error: { code: 'TOOL_FAILED' },
    })
    expect(folder.text('kek.cred')).toBe('damaged')
  })
})
