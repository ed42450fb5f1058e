/**
 * Operator stories over directories: Bundoc's files under one data key, and Origan's metadata copies with a
 * wrapped DEK in each. Both applications are written here with node:crypto alone, so what they read is evidence.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, type TestContext, test } from 'vitest'
import { kvx, kvxBin, kvxJson, type KvxDocument, startKvx } from '../support/cli.ts'
import { needsOtherUsers, needsTool } from '../support/needs.ts'

const untested = ['--without-backup', '--reason', 'a test system'] as const
const folders: string[] = []
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })))

function seal(key: Buffer, plaintext: Buffer, nonceLength: number): Buffer {
  const nonce = randomBytes(nonceLength)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

function open(key: Buffer, sealed: Buffer, nonceLength: number): Buffer {
  const nonce = sealed.subarray(0, nonceLength)
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(nonceLength, -16)), decipher.final()])
}

function filesBelow(root: string): readonly string[] {
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' })
  return names.filter((name) => statSync(join(root, name)).isFile()).sort()
}

/** Names, modes and bytes of everything below, in names that need not be UTF-8. */
function treeHash(root: string): string {
  const script =
    'find . -printf "%p %m %U %G %l\\n" | LC_ALL=C sort; find . -type f -exec sha256sum {} + | LC_ALL=C sort'
  return execFileSync('sh', ['-c', `(${script}) | sha256sum`], { cwd: root, encoding: 'utf8' })
}

type Reading = { readonly opened: number; readonly failed: number }

/** One kind of application: what it writes, reads, and how kvx.yaml describes it. */
type Shape = {
  readonly purpose: 'data' | 'kek'
  readonly work: 'reencrypt' | 'rewrap'
  readonly files: (key: Buffer, count: number) => Readonly<Record<string, Buffer>>
  /** The file's secrets; throws when one does not open. */
  readonly read: (key: Buffer, bytes: Buffer) => readonly string[]
  readonly store: string
  readonly envelope: readonly string[]
}

/** Bundoc: `[nonce 12 | ciphertext tag]` in `projects/PROJECT/docs/…`. */
const bundoc: Shape = {
  purpose: 'data',
  work: 'reencrypt',
  files: (key, count) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, index) => {
        const document = JSON.stringify({ secret: `document ${index}`, padding: 'x'.repeat(index) })
        const path = `projects/p${index % 5}/docs/${index % 3 === 0 ? 'deep/er/' : ''}doc ${index}.bin`
        return [path, seal(key, Buffer.from(document), 12)]
      }),
    ),
  read: (key, bytes) => [(JSON.parse(open(key, bytes, 12).toString()) as { secret: string }).secret],
  store: '{ directory: ./data, match: "projects/*/docs/**" }',
  envelope: ['value: { aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }'],
}

type Variables = Readonly<Record<string, { type: string; encrypted?: boolean; value: string | null }>>
type Metadata = {
  readonly projectId: string
  readonly encryptedDEK: string
  readonly environmentVariables: Variables
}

/** Every way in which programs write the same JSON. */
function written(metadata: object, index: number): string {
  const text = JSON.stringify(metadata, null, index % 4)
  if (index % 5 === 1) return text.replaceAll('/', '\\/')
  if (index % 5 === 2) return `\r\n${text.replaceAll('\n', '\r\n')}\r\n`
  return index % 5 === 3 ? text.replace('"note":', '"note"\t: ') : `${text}\n`
}

/** Origan: a copy of `metadata.json` for each deployment, two levels, nonces of 16 bytes, base64. */
const origan: Shape = {
  purpose: 'kek',
  work: 'rewrap',
  files: (key, count) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, index) => {
        const dek = randomBytes(32)
        const secret = (name: string) => ({
          type: 'secret',
          encrypted: true,
          value: seal(dek, Buffer.from(`${name} of ${index}`), 16).toString('base64'),
        })
        const metadata = {
          environmentVariables: {
            API_URL: { type: 'plain', value: 'https://api.example.com/é' },
            DATABASE_URL: secret('DATABASE_URL'),
            ...(index % 2 === 0 ? { 'api.token': secret('api.token') } : {}),
            EMPTY: { type: 'secret', encrypted: false, value: null },
          },
          projectId: `project-${index % 4}`,
          encryptedDEK: seal(key, dek, 16).toString('base64'),
          big: 1e21,
          note: 'encryptedDEK 🔑 "quoted"',
        }
        return [`deployments/d${index}/metadata.json`, Buffer.from(written(metadata, index))]
      }),
    ),
  read: (key, bytes) => {
    const { encryptedDEK, environmentVariables } = JSON.parse(bytes.toString()) as Metadata
    const dek = open(key, Buffer.from(encryptedDEK, 'base64'), 16)
    const secrets = Object.values(environmentVariables).filter(({ encrypted }) => encrypted)
    return secrets.map(({ value }) => open(dek, Buffer.from(String(value), 'base64'), 16).toString())
  },
  store: '{ directory: ./data, match: "deployments/*/metadata.json", format: json }',
  envelope: [
    'plaintext: true',
    'dek: { column: encryptedDEK, aead: aes-256-gcm, layout: "base64(nonce:16 ct tag:16)" }',
    'value:',
    ...['environmentVariables.DATABASE_URL.value', 'environmentVariables.API_URL.value'].map(
      (column) => `  - { column: ${column}, aead: aes-256-gcm, layout: "base64(nonce:16 ct tag:16)" }`,
    ),
    '  - { column: /environmentVariables/api.token/value, aead: aes-256-gcm, layout: "base64(nonce:16 ct tag:16)" }',
  ],
}

/** An application over a directory, its published key, and a home. */
class Site {
  readonly path: string
  readonly shape: Shape
  readonly count: number

  constructor(path: string, shape: Shape, count: number) {
    this.path = path
    this.shape = shape
    this.count = count
    folders.push(path)
  }

  get data(): string {
    return join(this.path, 'data')
  }

  json<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    return kvxJson<T>(args, { cwd: this.path, env: { HOME: this.path } })
  }

  ok<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    const document = this.json<T>(...args)
    if (document.exit === 0) return document
    throw new Error(`kvx ${args.join(' ')} ended with ${document.exit}: ${JSON.stringify(document.error)}`)
  }

  /** What the application reads its key from, or what it read from it before a rotation. */
  key(slot: 'app.key' | 'app.key.previous' = 'app.key'): Buffer {
    return readFileSync(join(this.path, 'keys', slot))
  }

  contents(): ReadonlyMap<string, Buffer> {
    return new Map(filesBelow(this.data).map((path) => [path, readFileSync(join(this.data, path))]))
  }

  read(key: Buffer): Reading {
    let [opened, failed] = [0, 0]
    for (const bytes of this.contents().values()) {
      try {
        this.shape.read(key, bytes)
        opened++
      } catch {
        failed++
      }
    }
    return { opened, failed }
  }

  /** What every file holds, whichever of the keys opens it. */
  secrets(...keys: readonly Buffer[]): Readonly<Record<string, readonly string[]>> {
    const read = (bytes: Buffer): readonly string[] => {
      for (const key of keys) {
        try {
          return this.shape.read(key, bytes)
        } catch {
          continue
        }
      }
      return ['lost']
    }
    return Object.fromEntries([...this.contents()].map(([path, bytes]) => [path, read(bytes)]))
  }

  config(store = this.shape.store, envelope = this.shape.envelope): void {
    const text = [
      'kvx: 1',
      'keys:',
      '  master:',
      `    purpose: ${this.shape.purpose}`,
      '    publish: [{ file: keys/app.key, previous: keys/app.key.previous, encoding: raw }]',
      'stores:',
      `  docs: ${store}`,
      'envelopes:',
      '  app.docs:',
      '    store: docs',
      '    key: master',
      ...envelope.map((line) => `    ${line}`),
      '',
    ]
    writeFileSync(join(this.path, 'kvx.yaml'), text.join('\n'), { mode: 0o600 })
  }

  copy(): Site {
    const path = mkdtempSync('/var/tmp/kvx-site-')
    execFileSync('cp', ['-a', `${this.path}/.`, path])
    return new Site(path, this.shape, this.count)
  }
}

function makeSite(shape: Shape, count: number, store?: string): Site {
  const site = new Site(mkdtempSync('/var/tmp/kvx-site-'), shape, count)
  const key = randomBytes(32)
  mkdirSync(join(site.path, 'keys'), { mode: 0o755 })
  writeFileSync(join(site.path, 'keys/app.key'), key, { mode: 0o640 })
  for (const [path, bytes] of Object.entries(shape.files(key, count))) {
    mkdirSync(dirname(join(site.data, path)), { recursive: true })
    writeFileSync(join(site.data, path), bytes, { mode: 0o640 })
  }
  site.ok('init')
  site.config(store)
  site.ok('key', 'import', 'master')
  return site
}

type Census = { readonly records: number; readonly byVersion: Record<string, number> }

function census(site: Site): Census | undefined {
  return site.ok<{ envelopes: Census[] }>('verify').data.envelopes[0]
}

type Runs = {
  readonly runs: readonly { readonly id: string; readonly kind: string; readonly status: string }[]
}

function lastRun(site: Site, kind: string): string {
  return site.ok<Runs>('run', 'list').data.runs.find((run) => run.kind === kind)?.id ?? 'none'
}

const rotated = (site: Site): Site => {
  site.ok('rotate', 'master', '--offline', '--yes', ...untested)
  return site
}

/** The document with the one member blanked that a rewrap may change. */
const withoutDek = (bytes: Buffer): string => {
  const text = bytes.toString()
  const at = text.indexOf('"', text.search(/"encryptedDEK"\s*:/) + '"encryptedDEK"'.length)
  return text.slice(0, at) + text.slice(text.indexOf('"', at + 1))
}

describe.each([
  ['300 files of Bundoc under one data key', bundoc, 300],
  ['60 metadata copies of Origan with a wrapped DEK in each', origan, 60],
] as const)('%s', (_, shape, count) => {
  test('move to a new key file by file: the new key opens everything, the old one nothing', () => {
    const site = makeSite(shape, count)
    const before = site.contents()
    const oldKey = site.key()
    const secrets = site.secrets(oldKey)
    const modes = new Map([...before.keys()].map((path) => [path, statSync(join(site.data, path)).mode]))
    expect(census(site)).toMatchObject({ records: count, byVersion: { 'master@1': count } })

    rotated(site)
    const newKey = site.key()
    expect(site.key('app.key.previous')).toEqual(oldKey)
    const moved = site.ok<{ envelopes: { changed: number; quarantined: number }[] }>(shape.work, '--yes')
    expect(moved.data.envelopes[0]).toMatchObject({ changed: count, quarantined: 0 })
    expect(census(site)).toMatchObject({ records: count, byVersion: { 'master@2': count } })

    expect(site.read(newKey)).toEqual({ opened: count, failed: 0 })
    expect(site.read(oldKey)).toEqual({ opened: 0, failed: count })
    expect(site.secrets(newKey)).toEqual(secrets)
    const after = site.contents()
    expect([...after.keys()]).toEqual([...before.keys()])
    for (const [path, bytes] of after) {
      expect(statSync(join(site.data, path)).mode).toBe(modes.get(path))
      if (shape === origan) expect(withoutDek(bytes)).toBe(withoutDek(before.get(path) ?? Buffer.alloc(0)))
    }
    site.ok('retire', 'master@1', '--confirm', 'master@1')
    expect(site.ok<{ problemCount: number }>('audit', 'verify').data.problemCount).toBe(0)
    expect(site.json(shape.work, '--yes')).toMatchObject({ exit: 0 }) // once more: nothing to do
    expect(site.contents()).toEqual(after)
  }, 300_000)
})

describe.each([
  ['offline', bundoc, bundoc.store],
  ['online by exchange', bundoc, '{ directory: ./data, match: "projects/*/docs/**", online: exchange }'],
  ['JSON', origan, origan.store],
] as const)('a run killed at any point (%s)', (_, shape, store) => {
  const count = 12

  function killedAt(site: Site, call: string, when: number): boolean {
    const options = ['-f', '-qq', '-o', '/dev/null', '-e', `trace=${call}`]
    const inject = ['-e', `inject=${call}:signal=KILL:when=${when}`]
    const args = [shape.work, '--yes', '--batch', '4']
    const result = spawnSync('strace', [...options, ...inject, kvxBin, ...args], {
      cwd: site.path,
      env: { PATH: process.env['PATH'] ?? '', HOME: site.path, UV_THREADPOOL_SIZE: '1' },
    })
    return result.signal === 'SIGKILL' || result.status === 137
  }

  test('is resumed to its end without a loss', (context: TestContext) => {
    needsTool(context, 'strace')
    const template = rotated(makeSite(shape, count, store))
    const [newKey, oldKey] = [template.key(), template.key('app.key.previous')]
    const secrets = template.secrets(oldKey)
    let killed = 0
    for (const [call, points] of [
      ['rename', [3, 7, 12]],
      ['fsync', [12, 23, 34]],
      ['unlink', [3, 9]],
    ] as const) {
      for (const when of points) {
        const site = template.copy()
        if (!killedAt(site, call, when)) continue
        killed++
        const found = Object.fromEntries(
          Object.entries(site.secrets(newKey, oldKey)).filter(([path]) => !path.endsWith('.kvx-new')),
        )
        expect(found, `killed at ${call} ${when}`).toEqual(secrets)
        const isOpen = site.ok<Runs>('run', 'list').data.runs.some(({ status }) => status === 'open')
        if (isOpen) site.ok('run', 'resume')
        else site.ok(shape.work, '--yes')
        expect(site.read(newKey), `resumed after ${call} ${when}`).toEqual({ opened: count, failed: 0 })
        expect(Object.keys(site.secrets(newKey))).toEqual(Object.keys(secrets)) // no leftover either
      }
    }
    expect(killed).toBeGreaterThanOrEqual(6)
  }, 600_000)
})

describe.each([
  ['files', bundoc],
  ['JSON', origan],
] as const)('the way back (%s)', (_, shape) => {
  const count = 15

  test('rolls a run back: the old key opens everything again', () => {
    const site = makeSite(shape, count)
    const secrets = site.secrets(site.key())
    const before = site.contents()
    const oldKey = site.key()
    site.ok('rotate', 'master', '--offline', '--yes', '--then', 'data', ...untested)
    const newKey = site.key()
    expect(site.read(newKey).opened).toBe(count)
    site.ok('run', 'rollback', lastRun(site, 'rotate'), '--yes')
    expect(site.secrets(oldKey)).toEqual(secrets)
    expect(site.read(newKey).opened).toBe(0)
    for (const [path, bytes] of site.contents()) {
      if (shape === origan) expect(withoutDek(bytes)).toBe(withoutDek(before.get(path) ?? Buffer.alloc(0)))
    }
  }, 300_000)

  test('restores the bytes of before, deleted files and their directories too, and keeps what was written since', () => {
    const site = rotated(makeSite(shape, count))
    const before = site.contents()
    const oldKey = site.key('app.key.previous')
    site.ok(shape.work, '--yes')
    const run = lastRun(site, shape.work)
    const [gone, folder] =
      shape === bundoc
        ? ['projects/p1/docs/doc 1.bin', 'projects/p4']
        : ['deployments/d3/metadata.json', 'deployments/d7']
    rmSync(join(site.data, gone))
    rmSync(join(site.data, folder), { recursive: true })
    site.ok('run', 'restore', run, '--yes')
    expect(site.contents()).toEqual(before)
    expect(statSync(join(site.data, gone)).mode & 0o777).toBe(shape === bundoc ? 0o640 : 0o600)

    site.ok(shape.work, '--yes')
    const again = lastRun(site, shape.work)
    const [fresh = ''] = Object.values(shape.files(oldKey, 1)).map((bytes) => bytes.toString('latin1'))
    writeFileSync(join(site.data, gone), fresh, 'latin1')
    const held = treeHash(site.data)
    expect(site.json('run', 'restore', again, '--yes')).toMatchObject({
      exit: 6,
      error: { code: 'VALUES_REMAIN' },
    })
    expect(treeHash(site.data)).toBe(held)
  }, 300_000)
})

test('a writer that goes on beside a run loses nothing, and what it wrote under the old key moves too', async () => {
  const count = 40
  const site = rotated(
    makeSite(bundoc, count, '{ directory: ./data, match: "projects/*/docs/**", online: exchange }'),
  )
  const [newKey, oldKey] = [site.key(), site.key('app.key.previous')]
  const expected = new Map(
    Object.entries(site.secrets(oldKey)).map(([path, [secret = '']]) => [path, secret]),
  )
  const paths = [...expected.keys()]
  const run = startKvx(['reencrypt', '--yes', '--batch', '8', '--json'], {
    cwd: site.path,
    env: { HOME: site.path },
  })
  const ended = new Promise<number | null>((done) => run.on('close', done))
  let exit: number | null | undefined
  void ended.then((code) => (exit = code))
  for (let writes = 0; exit === undefined && writes < 60; writes++) {
    const path = paths[Math.floor(Math.random() * paths.length)] ?? ''
    const secret = `written meanwhile ${writes}`
    const temporary = join(site.data, dirname(path), '.writer.tmp')
    writeFileSync(temporary, seal(oldKey, Buffer.from(JSON.stringify({ secret })), 12), { mode: 0o640 })
    renameSync(temporary, join(site.data, path))
    expected.set(path, secret)
    await sleep(40)
  }
  if ((await ended) === 0) site.ok('reencrypt', '--yes')
  else site.ok('run', 'resume') // it gave up naming the writer, which has ended by now
  expect(
    Object.fromEntries(Object.entries(site.secrets(newKey)).map(([path, [secret]]) => [path, secret])),
  ).toEqual(Object.fromEntries(expected))
}, 300_000)

describe('bad input', () => {
  const secret = 'TOP-SECRET-VALUE'
  const put = (site: Site, path: string, content: string | Buffer): void => {
    mkdirSync(dirname(join(site.data, path)), { recursive: true })
    writeFileSync(join(site.data, path), content)
  }
  const first = (site: Site): string => join(site.data, filesBelow(site.data)[0] ?? '')
  type Case = readonly [title: string, shape: Shape, exit: number, code: string, harm: (site: Site) => void]
  const json = 'deployments/x/metadata.json'
  const cases: readonly Case[] = [
    [
      'a file that is not sealed',
      bundoc,
      5,
      'UNREADABLE_RECORDS',
      (site) => put(site, 'projects/p1/docs/plain', secret),
    ],
    ['an empty file', bundoc, 5, 'UNREADABLE_RECORDS', (site) => put(site, 'projects/p1/docs/empty', '')],
    [
      'a file of another key',
      bundoc,
      5,
      'UNREADABLE_RECORDS',
      (site) => put(site, 'projects/p1/docs/other', seal(randomBytes(32), Buffer.from(secret), 12)),
    ],
    [
      'a symbolic link',
      bundoc,
      2,
      'STORE_SHAPE',
      (site) => symlinkSync('/etc/passwd', join(site.data, 'projects/p1/docs/link')),
    ],
    [
      'a directory that is missing',
      bundoc,
      2,
      'FILE_NOT_FOUND',
      (site) => rmSync(site.data, { recursive: true }),
    ],
    [
      'a pattern that leads out',
      bundoc,
      2,
      'STORE_SHAPE',
      (site) => site.config('{ directory: ./data, match: "../**" }'),
    ],
    [
      'an unknown member of the store',
      bundoc,
      2,
      'CONFIG_INVALID',
      (site) => site.config('{ directory: ./data, matches: "**" }'),
    ],
    [
      'an unknown format',
      bundoc,
      2,
      'CONFIG_INVALID',
      (site) => site.config('{ directory: ./data, match: "**", format: yaml }'),
    ],
    [
      'two kinds of store in one',
      bundoc,
      2,
      'CONFIG_INVALID',
      (site) => site.config('{ directory: ./data, match: "**", sqlite: app.db }'),
    ],
    [
      'a table in a file of one value',
      bundoc,
      2,
      'STORE_SHAPE',
      (site) =>
        site.config(undefined, [
          'value: { column: secret, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }',
        ]),
    ],
    [
      'a name that is not UTF-8',
      bundoc,
      6,
      'UNSAFE_FILE_TYPE',
      (site) =>
        writeFileSync(
          Buffer.concat([Buffer.from(`${site.data}/projects/p1/docs/`), Buffer.from([0xfe])]),
          secret,
        ),
    ],
    [
      'a trailing comma',
      origan,
      2,
      'STORE_SHAPE',
      (site) => put(site, json, `{"encryptedDEK":"${secret}",}`),
    ],
    [
      'two documents in a file',
      origan,
      2,
      'STORE_SHAPE',
      (site) => put(site, json, `{"encryptedDEK":"${secret}"}{}`),
    ],
    [
      'a member that occurs twice',
      origan,
      2,
      'STORE_SHAPE',
      (site) => put(site, json, `{"encryptedDEK":"${secret}","encryptedDEK":"x"}`),
    ],
    [
      'an id beyond 2^53',
      origan,
      2,
      'STORE_SHAPE',
      (site) => {
        put(site, 'x.jsonl', `{"id":9007199254740993,"encryptedDEK":"${secret}"}\n`)
        site.config('{ directory: ./data, match: x.jsonl, format: jsonl }', ['id: id', ...origan.envelope])
      },
    ],
    [
      'a DEK that is no base64',
      origan,
      5,
      'UNREADABLE_RECORDS',
      (site) => put(site, json, `{"encryptedDEK":"${secret}!"}`),
    ],
    [
      'a file cut in the middle',
      origan,
      2,
      'STORE_SHAPE',
      (site) => writeFileSync(first(site), readFileSync(first(site)).subarray(0, 90)),
    ],
  ]

  test.each(cases)(
    'refuses %s, says which, shows no secret, and changes nothing',
    (_, shape, exit, code, harm) => {
      const site = rotated(makeSite(shape, 4))
      harm(site)
      const root = code === 'FILE_NOT_FOUND' ? site.path : site.data
      const before = treeHash(root)
      const {
        exit: ended,
        stdout,
        stderr,
      } = kvx([shape.work, '--yes', '--json'], { cwd: site.path, env: { HOME: site.path } })
      const document = JSON.parse(stdout) as KvxDocument
      expect([ended, document.error?.code]).toEqual([exit, code])
      expect(document.error?.message).toMatch(/data|docs|kvx\.yaml/)
      expect(stdout + stderr).not.toContain(secret)
      expect(stdout + stderr).not.toMatch(/ {4}at /)
      expect(treeHash(root)).toBe(before)
    },
    120_000,
  )

  test('says the nearest name for a member that is misspelt', () => {
    const site = makeSite(bundoc, 1)
    site.config('{ directory: ./data, mach: "**" }')
    expect(site.json('verify').error?.message).toContain('has no member "mach"; did you mean "match"?')
  })

  test('refuses files of another owner when it is not root, before anything is written', (context: TestContext) => {
    needsOtherUsers(context)
    const site = makeSite(bundoc, 3)
    chownSync(site.path, 65534, 65534)
    const chown = (path: string): void => {
      chownSync(path, 65534, 65534)
      if (statSync(path).isDirectory()) for (const name of readdirSync(path)) chown(join(path, name))
    }
    chown(site.path)
    chownSync(first(site), 0, 0)
    chmodSync(first(site), 0o644)
    const { stdout, exit } = kvx(['verify', '--json'], {
      cwd: site.path,
      env: { HOME: site.path },
      uid: 65534,
      gid: 65534,
    })
    expect(exit).toBe(6)
    expect(stdout).toContain('UNSAFE_OWNER')
  })
})
