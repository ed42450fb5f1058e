import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { splitShareTexts } from '../../src/core/share/share-lines.ts'
import { longestLeak } from '../core/share/fixture.ts'
import { kvx, type KvxDocument } from '../support/cli.ts'
import { GpgHome } from '../support/gpg.ts'

const people = ['A. Boole', 'C. Dirac', 'E. Fermi'] as const
const machines = people.map(() => new GpgHome())
const office = new GpgHome()
const folder = mkdtempSync('/var/tmp/kvx-delivery-')
const sent = join(folder, 'sent')
const program = join(folder, 'deliver.sh')
const env = { HOME: folder, GNUPGHOME: office.path, LC_ALL: 'C', COURIER: 'by night', SECRET_TOKEN: 'no' }
const fingerprints: string[] = []

type Set = {
  set: string
  state: string
  manifest: string
  shares: { index: number; file: string; deliveredAt: string | null; confirmed: boolean }[]
}

function json<T = Set>(args: readonly string[], input: string | Buffer = ''): KvxDocument<T> {
  const { stdout, stderr } = kvx([...args, '--json'], { cwd: folder, env, input })
  if (!stdout.startsWith('{')) throw new Error(`no document: ${stdout}${stderr}`)
  return JSON.parse(stdout) as KvxDocument<T>
}

function configText(): string {
  const deliver = (to: string) => `, deliver: { command: [${program}, ${to}], env: [COURIER] }`
  const named = people.map(
    (name, at) =>
      `{ name: ${name}, openpgp: ${fingerprints[at] ?? ''}${[deliver('boole'), deliver('nobody'), ''][at] ?? ''} }`,
  )
  return [
    'kvx: 1',
    'keys:',
    '  master:',
    '    purpose: kek',
    '    publish: [{ file: published.key }]',
    `    backup: { shares: { threshold: 2, of: 3, custodians: [${named.join(', ')}] } }`,
    '',
  ].join('\n')
}

beforeAll(() => {
  people.forEach((name, at) => {
    const machine = machines[at] ?? office
    fingerprints.push(machine.makeKey(`${name} <${at}@example.org>`))
    office.import(machine.exportPublic(fingerprints[at] ?? ''))
  })
  mkdirSync(sent)
  // Takes what comes on standard input, and notes what else it was told. It knows no recipient "nobody".
  const script = [
    '#!/bin/sh',
    `[ "$1" != nobody ] || { echo "no such person: $(cat)"; exit 3; }`,
    `cat > ${sent}/$1.asc`,
    `{ env; tr '\\0' ' ' < /proc/$$/cmdline; } > ${sent}/$1.told`,
    'echo taken',
    '',
  ]
  writeFileSync(program, script.join('\n'))
  chmodSync(program, 0o755)
  writeFileSync(join(folder, 'kvx.yaml'), configText(), { mode: 0o600 })
  for (const args of [['init'], ['keygen', 'master']]) expect(json(args).exit).toBe(0)
})

afterAll(() => {
  for (const gpg of [...machines, office]) gpg.remove()
  rmSync(folder, { recursive: true, force: true })
})

let made: KvxDocument<Set>

it('C16 gives the encrypted share of one custodian to the program that delivers it, on standard input alone', () => {
  expect(kvx(['backup', 'split', 'master', '--dry-run'], { cwd: folder, env }).stdout).toContain(program)
  expect(readdirSync(sent)).toEqual([])
  made = json(['backup', 'split', 'master'])
  expect(made.data).toMatchObject({ state: 'pending' })
  const [first] = made.data.shares
  expect(first?.deliveredAt).toMatch(/^20/)
  const got = readFileSync(join(sent, 'boole.asc'))
  expect(got).toEqual(readFileSync(first?.file ?? ''))
  const letter = machines[0]?.decrypt(got) ?? Buffer.alloc(0)
  expect(() => machines[1]?.decrypt(got)).toThrow()
  const told = readFileSync(join(sent, 'boole.told'), 'utf8')
  const [text = new Uint8Array()] = splitShareTexts(letter)
  const share = Buffer.from(text)
    .toString()
    .replaceAll(/^[1-4] {2}|[ \n]/gm, '')
  expect(longestLeak(told, share.slice(22))).toBeLessThan(8)
  for (const line of [
    'COURIER=by night',
    `KVX_SET=${made.data.set}`,
    'KVX_INDEX=1',
    'KVX_CUSTODIAN=A. Boole',
  ])
    expect(told).toContain(line)
  expect(told).not.toContain('SECRET_TOKEN')
  expect(told).toContain(`${program} boole`)
})

it('says which delivery failed; the set is whole, and the file can be given by the command that it names', () => {
  expect(made).toMatchObject({ exit: 9, error: { code: 'TOOL_FAILED' } })
  expect(made.error?.message).toContain('did not take share 2 for C. Dirac: exit code 3')
  // What the program said had the share in it.
  expect(JSON.stringify(made)).not.toContain('no such person')
  expect(made.data.shares.map(({ deliveredAt }) => deliveredAt === null)).toEqual([false, true, true])
  const command = /`(.* < .*)`/.exec(made.error?.hint ?? '')?.[1] ?? ''
  execFileSync('sh', ['-c', command.replace('nobody', 'dirac')], { env: { PATH: '/usr/bin:/bin' } })
  expect(machines[1]?.decrypt(readFileSync(join(sent, 'dirac.asc'))).toString()).toContain('share: 2 of 3')
  const listed = json<{ shareSets: Set[] }>(['backup', 'list']).data.shareSets
  expect(listed).toMatchObject([{ set: made.data.set, state: 'pending' }])
  expect(json(['audit', 'verify']).exit).toBe(0)
})

it('delivers a share that is made again, too', () => {
  const letters = [2, 3].map((index) => {
    const { file = '' } = made.data.shares[index - 1] ?? {}
    return machines[index - 1]?.decrypt(readFileSync(file)) ?? Buffer.alloc(0)
  })
  rmSync(join(sent, 'boole.asc'))
  const again = json<{ file: string }>(
    ['backup', 'recreate-share', made.data.set, '--index', '1', '--share-fd', '0'],
    Buffer.concat(letters),
  )
  expect(again, JSON.stringify(again.error)).toMatchObject({ exit: 0 })
  expect(readFileSync(join(sent, 'boole.asc'))).toEqual(readFileSync(again.data.file))
})

it('takes no program for somebody without an OpenPGP key, and none that is not there, before the key is read', () => {
  const path = join(folder, 'kvx.yaml')
  const good = readFileSync(path, 'utf8')
  writeFileSync(path, good.replace(/openpgp: \w+, deliver/, 'deliver'))
  expect(json(['backup', 'split', 'master'])).toMatchObject({ exit: 2, error: { code: 'CONFIG_INVALID' } })
  writeFileSync(path, good.replace(program, '/nonexistent/deliver'))
  const before = readdirSync(join(made.data.manifest, '../..'))
  expect(json(['backup', 'split', 'master'])).toMatchObject({ exit: 9, error: { code: 'TOOL_MISSING' } })
  expect(readdirSync(join(made.data.manifest, '../..'))).toEqual(before)
  writeFileSync(path, good)
})
