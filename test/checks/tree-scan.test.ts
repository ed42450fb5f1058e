import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test, type TestContext } from 'vitest'
import { kvx, type CliResult, kvxJson } from '../support/cli.ts'
import { needsTool } from '../support/needs.ts'
import { trustedDirectory } from '../support/trusted-directory.ts'
import { expectSilence, treeHash } from './tree.ts'

type Finding = { rule: string; severity: string; path: string; line?: number; message: string }
type Data = { findings: Finding[]; checked: number }

const groups = ['--only', 'format,config,manifest,ciphertext,secrets']

function tree(files: Readonly<Record<string, string | Uint8Array>>): string {
  const directory = trustedDirectory()
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), content)
  }
  return directory
}

/** `RULE path:line` of each finding. */
function found(directory: string, ...args: string[]): string[] {
  const { data, exit } = kvxJson<Data>(['check', '--recursive', '.', ...groups, ...args], { cwd: directory })
  expect(exit).toBe(data.findings.some(({ severity }) => severity === 'error') ? 3 : 0)
  return data.findings
    .map(({ rule, path, line }) => `${rule} ${path}${line === undefined ? '' : `:${line}`}`)
    .sort()
}

function newKey(): { raw: Buffer; base64: string; hex: string } {
  const raw = randomBytes(32)
  return { raw, base64: raw.toString('base64'), hex: raw.toString('hex') }
}

function twice(text: string): string {
  return Buffer.from(text).toString('base64')
}

function git(directory: string, ...args: string[]): void {
  const who = ['-c', 'user.name=a', '-c', 'user.email=a@example.org', '-c', 'init.defaultBranch=main']
  execFileSync('git', [...who, ...args], { cwd: directory, stdio: 'ignore' })
}

describe('kvx check --recursive finds a key that lies open', () => {
  const one = newKey()
  const pem = String(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const secret = (members: string): string =>
    `apiVersion: v1\nkind: Secret\nmetadata:\n  name: app\n${members}\n`
  test.each<readonly [string, string, string, readonly string[]]>([
    ['in an env file', '.env', `PORT=1\nLOCAL_KEK_BASE64=${one.base64}\n`, ['SECRET_IN_ENV .env:2']],
    ['in quotes', 'prod.env', `LOCAL_KEK_BASE64="${one.base64}"\n`, ['SECRET_IN_ENV prod.env:1']],
    ['in hex', '.env.local', `export MASTER_KEY=0x${one.hex}\n`, ['SECRET_IN_ENV .env.local:1']],
    ['as Laravel writes it', '.env', `APP_KEY=base64:${one.base64}\n`, ['SECRET_IN_ENV .env:1']],
    ['in a Secret', 's.yaml', secret(`data:\n  kek: ${one.base64}`), ['SECRET_IN_MANIFEST s.yaml:6']],
    [
      'in a Secret, base64 again',
      's.yml',
      secret(`data:\n  KEK: ${twice(one.base64)}`),
      ['SECRET_IN_MANIFEST s.yml:6'],
    ],
    ['in stringData', 's.yml', secret(`stringData:\n  KEK: ${one.base64}`), ['SECRET_IN_MANIFEST s.yml:6']],
    [
      'in a Secret, base64 once too often',
      's.yml',
      secret(`data:\n  KEK: ${twice(twice(one.base64))}`),
      ['KEY_DOUBLE_ENCODED s.yml:6'],
    ],
    [
      'in a Secret in JSON',
      's.json',
      JSON.stringify({ kind: 'Secret', data: { key: one.base64 } }),
      ['SECRET_IN_MANIFEST s.json:1'],
    ],
    [
      'in a Compose file',
      'compose.prod.yml',
      `services:\n  a:\n    environment:\n      KEK: ${one.base64}\n`,
      ['SECRET_IN_MANIFEST compose.prod.yml:4'],
    ],
    [
      'in a program',
      'src/a.ts',
      `const masterKey = Buffer.from('x')\nopen("kek": "${one.base64}")\n`,
      ['SECRET_IN_FILE src/a.ts:2'],
    ],
    [
      'base64 twice where nobody decodes twice',
      'a.toml',
      `master_key = "${twice(one.base64)}"\n`,
      ['KEY_DOUBLE_ENCODED a.toml:1'],
    ],
    [
      'that nobody chose at random',
      '.env',
      `KEK=${Buffer.alloc(32).toString('hex')}1\nKEK=0000000000000000000000000000000000000000000000000000000000000000\n`,
      ['KEY_WEAK .env:2'],
    ],
    ['that is a private key', 'deploy/id', `x\n${pem}`, ['PRIVATE_KEY deploy/id:2']],
    ['that is a private key in JSON', 'a.json', JSON.stringify({ private: pem }), ['PRIVATE_KEY a.json:1']],
    [
      'that age made',
      'a.txt',
      `# made today\nAGE-SECRET-KEY-1${'QL3Z7HJY54PW3HYWW5AYYFG7ZQGVC7W3J2ELW8ZMRJ2KG5SFN9AQ'.padEnd(58, 'A')}\n`,
      ['PRIVATE_KEY a.txt:2'],
    ],
  ])('%s', (_, name, text, expected) => {
    const directory = tree({ [name]: text })
    expect(found(directory)).toEqual(expected)
    const human = kvx(['check', '--recursive', '.', ...groups], { cwd: directory })
    expectSilence(human, one.raw, Buffer.from(pem.split('\n')[1] ?? ''))
  })

  test('in a share of a key, in groups or as one word', () => {
    const vectors = readFileSync(join(import.meta.dirname, '../vectors/kvx-share-v0.json'), 'utf8')
    const text = /KVX1[A-Z0-9]{84}/.exec(vectors)?.[0]?.toLowerCase() ?? ''
    expect(text).toHaveLength(88)
    const grouped = text.replaceAll(/(.{4})(?=.)/g, '$1 ')
    expect(found(tree({ 'a.txt': `${text}\n`, 'b.txt': grouped.toUpperCase() }))).toEqual([
      'PRIVATE_KEY a.txt:1',
      'PRIVATE_KEY b.txt:1',
    ])
  })
})

describe('kvx check --recursive is silent about', () => {
  const { base64, hex } = newKey()
  test.each([
    ['a digest', 'a.lock', `key "sha256": "${hex}"\nintegrity: ${base64}\nchecksum = "${hex}"\n`],
    ['a fingerprint and a public key', 'a.txt', `fingerprint=${hex}\npublic_key: ${base64}\n`],
    ['a value without a name', 'a.txt', `${base64}\n${hex}\n`],
    ['a name without a value', '.env', 'LOCAL_KEK_BASE64=\nMASTER_KEY=${KEK}\nkey: <your key here>\n'],
    [
      'a long identifier and a path',
      'a.ts',
      'key = someVeryLongNameOfAFunctionThatHasFortyThreeSig\nkey = "src/main/java/org/example/application/Keys1"\n',
    ],
    [
      'the words of a private key in a program',
      'a.ts',
      "if (text.startsWith('-----BEGIN PRIVATE KEY-----')) {}\n",
    ],
    [
      'a private key that is encrypted',
      'a.pem',
      `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${base64}${base64}\n-----END ENCRYPTED PRIVATE KEY-----\n`,
    ],
    ['a binary file', 'a.bin', Buffer.concat([Buffer.from([0]), Buffer.from(`KEK=${base64}`)])],
  ] as const)('%s', (_, name, text) => {
    expect(found(tree({ [name]: text }))).toEqual([])
  })
})

describe('a key in two environments', () => {
  test('is an error, whatever it is written in, and names both', () => {
    const { base64, hex } = newKey()
    const directory = tree({
      'envs/staging/.env': `KEK=${base64}\n`,
      'envs/production/k8s.yml': `kind: Secret\nstringData:\n  KEK: ${hex}\n`,
    })
    const { data } = kvxJson<Data>(['check', '--recursive', '.', ...groups], { cwd: directory })
    const [reused] = data.findings.filter(({ rule }) => rule === 'KEY_REUSED')
    expect(reused).toMatchObject({ severity: 'error', path: 'envs/staging/.env', line: 1 })
    expect(reused?.message).toContain('production and staging share one')
    expect(
      found(tree({ 'a/prod.env': `KEK=${base64}\n`, 'b/prod.env': `KEK=${newKey().base64}\n` })),
    ).toEqual(['SECRET_IN_ENV a/prod.env:1', 'SECRET_IN_ENV b/prod.env:1'])
  })

  test('is a warning where the paths name one environment or none', () => {
    const { base64 } = newKey()
    const directory = tree({ 'a/prod.env': `KEK=${base64}\n`, 'b/prod.env': `KEK=${base64}\n` })
    const { data } = kvxJson<Data>(['check', '--recursive', '.', ...groups], { cwd: directory })
    expect(data.findings.filter(({ rule }) => rule === 'KEY_REUSED')).toMatchObject([{ severity: 'warning' }])
  })

  test('is found between a key file and a text', () => {
    const { raw, base64 } = newKey()
    const directory = tree({ 'dev/a.key': raw, 'prod/.env': `KEK=${base64}\n` })
    expect(found(directory)).toEqual(['KEY_REUSED prod/.env:1', 'SECRET_IN_ENV prod/.env:1'])
  })
})

describe('key files, configurations and backups in a tree', () => {
  test('are checked by their own rules, wherever they lie', () => {
    const directory = tree({
      'deploy/keys/a.key': Buffer.alloc(32),
      'deploy/kvx.yaml': 'kvx: 2\n',
      'deploy/other.yaml': 'a: 1\n',
      'old/master.v1.AAAAAAAA.asc': 'no message',
      'node_modules/x/.env': `KEK=${newKey().base64}\n`,
    })
    expect(found(directory)).toEqual([
      'CONFIG_INVALID deploy/kvx.yaml',
      'KEY_WEAK deploy/keys/a.key',
      'MESSAGE_DAMAGED old/master.v1.AAAAAAAA.asc',
    ])
  })

  test('can be left out by name or by way', () => {
    const text = `KEK=${newKey().base64}\n`
    const directory = tree({ 'a/.env': text, 'b/fixtures/.env': text, 'c.env': text })
    const left = found(directory, '--exclude', './a/', '--exclude', 'fixtures', '--skip', 'KEY_REUSED')
    expect(left).toEqual(['SECRET_IN_ENV c.env:1'])
  })

  test('may be named one by one, as pre-commit does', () => {
    const directory = tree({ 'a.yaml': 'a: 1\n', '.env': `KEK=${newKey().base64}\n` })
    const { data } = kvxJson<Data>(['check', '--recursive', 'a.yaml', '.env'], { cwd: directory })
    expect(data.findings.map(({ rule }) => rule)).toEqual(['SECRET_IN_ENV'])
    expect(data.checked).toBe(2)
  })
})

describe('a work tree of git', () => {
  function repository(version: string): string {
    const text = `KEK=${newKey().base64}\n`
    const directory = tree({
      'deploy/a/very/long/way/that/is/shared/one.env': text,
      'deploy/a/very/long/way/that/is/shared/two.txt': 'x\n',
      'deploy/app.key': newKey().raw,
      '.gitignore': 'local.env\n',
      'local.env': text,
    })
    git(directory, 'init')
    git(directory, '-c', `index.version=${version}`, 'add', '.')
    return directory
  }

  test.each(['2', '4'])('is looked at where git tracks it: index version %s', (version, ...rest) => {
    needsGit(rest.at(-1) as unknown as TestContext)
    const directory = repository(version)
    const expected = [
      'KEY_COMMITTED deploy/app.key',
      'SECRET_IN_ENV deploy/a/very/long/way/that/is/shared/one.env:1',
    ]
    expect(readFileSync(join(directory, '.git/index')).readUInt32BE(4)).toBe(Number(version))
    expect(found(directory)).toEqual(expected)
    expect(found(join(directory, 'deploy'))).toEqual(expected.map((line) => line.replace('deploy/', '')))
    expect(found(directory, '--untracked', '--skip', 'KEY_REUSED')).toEqual([
      'SECRET_IN_ENV deploy/a/very/long/way/that/is/shared/one.env:1',
      'SECRET_IN_ENV local.env:1',
    ])
  })

  test('that is a second one of its repository is known too, and a split index is looked past', (context) => {
    needsGit(context)
    const directory = repository('2')
    git(directory, 'commit', '-m', 'x')
    const second = join(trustedDirectory(), 'second')
    git(directory, 'worktree', 'add', second)
    writeFileSync(join(second, 'local.env'), `KEK=${newKey().base64}\n`)
    expect(found(second)).toHaveLength(2)
    git(directory, 'update-index', '--split-index')
    expect(found(directory).some((line) => line.includes('local.env'))).toBe(true)
  })

  test('runs nothing that the repository names', (context) => {
    needsGit(context)
    const directory = repository('2')
    writeFileSync(join(directory, 'evil.sh'), `#!/bin/sh\ntouch ${directory}/ran\n`, { mode: 0o755 })
    git(directory, 'config', 'core.fsmonitor', join(directory, 'evil.sh'))
    const before = treeHash(directory)
    expect(found(directory)).toHaveLength(2)
    expect(treeHash(directory)).toBe(before)
  })
})

function needsGit(context: TestContext): void {
  needsTool(context, 'git')
}

describe('a baseline', () => {
  const check = (directory: string, ...args: string[]): CliResult =>
    kvx(['check', '--recursive', '.', ...groups, ...args], { cwd: directory })

  test('takes what is there today, and lets what is new be found, whatever line the old one moves to', () => {
    const old = newKey()
    const directory = tree({ 'a/.env': `KEK=${old.base64}\n` })
    expect(check(directory, '--write-baseline', 'known.json').exit).toBe(0)
    expectSilence(
      { exit: 0, stdout: readFileSync(join(directory, 'known.json'), 'utf8'), stderr: '' },
      old.raw,
    )
    expect(check(directory, '--baseline', 'known.json')).toMatchObject({ exit: 0 })
    writeFileSync(join(directory, 'a/.env'), `\n\nKEK=${old.base64}\n`)
    expect(check(directory, '--baseline', 'known.json').stdout).toContain('1 finding is known by known.json')
    writeFileSync(join(directory, 'a/.env'), `KEK=${newKey().base64}\n`)
    expect(check(directory, '--baseline', 'known.json')).toMatchObject({ exit: 3 })
    writeFileSync(join(directory, 'a/.env'), '')
    expect(check(directory, '--baseline', 'known.json').stdout).toContain('1 of its lines are mended')
  })

  test('that is missing or something else ends in an error', () => {
    const directory = tree({ 'a.json': '{"schema":"other"}', 'b.json': '[' })
    for (const [name, exit] of [
      ['none.json', 2],
      ['a.json', 5],
      ['b.json', 5],
    ] as const) {
      expect(check(directory, '--baseline', name).exit, name).toBe(exit)
    }
  })
})
