import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { expectSilence, treeHash } from '../checks/tree.ts'
import { type CliOptions, type CliResult, kvx, type KvxDocument } from '../support/cli.ts'
import { trustedDirectory } from '../support/trusted-directory.ts'

type Finding = {
  readonly rule: string
  readonly severity: 'error' | 'warning'
  readonly path: string
  readonly message: string
  readonly remedy: string
}
type Data = {
  readonly findings: readonly Finding[]
  readonly checked: number
  readonly files: readonly { readonly encoding: string | null; readonly fingerprint: string | null }[]
}

/** Begins with no byte order mark, which would be what is wrong with it where its length is wrong too. */
const key = Buffer.concat([Buffer.of(0x9b), randomBytes(31)])
const text = key.toString('base64')

function check(
  args: readonly string[],
  options: CliOptions = {},
): KvxDocument<Data> & { readonly result: CliResult } {
  const result = kvx(['check', ...args, '--json'], options)
  const document = JSON.parse(result.stdout) as KvxDocument<Data>
  expect(document.schema).toBe('kvx.check/1')
  expect(result.exit).toBe(document.exit)
  return { ...document, result }
}

function fileWith(
  bytes: Uint8Array | string,
  mode = 0o600,
): { readonly directory: string; readonly path: string } {
  const directory = trustedDirectory()
  const path = join(directory, 'k.key')
  writeFileSync(path, bytes, { mode })
  return { directory, path }
}

const twoValues = Buffer.from(Array.from({ length: 32 }, (_, at) => ((at * at) % 3 === 0 ? 0xa5 : 0x5a)))
const look = text.replace(/[0-9A-Za-z]/, '\uff11')

/** The numbers are those of the list of bad inputs. */
const bad: readonly (readonly [string, Uint8Array | string, readonly string[], string])[] = [
  ['1 an empty file', '', [], 'KEY_EMPTY'],
  ['1 an empty line', '\n', [], 'KEY_EMPTY'],
  ['3 31 raw bytes', randomBytes(31), [], 'KEY_LENGTH'],
  ['3 33 raw bytes', randomBytes(33), [], 'KEY_LENGTH'],
  ['5 32 raw bytes declared as base64', key, ['--encoding', 'base64'], 'KEY_ENCODING'],
  ['7 64 bytes for AES-256', randomBytes(64), [], 'KEY_LENGTH'],
  ['7 64 bytes in base64', randomBytes(64).toString('base64'), [], 'KEY_LENGTH'],
  ['11 a leading space', ` ${text}`, [], 'KEY_ENCODING'],
  ['11 a trailing space', `${text} `, [], 'KEY_ENCODING'],
  ['13 a byte order mark before base64', `\ufeff${text}`, [], 'KEY_ENCODING'],
  ['15 base64 without padding', text.slice(0, -1), ['--encoding', 'base64'], 'KEY_ENCODING'],
  ['17 both alphabets of base64', `+_${text.slice(2)}`, [], 'KEY_ENCODING'],
  ['19 a character that is no digit', `${text.slice(0, 20)}!${text.slice(21)}`, [], 'KEY_ENCODING'],
  ['21 base64 twice', Buffer.from(text).toString('base64'), [], 'KEY_DOUBLE_ENCODED'],
  [
    '21 base64 of base64 with a line break',
    Buffer.from(`${text}\n`).toString('base64'),
    [],
    'KEY_DOUBLE_ENCODED',
  ],
  ['23 63 hex digits', key.toString('hex').slice(1), [], 'KEY_ENCODING'],
  ['25 hex with colons', (key.toString('hex').match(/../g) ?? []).join(':'), [], 'KEY_ENCODING'],
  ['25 hex with spaces', (key.toString('hex').match(/../g) ?? []).join(' '), [], 'KEY_ENCODING'],
  ['25 hex with 0x', `0x${key.toString('hex')}`, [], 'KEY_ENCODING'],
  ['29 a passphrase of 32 characters', 'correct horse battery staple 123', [], 'PASSPHRASE_LIKE'],
  ['31 32 bytes 0xff', Buffer.alloc(32, 0xff), [], 'KEY_WEAK'],
  ['31 32 bytes of zero', Buffer.alloc(32), [], 'KEY_WEAK'],
  ['33 a counter', Buffer.from(Array.from({ length: 32 }, (_, at) => at)), [], 'KEY_WEAK'],
  [
    '33 a counter in hex',
    Buffer.from(Array.from({ length: 32 }, (_, at) => at)).toString('hex'),
    [],
    'KEY_WEAK',
  ],
  ['35 two values', twoValues, [], 'KEY_WEAK'],
  ['39 two keys', `${text}\n${randomBytes(32).toString('base64')}\n`, [], 'KEY_ENCODING'],
  ['41 an SSH key', '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n', [], 'KEY_ENCODING'],
  ['43 JSON', '{"key":"AAAAAAAAAAAAAAAAAAAAAA"}', [], 'KEY_ENCODING'],
  ['43 a JWK', '{"kty":"RSA","n":"sXchDaQebHnPiGvyDOAT4saGEUetSyo9"}', [], 'KEY_ENCODING'],
  ['45 a comment', '# the key comes later\n', [], 'KEY_ENCODING'],
  ['47 a digit that only looks like one', look, [], 'KEY_ENCODING'],
  ['a line of an env file', `LOCAL_KEK_BASE64=${text}\n`, [], 'KEY_ENCODING'],
  ['a key in quotes', `"${text}"`, [], 'KEY_ENCODING'],
  ['a NUL in a text', `${text.slice(0, 20)}\0${text.slice(20)}`, ['--encoding', 'base64'], 'KEY_ENCODING'],
  ['another key', key, ['--expect-fingerprint', 'ab'.repeat(32)], 'FINGERPRINT_DIFFERS'],
]

describe('a key that is not right is an error with a remedy, and nothing of it is shown', () => {
  test.each(bad)('%s', (_, bytes, args, rule) => {
    const { directory, path } = fileWith(bytes)
    const before = treeHash(directory)
    const { result, ...document } = check([path, ...args])
    expect(document).toMatchObject({ ok: false, exit: 3, error: { code: 'FINDINGS' } })
    const [finding, ...more] = document.data.findings
    expect(finding).toMatchObject({ rule, severity: 'error', path })
    expect(finding?.remedy).toMatch(/\S{3}/)
    expect(more).toEqual([])
    const human = kvx(['check', path, ...args])
    expect(human.exit).toBe(3)
    expect(human.stdout).toContain(rule)
    expect(human.stdout).toContain(finding?.remedy)
    for (const output of [result, human]) expectSilence(output, Buffer.from(bytes))
    expect(treeHash(directory)).toBe(before)
  })

  test('13 the byte order mark is named', () => {
    const { data } = check([fileWith(`\ufeff${text}`).path])
    expect(data.findings[0]?.message).toContain('byte order mark of UTF-8')
  })

  test('21 the double encoding is named', () => {
    const { data } = check([fileWith(Buffer.from(text).toString('base64')).path])
    expect(data.findings[0]?.message).toContain('encoded twice')
  })
})

describe('a key that is right', () => {
  test.each([
    ['raw', key, []],
    ['base64', text, []],
    ['base64', `${text}\n`, []],
    ['base64url', key.toString('base64url'), ['--encoding', 'base64url']],
    ['hex', key.toString('hex'), []],
    ['hex', key.toString('hex').replace(/[a-f]/, (digit) => digit.toUpperCase()), []],
    ['hex', `${key.toString('hex').toUpperCase()}\n`, ['--encoding', 'hex']],
    ['ascii', 'q5W!z~8kR#v2L{m0Xp%e7Tj^u4Hs&c1B', ['--encoding', 'ascii']],
  ] as const)('is accepted as %s', (encoding, bytes, args) => {
    const { result, ...document } = check([fileWith(bytes).path, ...args])
    expect(document).toMatchObject({ ok: true, exit: 0, data: { findings: [], checked: 1 } })
    expect(document.data.files[0]).toMatchObject({ encoding })
    expectSilence(result, Buffer.from(bytes))
  })

  test('9 with CR LF is accepted with a warning, and fails where warnings are asked for', () => {
    const { path } = fileWith(`${text}\r\n`)
    const { data, exit } = check([path])
    expect(exit).toBe(0)
    expect(data.findings).toMatchObject([{ rule: 'KEY_CRLF', severity: 'warning' }])
    expect(check([path, '--fail-on', 'warning'])).toMatchObject({ exit: 3, error: { code: 'FINDINGS' } })
    expect(check([path, '--fail-on', 'warning', '--skip', 'KEY_CRLF']).exit).toBe(0)
  })

  test('of another length is one where that length is said', () => {
    expect(check([fileWith(randomBytes(64)).path, '--length', '64']).exit).toBe(0)
    expect(check([fileWith(key).path, '--length', '64']).data.findings[0]?.rule).toBe('KEY_LENGTH')
  })

  test('is known by its fingerprint in either case of digits', () => {
    const { path } = fileWith(key)
    const fingerprint = check([path]).data.files[0]?.fingerprint ?? ''
    expect(fingerprint).toMatch(/^[0-9a-f]{64}$/)
    expect(check([path, '--expect-fingerprint', fingerprint]).exit).toBe(0)
    expect(check([path, `--expect-fingerprint=${fingerprint.toUpperCase()}`]).exit).toBe(0)
  })
})

describe('the same key twice', () => {
  test('is an error in two files, whatever they are written in', () => {
    const { directory, path } = fileWith(key)
    writeFileSync(join(directory, 'other.key'), text, { mode: 0o600 })
    const { data, exit } = check([directory])
    expect(exit).toBe(3)
    expect(data.checked).toBe(2)
    expect(data.findings).toMatchObject([{ rule: 'KEY_REUSED', path: join(directory, 'other.key') }])
    expect(data.findings[0]?.message).toContain(path)
  })

  test('is an error in two variables, and none for one file named twice', () => {
    const env = { KEK: text, KEK_OLD: text }
    const { data } = check(['--env', 'KEK', '--env', 'KEK_OLD'], { env })
    expect(data.findings).toMatchObject([{ rule: 'KEY_REUSED', path: 'env:KEK_OLD' }])
    const { path } = fileWith(key)
    expect(check([path, path, `/${path}`])).toMatchObject({ exit: 0, data: { checked: 1 } })
  })
})

describe('a variable or standard input', () => {
  test('is decoded as strictly as a file', () => {
    const env = { KEK: text, DOUBLE: Buffer.from(text).toString('base64'), NONE: '' }
    expect(check(['--env', 'KEK'], { env })).toMatchObject({ exit: 0, data: { checked: 1 } })
    expect(check(['--env', 'DOUBLE'], { env }).data.findings[0]?.rule).toBe('KEY_DOUBLE_ENCODED')
    expect(check(['--env', 'NONE'], { env }).data.findings[0]?.rule).toBe('KEY_EMPTY')
    expect(check(['--stdin'], { input: key })).toMatchObject({ exit: 0, data: { checked: 1 } })
    expect(check(['--stdin'], { input: key.subarray(1) }).data.findings[0]?.rule).toBe('KEY_LENGTH')
    for (const name of ['KEK', 'DOUBLE'])
      expectSilence(kvx(['check', '--env', name], { env }), key, Buffer.from(text))
  })

  test('51 that is empty or not set ends in 2, and a value in the place of the name is not repeated', () => {
    expect(check(['--stdin'])).toMatchObject({ exit: 2, error: { code: 'INPUT_EMPTY' } })
    expect(check(['--env', 'NOT_SET'])).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
    for (const value of ['correct-horse-battery-staple', 'correcthorsebattery', `${text}x`]) {
      const { result, exit } = check(['--env', value])
      expect(exit).toBe(2)
      expectSilence(result, Buffer.from(value))
    }
    expect(check(['--env', text])).toMatchObject({ exit: 2, error: { code: 'SECRET_IN_ARGUMENT' } })
    expect(check(['--stdin'], { input: Buffer.alloc(70_000, 1) }).exit).toBe(5)
  })
})

describe('a command line that means nothing ends in 2', () => {
  test.each([
    ['nothing to check', []],
    ['a path that is missing', ['D/none.key']],
    ['a missing path beside one that is there', ['D/k.key', 'D/none.key']],
    ['109 a pattern that matches nothing', ['D/*.pem']],
    ['an empty path', ['']],
    ['a group that is unknown', ['D', '--only', 'formats']],
    ['a rule that is unknown', ['D', '--skip', 'KEY_LENGHT']],
    ['groups that are about nothing named', ['D/k.key', '--only', 'config']],
    ['a fingerprint that is none', ['D/k.key', '--expect-fingerprint', '50A3461D7A']],
    [
      'a fingerprint without its group',
      ['D/k.key', '--only', 'files', '--expect-fingerprint', 'ab'.repeat(32)],
    ],
    ['a fingerprint for two keys', ['D/k.key', '--stdin', '--expect-fingerprint', 'ab'.repeat(32)]],
    ['a reader that is unknown', ['D', '--allow-reader', 'no-such-group']],
    ['an owner who is unknown', ['D', '--owner', 'no-such-user']],
    ['93 a flag that is unknown', ['D', '--frobnicate']],
    ['a form that is not there', ['D', '--format', 'xml']],
  ])('%s', (_, args) => {
    const { directory } = fileWith(key)
    const before = treeHash(directory)
    const placed = args.map((word) => word.replace(/^D(?=$|\/)/, directory))
    const { result, ...document } = check(placed, { input: randomBytes(32) })
    expect(document.exit).toBe(2)
    expect(document.error?.message).toMatch(/\S/)
    expect(document.error?.hint).toMatch(/\S/)
    expectSilence(result, key)
    expect(treeHash(directory)).toBe(before)
  })

  test('a slip in a rule or group is told the right one', () => {
    const { path } = fileWith(key)
    expect(check([path, '--skip', 'KEY_LENGHT']).error?.hint).toContain('KEY_LENGTH')
    expect(check([path, '--only', 'formats']).error?.hint).toContain('format')
  })
})

describe('the choice of rules', () => {
  test('--only and --skip take several with commas or more than once', () => {
    const { path } = fileWith(Buffer.alloc(32), 0o644)
    const rulesOf = (...args: string[]): string[] =>
      check([path, ...args]).data.findings.map(({ rule }) => rule)
    expect(rulesOf().sort()).toEqual(['FILE_MODE', 'KEY_WEAK'])
    expect(rulesOf('--only', 'format')).toEqual(['KEY_WEAK'])
    expect(rulesOf('--only', 'files')).toEqual(['FILE_MODE'])
    expect(rulesOf('--only', 'format,files').sort()).toEqual(['FILE_MODE', 'KEY_WEAK'])
    expect(rulesOf('--skip', 'KEY_WEAK')).toEqual(['FILE_MODE'])
    expect(rulesOf('--skip', 'KEY_WEAK,FILE_MODE')).toEqual([])
    expect(rulesOf('--skip', 'KEY_WEAK', '--skip', 'FILE_MODE')).toEqual([])
  })

  test('--format json is --json', () => {
    const { path } = fileWith(key)
    for (const args of [['--format', 'json'], ['--format=json']]) {
      expect(JSON.parse(kvx(['check', path, ...args]).stdout)).toMatchObject({
        schema: 'kvx.check/1',
        ok: true,
      })
    }
    expect(kvx(['check', path, '--format', 'human']).stdout).toMatch(/^1 checked: nothing found$/m)
  })
})

describe('the screen', () => {
  test('has a line a file, findings with remedies below, counts and the next command', () => {
    const { directory, path } = fileWith(key, 0o644)
    writeFileSync(join(directory, 'good.key'), randomBytes(32), { mode: 0o600 })
    const { stdout, stderr } = kvx(['check', directory])
    expect(stdout).toMatch(
      new RegExp(`^${join(directory, 'good.key')} +raw +32 bytes +[0-9A-F]{10} +ok$`, 'm'),
    )
    expect(stdout).toMatch(new RegExp(`^${path} +raw +32 bytes +[0-9A-F]{10} +1 error$`, 'm'))
    expect(stdout).toContain(`chmod o= ${path}`)
    expect(stdout).toMatch(/^2 checked: 1 error$/m)
    expect(stderr).toContain(`\`kvx check ${directory}\``)
    const clean = kvx(['check', join(directory, 'good.key')])
    expect(clean.stdout).toContain(`Next: kvx key import NAME --from file:${join(directory, 'good.key')}`)
  })
})
