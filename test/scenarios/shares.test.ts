import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { splitShareTexts } from '../../src/core/share/share-lines.ts'
import { decodeShare } from '../../src/core/share/share-text.ts'
import { readKeyring } from '../../src/keyring/keyring.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { isBackedUp } from '../../src/migration/gates.ts'
import { atTerminal as personAt, type Screen, type Step } from '../backup/shares/terminal.ts'
import { forged, longestLeak, textOf, vectors, vectorText } from '../core/share/fixture.ts'
import { type CliResult, kvx, kvxBin, type KvxDocument, root } from '../support/cli.ts'
import { GpgHome } from '../support/gpg.ts'

const people = ['A. Boole', 'C. Dirac', 'E. Fermi'] as const
const machines = people.map(() => new GpgHome())
const office = new GpgHome()
const folder = mkdtempSync('/var/tmp/kvx-shares-')
const env = { HOME: folder, GNUPGHOME: office.path, LC_ALL: 'C', TERM: 'xterm' }
const material = randomBytes(32)
let keyFile = ''
let setFolder = ''
let set = ''
let shares: readonly string[] = []

type Split = {
  set: string
  state: string
  manifest: string
  shares: readonly { index: number; custodian: string; file: string; confirmed: boolean }[]
}

function run(...args: string[]): CliResult {
  return kvx(args, { cwd: folder, env })
}

function json<T = Record<string, unknown>>(args: readonly string[], input = ''): KvxDocument<T> {
  const { stdout, stderr } = kvx([...args, '--json'], { cwd: folder, env, input })
  if (!stdout.startsWith('{')) throw new Error(`no document: ${stdout}${stderr}`)
  return JSON.parse(stdout) as KvxDocument<T>
}

function ok<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
  const document = json<T>(args)
  if (document.exit !== 0) throw new Error(`kvx ${args.join(' ')}: ${JSON.stringify(document.error)}`)
  return document
}

function writeConfig(custodians: readonly string[]): void {
  const text = [
    'kvx: 1',
    'keys:',
    '  master:',
    '    purpose: kek',
    '    publish: [{ file: published.key }]',
    `    backup: { shares: { threshold: 2, of: 3, custodians: [${custodians.join(', ')}] } }`,
    '',
  ].join('\n')
  writeFileSync(join(folder, 'kvx.yaml'), text, { mode: 0o600 })
}

beforeAll(() => {
  const fingerprints = people.map((name, at) => {
    const machine = machines[at] ?? office
    const fingerprint = machine.makeKey(`${name} <${at}@example.org>`)
    office.import(machine.exportPublic(fingerprint))
    return fingerprint
  })
  const named = people.map((name, at) => `{ name: ${name}, openpgp: ${fingerprints[at] ?? ''} }`)
  writeConfig([...named.slice(0, 2), '{ name: E. Fermi }'])
  ok('init')
  writeFileSync(join(folder, 'published.key'), material, { mode: 0o640 })
  ok('key', 'import', 'master')
  keyFile = join(folder, '.kvx/keys/master.v1.key')
  const refused = json(['backup', 'split', 'master'])
  expect(refused).toMatchObject({ exit: 2, error: { code: 'NO_TERMINAL' } })
  expect(refused.error?.message).toContain('E. Fermi')
  writeConfig(named)
})

afterAll(() => {
  for (const gpg of [...machines, office]) gpg.remove()
  rmSync(folder, { recursive: true, force: true })
})

async function atTerminal(args: readonly string[], steps: readonly Step[]): Promise<Screen> {
  return personAt(args, steps, { cwd: folder, env })
}

/** What custodian `index` holds after opening the file with gpg alone. */
function openedLetter(index: number): string {
  const file = join(setFolder, `${set}-share-${index}.asc`)
  return machines[index - 1]?.decrypt(readFileSync(file)).toString() ?? ''
}

function card(index: number): string {
  return (shares[index - 1] ?? '')
    .replaceAll(/(.{24})/g, '$1\n')
    .replaceAll(/(.{4})(?=.)/g, '$1 ')
    .trim()
    .split('\n')
    .map((line, at) => `${at + 1}  ${line.trim()}`)
    .join('\n')
}

/** Enough to rebuild the key, in two forms. */
function two(): string {
  return `${shares[2] ?? ''}\n${card(1)}\n`
}

function expectSilent(said: string): void {
  for (const share of shares) expect(longestLeak(said, share.slice(22))).toBeLessThan(8)
  expect(said).not.toContain(material.toString('hex').slice(0, 8))
  expect(said).not.toContain(material.toString('base64').slice(0, 8))
}

/** What a rotation, a rewrap and a retirement ask before they go on. */
async function opensGate(): Promise<boolean> {
  const workspace = await openWorkspace({ config: join(folder, 'kvx.yaml') })
  return isBackedUp(workspace, await readKeyring(workspace.home), 'master', 1)
}

describe('a key shared among three people', () => {
  it('C14 is pending after the split, and opens no gate', async () => {
    expect(json<Split>(['backup', 'split', 'master', '--dry-run']).data).toMatchObject({ set: null, of: 3 })
    expect(existsSync(join(folder, '.kvx/backups/shares'))).toBe(false)
    const { data } = ok<Split & { threshold: number; of: number }>('backup', 'split', 'master')
    expect(data).toMatchObject({ threshold: 2, of: 3, state: 'pending' })
    expect(data.shares.map(({ index, custodian }) => [index, custodian])).toEqual(
      people.map((name, at) => [at + 1, name]),
    )
    set = data.set
    setFolder = join(folder, '.kvx/backups/shares', `master.v1.${set}`)
    expect(data.manifest).toBe(join(setFolder, `${set}.json`))
    shares = people.map((_, at) => {
      const [text] = splitShareTexts(Buffer.from(openedLetter(at + 1)))
      return Buffer.from(text ?? [])
        .toString()
        .replaceAll(/^[1-4] {2}|[ \n]/gm, '')
    })
    expect(shares.every((share) => share.length === 88)).toBe(true)
    expect(ok<{ shareSets: readonly Split[] }>('backup', 'list').data.shareSets[0]).toMatchObject({
      set,
      state: 'pending',
    })
    expect(await opensGate()).toBe(false)
  })

  it('C20 lets a custodian verify alone, without configuration, home or network, out of gpg’s output', () => {
    const alone = mkdtempSync('/var/tmp/kvx-alone-')
    try {
      writeFileSync(join(alone, 'm.json'), readFileSync(join(setFolder, `${set}.json`)))
      const options = { cwd: alone, env: { HOME: alone }, input: openedLetter(2) }
      const good = kvx(['share', 'verify', '--share-fd', '0', '--manifest', 'm.json'], options)
      expect(good.exit, good.stderr).toBe(0)
      expect(good.stdout).toContain('dealt to C. Dirac')
      const unproven = kvx(['share', 'verify', '--share-fd', '0'], options)
      expect(unproven.exit).toBe(3)
      const line = ['-rn', '--', kvxBin, 'share', 'verify', '--share-fd', '0', '--manifest', 'm.json']
      const cut = spawnSync('unshare', line, {
        ...options,
        env: { HOME: alone, PATH: process.env['PATH'] ?? '' },
      })
      if (cut.status !== 1) expect(cut.status).toBe(0) // 1: this machine has no user namespaces
      expect(readdirSync(alone)).toEqual(['m.json'])
    } finally {
      rmSync(alone, { recursive: true, force: true })
    }
  })

  it('C20 ends in 5 for a damaged share with its place, for a share of another set, and in 2 for two at once', () => {
    const good = shares[0] ?? ''
    const wrong = good.slice(0, 50) + (good[50] === 'Q' ? 'P' : 'Q') + good.slice(51)
    const verify = ['share', 'verify', '--share-fd', '0']
    const manifest = ['--manifest', join(setFolder, `${set}.json`)]
    const damaged = json(verify, wrong)
    expect(damaged).toMatchObject({ exit: 5, data: { fault: 'CHECKSUM', line: 3, group: 1 } })
    const foreign = json([...verify, ...manifest], vectorText(1))
    expect(foreign).toMatchObject({ exit: 5, data: { reason: 'set' } })
    expect(json(verify, `${good}\n${shares[1] ?? ''}`)).toMatchObject({ exit: 2 })
    expect(json(verify, '')).toMatchObject({ exit: 2, error: { code: 'INPUT_EMPTY' } })
    for (const { text } of vectors.invalid) expect(json(verify, text).exit).toBe(5)
    expectSilent(JSON.stringify([damaged, foreign]))
  })

  it('C14 becomes active, a backup that opens the gates, when the last custodian read the receipt out', async () => {
    for (const index of [1, 2, 3]) {
      const verify = ['share', 'verify', '--share-fd', '0', '--manifest', join(setFolder, `${set}.json`)]
      const { receipt } = json<{ receipt: string }>(verify, openedLetter(index)).data
      const confirm = ['backup', 'confirm', set, '--index', String(index), '--receipt', receipt]
      expect(ok<Split>(...confirm).data.state).toBe(index === 3 ? 'active' : 'pending')
      expect(json(confirm)).toMatchObject({ exit: 5, error: { code: 'FINGERPRINT_DIFFERS' } })
    }
    expect(ok<{ shareSets: readonly Split[] }>('backup', 'list').data.shareSets[0]?.state).toBe('active')
    expect(run('backup', 'list').stdout).toMatch(new RegExp(`${set} +master@1 +active`))
    expect(await opensGate()).toBe(true)
    ok('audit', 'verify')
  })

  it('C49 refuses a share as an argument, and tells how to replace it', () => {
    const error = json(['restore', '--from', 'shares', shares[0] ?? ''])
    expect(error).toMatchObject({ exit: 2, error: { code: 'SECRET_IN_ARGUMENT' } })
    expectSilent(JSON.stringify(error))
  })
})

const restoreFd = ['restore', '--from', 'shares', '--share-fd', '0']

describe('restoring from shares', () => {
  const restore = restoreFd

  it('puts a lost key back into the home, proven by the keyring, and changes nothing where it lies already', () => {
    rmSync(keyFile)
    const unasked = json(restore, two())
    expect(unasked).toMatchObject({ exit: 2, error: { code: 'NOT_CONFIRMED' } })
    expect(existsSync(keyFile)).toBe(false)
    const done = json([...restore, '--confirm', 'master@1'], two())
    expect(done).toMatchObject({
      exit: 0,
      data: { name: 'master', version: 1, source: 'shares', proven: true, set },
    })
    expect(readFileSync(keyFile)).toEqual(material)
    expect(json(restore, two())).toMatchObject({ exit: 0, data: { changed: false } })
  })

  it('C25 never overwrites another live key', () => {
    const other = randomBytes(32)
    writeFileSync(keyFile, other)
    expect(json([...restore, '--confirm', 'master@1'], two())).toMatchObject({
      exit: 2,
      error: { code: 'KEY_EXISTS' },
    })
    expect(readFileSync(keyFile)).toEqual(other)
    writeFileSync(keyFile, material)
  })

  it('does not bring the key of a destroyed version back into the home', () => {
    const ring = join(folder, '.kvx/keyring.json')
    const text = readFileSync(ring, 'utf8')
    rmSync(keyFile)
    writeFileSync(ring, text.replace(/"state": "\w+"/, '"state": "destroyed"'))
    const refused = json([...restore, '--confirm', 'master@1'], two())
    expect(refused).toMatchObject({ exit: 2, error: { code: 'STATE_TRANSITION' } })
    expect(refused.error?.hint).toContain('--out')
    expect(existsSync(keyFile)).toBe(false)
    writeFileSync(ring, text)
    writeFileSync(keyFile, material, { mode: 0o600 })
  })

  it('ends in 7 and writes nothing with a share too few, and says who is missing', () => {
    const out = join(folder, 'few.key')
    const few = json([...restore, '--out', out, '--manifest', join(setFolder, `${set}.json`)], shares[1])
    expect(few.exit).toBe(7)
    expect(few.error?.message).toContain('have 2; need 1 more of 1, 3')
    expect(existsSync(out)).toBe(false)
  })

  it('C24 writes nothing when the fingerprint is another one, and labels what nothing proves', () => {
    const out = join(folder, 'out.key')
    const wrong = json([...restore, '--out', out, '--expect-fingerprint', '0'.repeat(64)], two())
    expect(wrong).toMatchObject({ exit: 5, error: { code: 'FINGERPRINT_DIFFERS' } })
    expect(existsSync(out)).toBe(false)
    const unproven = json<{ fingerprint: string }>([...restore, '--out', out], two())
    expect(unproven).toMatchObject({ exit: 0, data: { proven: false, name: null } })
    expect(unproven.warnings.map(({ code }) => code)).toContain('MANIFEST_MISSING')
    expect(readFileSync(out)).toEqual(material)
    expect(json([...restore, '--out', out], two())).toMatchObject({
      exit: 2,
      error: { code: 'TARGET_EXISTS' },
    })
    rmSync(out)
    const expected = ['--expect-fingerprint', unproven.data.fingerprint]
    expect(json([...restore, '--out', out, ...expected], two())).toMatchObject({
      exit: 0,
      data: { proven: true },
    })
    rmSync(out)
  })

  it('reads shares from a file, a pipe and a socket, and needs no home with --out', () => {
    const alone = mkdtempSync('/var/tmp/kvx-alone-')
    try {
      writeFileSync(join(alone, 'two'), two())
      const command = `${kvxBin} restore --from shares --out`
      const shell = (line: string): Buffer =>
        execFileSync('bash', ['-c', line], {
          cwd: alone,
          env: { HOME: alone, PATH: process.env['PATH'] ?? '' },
        })
      shell(`${command} a.key --share-fd 3 3< two`)
      shell(`cat two | ${command} b.key --share-fd 0`)
      shell(`${command} c.key --share-fd 5 5< <(cat two)`)
      for (const name of ['a.key', 'b.key', 'c.key'])
        expect(readFileSync(join(alone, name))).toEqual(material)
      const closed = kvx(['restore', '--from', 'shares', '--out', 'd.key', '--share-fd', '77'], {
        cwd: alone,
      })
      expect(closed.exit).toBe(9)
    } finally {
      rmSync(alone, { recursive: true, force: true })
    }
  })

  it('C7 works with Python alone, which refuses damaged shares and too few', () => {
    const program = join(root, 'templates/recovery/recover.py')
    expect(readFileSync(program, 'utf8').trimEnd().split('\n').length).toBeLessThanOrEqual(45)
    expect(readFileSync(join(setFolder, 'recover.py'))).toEqual(readFileSync(program))
    const python = (input: string) => spawnSync('python3', [program], { input, encoding: 'utf8' })
    expect(python(two()).stdout).toContain(`key         ${material.toString('hex')}\n`)
    const vector = python([5, 1, 3].map(vectorText).join('\n'))
    expect(vector.stdout).toContain(vectors.kek)
    expect(vector.stdout).toContain(vectors.fingerprint)
    for (const { text, why } of vectors.invalid) {
      const { status, stdout } = python(`${vectorText(5)}\n${vectorText(2)}\n${text}`)
      expect({ why, status, stdout }).toEqual({ why, status: 1, stdout: '' })
    }
    for (const few of [
      shares[0] ?? '',
      `${shares[0] ?? ''}\n${shares[0] ?? ''}`,
      `${shares[0] ?? ''}\n${vectorText(1)}`,
      '',
    ]) {
      expect(python(few)).toMatchObject({ status: 1, stdout: '' })
    }
  })
})

describe('at a terminal', () => {
  const next = /You have[^\n]*\n/

  it('C22 takes four pasted lines, one line, lower case with dashes, and a scanner with CR; nothing is shown', async () => {
    const [one = '', two = '', three = ''] = shares
    const forms = [
      `${card(1)}\n`.replaceAll('\n', '\r'),
      `\x1b[200~${card(2)}\n\x1b[201~\r`,
      `${three}\r`,
      (one.match(/.{4}/g) ?? []).join('-').toLowerCase(),
      (two.match(/.{4}/g) ?? []).join(' '),
    ]
    for (const form of forms) {
      const { screen, exit } = await atTerminal(['share', 'verify'], [[/it is not shown:/, form]])
      expect(exit, screen).toBe(3)
      expect(screen).toContain('is intact')
      expect(screen).toContain('✓✓✓✓✓✓ ✓✓✓✓✓✓ ✓✓✓✓✓✓ ✓✓✓✓')
      expectSilent(screen)
    }
  })

  it('C4 points to the damaged group, hands over an unfinished text at an empty line, and mends nothing', async () => {
    const good = shares[0] ?? ''
    const wrong = good.slice(0, 30) + (good[30] === 'Q' ? 'P' : 'Q') + good.slice(31)
    const damaged = await atTerminal(['share', 'verify'], [[/it is not shown:/, wrong]])
    expect(damaged.exit).toBe(5)
    expect(damaged.screen).toContain('line 2, group 2')
    const short = await atTerminal(
      ['share', 'verify'],
      [
        [/it is not shown:/, good.slice(0, 80)],
        [/✓ ✓✓$/, '\r\r'],
      ],
    )
    expect(short.exit).toBe(5)
    expect(short.screen).toContain('80 of 88 characters: 8 missing')
    expectSilent(damaged.screen + short.screen)
  })

  it('C5 uses a character that was worked out only after a yes', async () => {
    const good = shares[0] ?? ''
    const holed = `${good.slice(0, 40)}?${good.slice(41, 60)}?${good.slice(61)}`
    const ask = [/it is not shown:/, holed] as const
    const yes = await atTerminal(['share', 'verify'], [ask, [/stands on the card\?/, 'y\r']])
    expect(yes.exit).toBe(3)
    expect(yes.screen).toContain(`line 2, group 5, character 1: ${good[40] ?? ''}`)
    expect(yes.screen).toContain(`line 3, group 4, character 1: ${good[60] ?? ''}`)
    const no = await atTerminal(['share', 'verify'], [ask, [/stands on the card\?/, '\r']])
    expect(no.exit).toBe(2)
    expect(json(['share', 'verify', '--share-fd', '0', '--yes'], holed)).toMatchObject({
      exit: 5,
      data: { fault: 'UNREADABLE' },
    })
  })

  it('C47 shows nothing of what was typed at ctrl+t or any other control key', async () => {
    const good = shares[0] ?? ''
    const { screen, exit } = await atTerminal(
      ['share', 'verify'],
      [
        [/it is not shown:/, good.slice(0, 40)],
        [/✓✓✓✓✓✓ ✓✓✓✓$/, '\x14'],
        [/✓✓✓✓✓✓ ✓✓✓✓·$/, '\x12\x0f\x07\x03'],
      ],
    )
    expect(exit).toBe(130)
    expectSilent(screen)
  })

  it('C45 opens no debugger at SIGUSR1, and goes on', async () => {
    const { screen, exit } = await atTerminal(
      ['share', 'verify'],
      [
        [/it is not shown:/, { signal: 'SIGUSR1' }],
        [/$/, 'KVX1'],
        [/✓$/, '\x03'],
      ],
    )
    expect(exit, screen).toBe(130)
    expect(screen).not.toMatch(/debugger|ws:\/\//i)
  })

  it('C46 stops at Ctrl-C, and gives the terminal back', async () => {
    const { screen, exit } = await atTerminal(['share', 'verify'], [[/it is not shown:/, 'KVX1QZ\x03']])
    expect(exit).toBe(130)
    expect(screen.lastIndexOf('\x1b[?2004l')).toBeGreaterThan(screen.lastIndexOf('\x1b[?2004h'))
  })

  it('restores share by share, names a bad one at once, and asks for the next who is missing', async () => {
    rmSync(keyFile)
    const steps = [
      [next, `${shares[1] ?? ''}\r`],
      [next, `${vectorText(2)}\r`],
      [
        /is of set KVXDEM[\s\S]*You have 2; need 1 more of 1, 3 \(1 A\. Boole, 3 E\. Fermi\)/,
        `${shares[1] ?? ''}\r`,
      ],
      [/given already[\s\S]*You have/, `${card(3)}\r`.replaceAll('\n', '\r')],
      [/the last six characters/, 'master@1\r'],
      [/not how the fingerprint of this key ends/, () => `\x15${tail().toUpperCase()}\r`],
    ] as const
    const { screen, exit } = await atTerminal(['restore', '--from', 'shares'], steps)
    expect(exit, screen).toBe(0)
    expect(readFileSync(keyFile)).toEqual(material)
    expect(screen).toContain('rebuilt from shares 2, 3')
    expectSilent(screen)
    expect(screen.slice(0, screen.indexOf('Next share'))).toMatch(/OK +clock/)
    // Nobody could read it from this screen before it was typed.
    expect(screen.slice(0, screen.indexOf('last six'))).not.toContain(tail())
  })

  it('C24 writes nothing while the second person has not recognised the fingerprint, and with all of it asks nobody', async () => {
    rmSync(keyFile)
    const stopped = await atTerminal(
      ['restore', '--from', 'shares'],
      [
        [next, `${shares[1] ?? ''}\r`],
        [next, `${shares[2] ?? ''}\r`],
        [/the last six characters/, () => wrongTail()],
        [/not how the fingerprint of this key ends/, '\x03'],
      ],
    )
    expect(stopped.exit, stopped.screen).toBe(130)
    const yes = json([...restoreFd, '--yes'], two())
    expect(yes).toMatchObject({ exit: 2, error: { code: 'NOT_CONFIRMED' } })
    expect(yes.error?.hint).toContain('--expect-fingerprint')
    const wrong = json([...restoreFd, '--expect-fingerprint', `${'0'.repeat(58)}${tail()}`], two())
    expect(wrong).toMatchObject({ exit: 5, error: { code: 'FINGERPRINT_DIFFERS' } })
    expect(existsSync(keyFile)).toBe(false)
    const manifest = JSON.parse(readFileSync(join(setFolder, `${set}.json`), 'utf8')) as {
      fingerprint: string
    }
    const expected = ['--expect-fingerprint', manifest.fingerprint]
    expect(json([...restoreFd, ...expected], two())).toMatchObject({
      exit: 0,
      data: { changed: true, proven: true },
    })
    expect(readFileSync(keyFile)).toEqual(material)
  })

  it('asks for one share more when the given ones do not fit, and names the one that was wrong', async () => {
    const out = join(folder, 'more.key')
    // A share of another key under the same set: only the key that comes out tells.
    const forgery = forge()
    const steps = [
      [next, `${forgery}\r`],
      [next, `${shares[1] ?? ''}\r`],
      [/cannot be told[\s\S]*You have/, `${shares[2] ?? ''}\r`],
      [/Enter alone if nobody has it/, '\r'],
    ] as const
    const { screen, exit } = await atTerminal(['restore', '--from', 'shares', '--out', out], steps)
    expect(exit, screen).toBe(0)
    expect(screen).toContain('share 1 is not of this key')
    expect(readFileSync(out)).toEqual(material)
  })
})

/** How the key's fingerprint ends, as a second person reads it from the manifest. */
function tail(): string {
  const { fingerprint } = JSON.parse(readFileSync(join(setFolder, `${set}.json`), 'utf8')) as {
    fingerprint: string
  }
  return fingerprint.slice(-6)
}

/** Six characters of the fingerprint, but not the last ones. */
function wrongTail(): string {
  return `${tail().slice(1)}${tail().startsWith('0') ? '1' : '0'}\r`
}

/** Share 1 with other bytes and a checksum that fits. */
function forge(): string {
  const share = decodeShare(Buffer.from(shares[0] ?? ''))
  return textOf(forged(share, (point) => point.set(randomBytes(4), 5)))
}
