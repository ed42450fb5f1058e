import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { splitShareTexts } from '../../src/core/share/share-lines.ts'
import { atTerminal } from '../backup/shares/terminal.ts'
import { longestLeak } from '../core/share/fixture.ts'
import { SshKeys } from '../support/approvers.ts'
import { kvx, type KvxDocument } from '../support/cli.ts'
import { GpgHome } from '../support/gpg.ts'

/** Three custodians: two with OpenPGP keys on machines of their own, one who signs with SSH. */
const people = ['A. Boole', 'C. Dirac', 'E. Fermi'] as const
const machines = people.map(() => new GpgHome())
const office = new GpgHome()
const ssh = new SshKeys()
const folder = mkdtempSync('/var/tmp/kvx-receipts-')
const afar = join(folder, 'afar')
const env = { HOME: folder, GNUPGHOME: office.path, LC_ALL: 'C', TERM: 'xterm' }
const fingerprints: string[] = []
let set = ''
let manifest = ''

function json<T = Record<string, unknown>>(
  args: readonly string[],
  at: { input?: string | Buffer; cwd?: string; env?: Record<string, string> } = {},
): KvxDocument<T> {
  const { stdout, stderr } = kvx([...args, '--json'], { cwd: folder, env, ...at })
  if (!stdout.startsWith('{')) throw new Error(`no document: ${stdout}${stderr}`)
  return JSON.parse(stdout) as KvxDocument<T>
}

function writeConfig(last: string): void {
  const named = people.map(
    (name, at) => `{ name: ${name}, openpgp: ${fingerprints[at] ?? ''}${at === 2 ? last : ''} }`,
  )
  const text = [
    'kvx: 1',
    'keys:',
    '  master:',
    '    purpose: kek',
    '    publish: [{ file: published.key }]',
    `    backup: { shares: { threshold: 2, of: 3, custodians: [${named.join(', ')}] } }`,
    '',
  ]
  writeFileSync(join(folder, 'kvx.yaml'), text.join('\n'), { mode: 0o600 })
}

beforeAll(() => {
  people.forEach((name, at) => {
    const machine = machines[at] ?? office
    fingerprints.push(machine.makeKey(`${name} <${at}@example.org>`))
    office.import(machine.exportPublic(fingerprints[at] ?? ''))
  })
  writeConfig('')
  mkdirSync(afar, { mode: 0o700 })
  for (const args of [['init'], ['keygen', 'master']]) expect(json(args).exit).toBe(0)
  const split = json<{ set: string; manifest: string }>(['backup', 'split', 'master'])
  expect(split.exit).toBe(0)
  ;({ set, manifest } = split.data)
})

afterAll(() => {
  for (const gpg of [...machines, office]) gpg.remove()
  ssh.remove()
  rmSync(folder, { recursive: true, force: true })
})

function letter(index: number): Buffer {
  const file = join(manifest, '..', `${set}-share-${index}.asc`)
  return machines[index - 1]?.decrypt(readFileSync(file)) ?? Buffer.alloc(0)
}

function shareText(index: number): string {
  const [text] = splitShareTexts(letter(index))
  return Buffer.from(text ?? [])
    .toString()
    .replaceAll(/^[1-4] {2}|[ \n]/gm, '')
}

/** What custodian `index` does, alone, on a machine of their own. */
function signs(index: number, out: string, key: string, ...more: string[]) {
  const own = { HOME: afar, GNUPGHOME: machines[index - 1]?.path ?? '', LC_ALL: 'C' }
  const args = ['share', 'verify', '--share-fd', '0', '--receipt', out, '--sign', key, ...more]
  return json<{ receiptFile: string; receiptSignature: string; receiptSignedBy: string }>(args, {
    input: letter(index),
    cwd: afar,
    env: own,
  })
}

const confirm = (file: string, ...more: string[]) =>
  json<{ state: string; shares: { confirmed: boolean; signedBy: string | null }[] }>([
    ...['backup', 'confirm', set, '--receipt-file', join(afar, file)],
    ...more,
  ])

it('C19 takes a receipt that the custodian signed with OpenPGP, once, and keeps it beside the manifest', () => {
  const made = signs(1, 'one.json', fingerprints[0] ?? '', '--manifest', manifest)
  expect(made).toMatchObject({ exit: 0, data: { receiptSignedBy: fingerprints[0], slot: 1 } })
  expect(confirm('one.json', '--dry-run').data.state).toBe('pending')
  expect(readdirSync(join(manifest, '..')).join()).not.toContain('receipt')
  const done = confirm('one.json')
  expect(done, JSON.stringify(done.error)).toMatchObject({ exit: 0, data: { state: 'pending' } })
  expect(done.data.shares.map(({ signedBy }) => signedBy)).toEqual([fingerprints[0], null, null])
  const kept = join(manifest, '..', `${set}-receipt-1-1.json`)
  expect(readFileSync(kept)).toEqual(readFileSync(join(afar, 'one.json')))
  // Anybody who has gpg can check it for themselves.
  office.run(['--verify', kept.replace(/json$/, 'json.asc'), kept])
  expect(confirm('one.json')).toMatchObject({ exit: 5, error: { code: 'FINGERPRINT_DIFFERS' } })
  expect(json(['audit', 'verify']).exit).toBe(0)
})

it('C6 holds nothing of the share: no 8 characters of it, no byte of its point', () => {
  const files = readdirSync(afar).map((name) => readFileSync(join(afar, name), 'utf8'))
  expect(files.length).toBe(2)
  const text = shareText(1)
  for (const file of files) expect(longestLeak(file, text.slice(22))).toBeLessThan(8)
  expect(Object.keys(JSON.parse(readFileSync(join(afar, 'one.json'), 'utf8')) as object).toSorted()).toEqual([
    'at',
    'checkValue',
    'custodian',
    'digest',
    'index',
    'kvxVersion',
    'of',
    'receipt',
    'rehearsal',
    'schema',
    'set',
    'slot',
    'threshold',
  ])
})

it('takes a signature of nobody but the custodian whose share it is', () => {
  // The second custodian has the share, and the third signs for it.
  const own = machines[1]
  own?.import(machines[2]?.exportPublic(fingerprints[2] ?? '') ?? Buffer.alloc(0))
  expect(signs(2, 'two.json', fingerprints[1] ?? '').exit).toBe(3)
  const [signature = ''] = readdirSync(afar).filter((name) => name.startsWith('two.json.'))
  const good = readFileSync(join(afar, signature))
  const foreign = machines[2]?.run(
    ['--local-user', fingerprints[2] ?? '', '--armor', '--detach-sign'],
    readFileSync(join(afar, 'two.json')),
  )
  writeFileSync(join(afar, signature), foreign ?? '')
  const refused = confirm('two.json')
  expect(refused).toMatchObject({ exit: 5, error: { code: 'FINGERPRINT_DIFFERS' } })
  expect(refused.error?.message).toContain('by a key that is none of C. Dirac')
  rmSync(join(afar, signature))
  expect(confirm('two.json').error?.message).toContain('has no signature of C. Dirac')
  writeFileSync(join(afar, signature), good)
  const text = readFileSync(join(afar, 'two.json'), 'utf8')
  writeFileSync(join(afar, 'two.json'), text.replace('"slot":1', '"slot":2'))
  expect(confirm('two.json').error?.message).toContain('not a valid signature')
  writeFileSync(join(afar, 'two.json'), `${text} `)
  expect(confirm('two.json').error?.code).toBe('DAMAGED')
  writeFileSync(join(afar, 'two.json'), text)
  expect(confirm('two.json', '--index', '3').error?.code).toBe('USAGE')
  expect(confirm('two.json', '--index', '2')).toMatchObject({ exit: 0, data: { state: 'pending' } })
})

it('takes one that is signed with the SSH key that kvx.yaml names, and the set becomes active', () => {
  const key = ssh.make('fermi')
  const made = signs(3, 'three.json', key, '--manifest', manifest)
  expect(made, JSON.stringify(made.error)).toMatchObject({ exit: 0 })
  expect(confirm('three.json').error?.message).toContain('is by a key that is none of E. Fermi')
  writeConfig(`, ssh: "${ssh.publicLine(key)}"`)
  const done = confirm('three.json')
  expect(done, JSON.stringify(done.error)).toMatchObject({ exit: 0, data: { state: 'active' } })
  expect(done.data.shares[2]?.signedBy).toMatch(/^SHA256:/)
  const allowed = join(afar, 'allowed')
  writeFileSync(allowed, `fermi ${ssh.publicLine(key)}\n`)
  const kept = join(manifest, '..', `${set}-receipt-3-1.json`)
  const check = ['-Y', 'verify', '-f', allowed, '-I', 'fermi', '-n', 'kvx-share-receipt', '-s', `${kept}.sig`]
  execFileSync('ssh-keygen', check, { input: readFileSync(kept), stdio: ['pipe', 'ignore', 'ignore'] })
})

it('writes nothing for a damaged share, over no file, and for a dry run', async () => {
  const before = readdirSync(afar)
  const good = shareText(1)
  const wrong = good.slice(0, 50) + (good[50] === 'Q' ? 'P' : 'Q') + good.slice(51)
  const args = ['share', 'verify', '--share-fd', '0', '--sign', fingerprints[0] ?? '', '--receipt']
  const own = { HOME: afar, GNUPGHOME: machines[0]?.path ?? '', LC_ALL: 'C' }
  const at = { cwd: afar, env: own }
  expect(json([...args, 'new.json'], { ...at, input: wrong }).exit).toBe(5)
  expect(json([...args, 'one.json'], { ...at, input: good }).error?.code).toBe('TARGET_EXISTS')
  expect(json([...args, 'new.json', '--dry-run'], { ...at, input: good }).exit).toBe(3)
  expect(json([...args.slice(0, 4), '--receipt', 'new.json'], { ...at, input: good }).exit).toBe(2)
  expect(readdirSync(afar)).toEqual(before)
  const typed = ['share', 'verify', '--slot', '2', '--receipt', 'new.json', '--sign', fingerprints[0] ?? '']
  const { screen, exit } = await atTerminal(typed, [[/it is not shown:/, good]], {
    cwd: afar,
    env: { ...own, TERM: 'xterm' },
  })
  expect(exit, screen).toBe(3)
  expect(screen).toContain(`signed by ${fingerprints[0]}`)
  expect(existsSync(join(afar, 'new.json'))).toBe(true)
  expect(longestLeak(screen, good.slice(22))).toBeLessThan(8)
})
