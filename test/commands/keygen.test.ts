import { spawn, spawnSync } from 'node:child_process'
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { hkdfSync } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { createHome } from '../../src/keyring/init-home.ts'
import { aclOf, expectSilence, treeHash } from '../checks/tree.ts'
import { type CliOptions, kvx, kvxBin, kvxJson, kvxOk, startKvx } from '../support/cli.ts'
import { needsOtherUsers, needsRoot, needsTool } from '../support/needs.ts'
import { run, trustedDirectory } from '../support/trusted-directory.ts'

beforeEach((context) => needsTool(context, 'setfacl'))

type Made = {
  readonly name: string
  readonly version: number | null
  readonly path: string
  readonly encoding: string
  readonly fingerprint: string
  readonly checkValue: string
  readonly mode: string
  readonly owner: string
  readonly group: string
  readonly readers: readonly string[]
}

/** The fingerprint by the formula of the design, with node:crypto in the place of the product's code. */
function fingerprintOf(key: Uint8Array): string {
  return Buffer.from(hkdfSync('sha256', key, '', 'kvx/key-fingerprint/v1', 32)).toString('hex')
}

function keygen(args: readonly string[], options: CliOptions = {}): Made {
  const document = kvxJson<Made>(['keygen', ...args], options)
  expect(document).toMatchObject({ schema: 'kvx.keygen/1', ok: true, exit: 0 })
  return document.data
}

function nobodysDirectory(): string {
  const directory = trustedDirectory()
  chownSync(directory, 65534, 65534)
  return directory
}

const nobody = { uid: 65534, gid: 65534 }

describe('a bare key file', () => {
  test('has 32 bytes, mode 0640, the ACL entry of each reader and a mask that cuts nothing', (context) => {
    needsRoot(context)
    const directory = trustedDirectory()
    const made = keygen(['tk', '--dir', directory, '--reader', '4242', '--reader', '4243'])
    const path = join(directory, 'tk.key')
    const key = readFileSync(path)
    expect(key.length).toBe(32)
    expect(aclOf(path)).toEqual([
      'user::rw-',
      'group::r--',
      'group:4242:r--',
      'group:4243:r--',
      'mask::r--',
      'other::---',
    ])
    const fingerprint = fingerprintOf(key)
    expect(made).toMatchObject({
      name: 'tk',
      version: null,
      path,
      encoding: 'raw',
      fingerprint,
      checkValue: fingerprint.slice(0, 10).toUpperCase(),
      mode: '0640',
      owner: 'root',
      group: 'root',
      readers: ['4242', '4243'],
    })
    expect(readdirSync(directory)).toEqual(['tk.key'])
  })

  test('is made as any user who owns the directory, without a configuration', (context) => {
    needsOtherUsers(context)
    const directory = nobodysDirectory()
    const made = keygen(['tk', '--dir', directory, '--reader', '4242'], { ...nobody, cwd: '/' })
    expect(made).toMatchObject({ mode: '0640', readers: ['4242'] })
    const facts = statSync(join(directory, 'tk.key'))
    expect([facts.uid, facts.gid, facts.mode & 0o7777]).toEqual([65534, 65534, 0o640])
    expect(aclOf(join(directory, 'tk.key'))).toContain('group:4242:r--')
  })

  test('is read by its readers and by nobody else', (context) => {
    needsRoot(context)
    const directory = trustedDirectory(0o711)
    kvxOk(['keygen', 'tk', '--dir', directory, '--reader', '4242'])
    const read = (gid: number): number | null =>
      spawnSync('cat', [join(directory, 'tk.key')], { uid: 777_777, gid }).status
    expect([read(4242), read(4243)]).toEqual([0, 1])
  })

  test.each(['000', '022', '077', '777'])('has exactly its mode under umask %s', (umask) => {
    const directory = trustedDirectory()
    for (const mode of ['0640', '600', '0440', '0400']) {
      const out = join(directory, mode)
      const script = `umask ${umask}; exec "$0" keygen tk --out "$1" --mode ${mode}`
      expect(spawnSync('sh', ['-c', script, kvxBin, out]).status).toBe(0)
      expect((statSync(out).mode & 0o7777).toString(8)).toBe(mode.replace(/^0/, ''))
    }
  })

  test('takes nothing from a hostile default ACL of its directory', () => {
    const directory = trustedDirectory()
    run('setfacl', '-d', '-m', 'u:4242:rwx,g:4243:rw,g::rw,o::r,m::rwx', directory)
    kvxOk(['keygen', 'a', '--dir', directory])
    kvxOk(['keygen', 'b', '--dir', directory, '--reader', '4244', '--mode', '0600'])
    expect(aclOf(join(directory, 'a.key'))).toEqual(['user::rw-', 'group::r--', 'other::---'])
    expect(aclOf(join(directory, 'b.key'))).toEqual([
      'user::rw-',
      'group::---',
      'group:4244:r--',
      'mask::r--',
      'other::---',
    ])
  })

  test('gets the owner and the group that are named', (context) => {
    needsRoot(context)
    const out = join(trustedDirectory(), 'kek')
    const made = keygen(['kek', '--out', out, '--owner', '4241', '--group', '4242', '--mode', '0400'])
    expect(made).toMatchObject({ owner: '4241', group: '4242', mode: '0400' })
    const facts = statSync(out)
    expect([facts.uid, facts.gid]).toEqual([4241, 4242])
  })

  test('is followed by a check that finds nothing', (context) => {
    needsRoot(context)
    const directory = trustedDirectory()
    const args = ['keygen', 'tk', '--dir', directory, '--reader', '4242', '--owner', '4241']
    const next = /Next: kvx (check .*)$/m.exec(kvxOk(args).stdout)?.[1] ?? ''
    expect(kvx(next.split(' ')).exit).toBe(0)
    expect(kvxJson([...next.split(' '), '--fail-on', 'warning']).data).toMatchObject({
      findings: [],
      checked: 1,
    })
  })
})

describe('the bytes', () => {
  test('are others each time: 32 keys are 32', () => {
    const directory = trustedDirectory()
    const names = Array.from({ length: 32 }, (_, at) => `k${at}`)
    for (const name of names) kvxOk(['keygen', name, '--dir', directory])
    const keys = names.map((name) => readFileSync(join(directory, `${name}.key`), 'hex'))
    expect(new Set(keys).size).toBe(32)
    // All 256 values of a byte are possible: 1024 random bytes show nearly all of them.
    expect(new Set(Buffer.from(keys.join(''), 'hex')).size).toBeGreaterThan(230)
  })

  test.each([
    ['raw', 32, /^[^]*$/],
    ['hex', 64, /^[0-9a-f]{64}$/],
    ['base64', 44, /^[A-Za-z0-9+/]{43}=$/],
    ['base64url', 43, /^[A-Za-z0-9_-]{43}$/],
  ] as const)('are written as %s, without a line break', (encoding, size, shape) => {
    const out = join(trustedDirectory(), 'key')
    const result = kvx(['keygen', 'k', '--out', out, '--encoding', encoding, '--json'])
    const { fingerprint } = (JSON.parse(result.stdout) as { data: Made }).data
    const bytes = readFileSync(out)
    expect(bytes.length).toBe(size)
    expect(bytes.toString('latin1')).toMatch(shape)
    // Decoded by the tools of the system, not by the product.
    const tools = {
      raw: 'cat',
      hex: 'tr a-f A-F | basenc --base16 -d',
      base64: 'base64 -d',
      base64url: 'basenc --base64url -d',
    }
    const input = encoding === 'base64url' ? Buffer.concat([bytes, Buffer.from('=')]) : bytes
    const key = spawnSync('sh', ['-c', tools[encoding]], { input }).stdout
    expect(key.length).toBe(32)
    expect(fingerprintOf(key)).toBe(fingerprint)
    expectSilence(result, key, bytes)
    expectSilence(kvxOk(['check', out]), key, bytes)
  })

  test('are not in what a person sees', () => {
    const out = join(trustedDirectory(), 'key')
    expectSilence(kvxOk(['keygen', 'k', '--out', out]), readFileSync(out))
  })
})

describe('never over what is there', () => {
  test.each(['file', 'empty file', 'directory', 'dangling link', 'link to a file', 'FIFO'])('%s', (kind) => {
    const directory = trustedDirectory()
    const path = join(directory, 'tk.key')
    if (kind === 'file') writeFileSync(path, 'precious', { mode: 0o600 })
    if (kind === 'empty file') writeFileSync(path, '')
    if (kind === 'directory') mkdirSync(path)
    if (kind === 'dangling link') symlinkSync(join(directory, 'elsewhere'), path)
    if (kind === 'link to a file') {
      writeFileSync(join(directory, 'other'), 'precious')
      symlinkSync(join(directory, 'other'), path)
    }
    if (kind === 'FIFO') run('mkfifo', path)
    const before = treeHash(directory)
    for (const args of [
      ['--dir', directory],
      ['--out', path],
      ['--out', path, '--dry-run'],
    ]) {
      const document = kvxJson(['keygen', 'tk', ...args])
      expect(document).toMatchObject({ ok: false, exit: 2, error: { code: 'TARGET_EXISTS' } })
    }
    expect(treeHash(directory)).toBe(before)
  })

  test('of twelve that make the same key at once, one wins and its key is whole', async () => {
    const directory = trustedDirectory()
    const runs = Array.from({ length: 12 }, async () => {
      const child = startKvx(['keygen', 'tk', '--dir', directory, '--json'])
      let output = ''
      child.stdout.on('data', (text: Buffer) => (output += text.toString()))
      return new Promise<{ exit: number | null; output: string }>((done) => {
        child.on('close', (exit) => done({ exit, output }))
      })
    })
    const ended = await Promise.all(runs)
    const winners = ended.filter(({ exit }) => exit === 0)
    expect(ended.map(({ exit }) => exit).toSorted((a, b) => Number(a) - Number(b))).toEqual([
      0,
      ...Array<number>(11).fill(2),
    ])
    const { data } = JSON.parse(winners[0]?.output ?? '') as { data: Made }
    expect(data.fingerprint).toBe(fingerprintOf(readFileSync(join(directory, 'tk.key'))))
    expect(readdirSync(directory)).toEqual(['tk.key'])
  })
})

/** Starts a keygen whose last step is delayed, and waits until nothing but that step is left. */
async function delayed(directory: string): Promise<{ readonly ended: Promise<number | null> }> {
  const calls = 'link,linkat,rename,renameat,renameat2'
  const inject = ['-e', `trace=${calls}`, '-e', `inject=${calls}:delay_enter=3s`]
  // The cache of compiled code renames files too: only calls on the key count.
  const strace = ['-f', '-qq', '-o', '/dev/null', '-P', join(directory, 'tk.key'), ...inject]
  const child = spawn('strace', [...strace, kvxBin, 'keygen', 'tk', '--dir', directory], {
    stdio: 'ignore',
  })
  const ended = new Promise<number | null>((done) => child.on('close', (exit) => done(exit)))
  const temp = join(directory, '.tk.key.kvx-new')
  for (let at = 0; at < 500 && !(existsSync(temp) && statSync(temp).size === 32); at++) await sleep(20)
  await sleep(700)
  return { ended }
}

describe('in the moment before the new file gets its name', () => {
  test('a file that somebody else puts there stays', async (context) => {
    needsTool(context, 'strace')
    const directory = trustedDirectory()
    const path = join(directory, 'tk.key')
    const { ended } = await delayed(directory)
    writeFileSync(path, 'precious', { flag: 'wx' })
    expect(await ended).toBe(2)
    expect(readFileSync(path, 'utf8')).toBe('precious')
    expect(readdirSync(directory)).toEqual(['tk.key'])
  })

  test('a second keygen waits for the first, whose key stays whole', async (context) => {
    needsTool(context, 'strace')
    const directory = trustedDirectory()
    const { ended } = await delayed(directory)
    const second = kvxJson(['keygen', 'tk', '--dir', directory])
    expect(second).toMatchObject({ exit: 2, error: { code: 'TARGET_EXISTS' } })
    expect(await ended).toBe(0)
    expect(readdirSync(directory)).toEqual(['tk.key'])
  })
})

describe('--dry-run', () => {
  test('tells what would be made and writes nothing', () => {
    const directory = trustedDirectory()
    const before = treeHash(directory)
    const args = ['tk', '--dir', directory, '--reader', '4242', '--mode', '0600', '--dry-run']
    const made = keygen(args)
    expect(made).toMatchObject({ path: join(directory, 'tk.key'), mode: '0640', readers: ['4242'] })
    expect(made).toMatchObject({ fingerprint: null, checkValue: null, dryRun: true })
    expect(kvxOk(['keygen', ...args]).stdout).toContain('Nothing was written')
    expect(treeHash(directory)).toBe(before)
    expect(keygen(args.slice(0, -1)).mode).toBe(made.mode)
  })
})

describe('without a place', () => {
  test('names both ways when there is no configuration', () => {
    const result = kvxJson(['keygen', 'tk'], { cwd: trustedDirectory() })
    expect(result).toMatchObject({ exit: 2, error: { code: 'CONFIG_NOT_FOUND' } })
    expect(result.error?.hint).toMatch(/`kvx keygen tk --dir DIR`.*`kvx init`/)
  })

  test('refuses flags that the configuration declares', () => {
    for (const flag of [
      ['--mode', '0600'],
      ['--reader', 'root'],
      ['--encoding', 'hex'],
      ['--owner', 'root'],
    ]) {
      const result = kvxJson(['keygen', 'tk', ...flag], { cwd: trustedDirectory() })
      expect(result).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
    }
  })
})

async function configured(): Promise<{ readonly directory: string; readonly args: readonly string[] }> {
  const directory = trustedDirectory()
  await createHome(join(directory, 'home'))
  const config = join(directory, 'kvx.yaml')
  const publish = `[{ file: ${directory}/tk.key, mode: "0640", readers: ["4242"] }]`
  writeFileSync(config, `kvx: 1\nhome: home\nkeys:\n  tk:\n    purpose: vault\n    publish: ${publish}\n`, {
    mode: 0o600,
  })
  return { directory, args: ['--config', config] }
}

describe('a key that the configuration names', () => {
  test('is registered as version 1 in the home, 0600, and published as declared', async () => {
    const { directory, args } = await configured()
    const made = keygen(['tk', ...args, '--purpose', 'vault'])
    const home = join(directory, 'home/keys/tk.v1.key')
    const key = readFileSync(home)
    const mode = '0600'
    expect(made).toMatchObject({ version: 1, path: home, fingerprint: fingerprintOf(key), mode, readers: [] })
    expect(statSync(home).mode & 0o7777).toBe(0o600)
    expect(readFileSync(join(directory, 'tk.key'))).toEqual(key)
    expect(aclOf(join(directory, 'tk.key'))).toContain('group:4242:r--')
    expect(kvxJson(['keygen', 'tk', ...args])).toMatchObject({ exit: 2, error: { code: 'KEY_EXISTS' } })
    expect(readFileSync(home)).toEqual(key)
  })

  test('is not made by --dry-run, nor with another purpose or under another name', async () => {
    const { directory, args } = await configured()
    const before = treeHash(directory)
    expect(keygen(['tk', ...args, '--dry-run'])).toMatchObject({ fingerprint: null, dryRun: true })
    const other = kvxJson(['keygen', 'tk', ...args, '--purpose', 'kek'])
    expect(other).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
    const unknown = kvxJson(['keygen', 'tkk', ...args])
    expect(unknown).toMatchObject({ exit: 2, error: { code: 'KEY_UNKNOWN' } })
    expect(unknown.error?.hint).toContain('`kvx keygen tkk --dir DIR`')
    expect(treeHash(directory)).toBe(before)
  })
})
