import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, test } from 'vitest'
import { kvxJson, type KvxDocument } from '../support/cli.ts'

// Shapes of envelopes that no single shared vector shows: what lies together, and what has to change together.

const gcm = 'nonce:12 ct tag:16'
const without = ['--without-backup', '--reason', 'a test'] as const

function seal(key: Buffer, plaintext: Buffer | string, aad = ''): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(Buffer.from(aad))
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

function open(key: Buffer, sealed: Uint8Array, aad = ''): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12), { authTagLength: 16 })
  decipher.setAAD(Buffer.from(aad))
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
}

class Site {
  readonly path = mkdtempSync(join(tmpdir(), 'kvx-shape-'))
  readonly key = randomBytes(32)
  readonly #database: DatabaseSync

  constructor(schema: string, envelopes: Record<string, unknown>, purpose = 'kek') {
    this.#database = new DatabaseSync(join(this.path, 'app.db'))
    this.#database.exec(schema)
    this.configure(envelopes, purpose)
    writeFileSync(join(this.path, 'configured.key'), this.key, { mode: 0o600 })
    this.ok('init')
    this.ok('key', 'import', 'k', '--from', 'file:configured.key')
  }

  configure(envelopes: Record<string, unknown>, purpose = 'kek'): void {
    const config = { kvx: 1, keys: { k: { purpose } }, stores: { app: { sqlite: 'app.db' } }, envelopes }
    writeFileSync(join(this.path, 'kvx.yaml'), JSON.stringify(config), { mode: 0o600 })
  }

  run(sql: string, ...values: (string | Buffer | number | null)[]): void {
    this.#database.prepare(sql).run(...values)
  }

  rows(sql: string): readonly Record<string, unknown>[] {
    return this.#database.prepare(sql).all() as Record<string, unknown>[]
  }

  json<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    return kvxJson<T>(args, { cwd: this.path, env: { HOME: this.path } })
  }

  ok<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    const document = this.json<T>(...args)
    if (document.exit === 0) return document
    throw new Error(`kvx ${args.join(' ')}: ${document.exit} ${JSON.stringify(document.error)}`)
  }

  rotate(): Buffer {
    this.ok('rotate', 'k', '--offline', '--yes', ...without)
    return readFileSync(join(this.path, '.kvx/keys/k.v2.key'))
  }

  byVersion(): readonly Readonly<Record<string, number>>[] {
    type Census = { readonly envelopes: readonly { readonly byVersion: Readonly<Record<string, number>> }[] }
    return this.ok<Census>('verify').data.envelopes.map(({ byVersion }) => byVersion)
  }

  close(): void {
    this.#database.close()
    rmSync(this.path, { recursive: true, force: true })
  }
}

const sites: Site[] = []
afterEach(() => {
  for (const site of sites.splice(0)) site.close()
})

function makeSite(schema: string, envelopes: Record<string, unknown>, purpose?: string): Site {
  const site = new Site(schema, envelopes, purpose)
  sites.push(site)
  return site
}

describe('a DEK in another table', () => {
  const envelopes = {
    'app.secrets': {
      store: 'app',
      table: 'secrets',
      id: 'id',
      key: 'k',
      dek: {
        table: 'projects',
        id: 'id',
        on: 'project_id',
        column: 'encrypted_dek',
        aead: 'aes-256-gcm',
        layout: `base64(${gcm})`,
      },
      value: { column: 'value', aead: 'aes-256-gcm', layout: gcm, aad: '"secret/" {id}' },
    },
  }
  function joined(): { readonly site: Site; readonly deks: readonly Buffer[] } {
    const site = makeSite(
      'CREATE TABLE projects (id TEXT PRIMARY KEY, encrypted_dek TEXT); CREATE TABLE secrets (id INTEGER PRIMARY KEY, project_id TEXT, value BLOB)',
      envelopes,
    )
    const deks = [0, 1, 2].map(() => randomBytes(32))
    deks.forEach((dek, index) =>
      site.run('INSERT INTO projects VALUES (?, ?)', `p${index}`, seal(site.key, dek).toString('base64')),
    )
    for (let id = 1; id <= 30; id++)
      site.run(
        'INSERT INTO secrets VALUES (?, ?, ?)',
        id,
        `p${id % 3}`,
        seal(deks[id % 3] as Buffer, `value ${id}`, `secret/${id}`),
      )
    return { site, deks }
  }

  test('is rewrapped, and each value opens through it', () => {
    const { site } = joined()
    expect(site.byVersion()).toEqual([{ 'k@1': 33 }])
    const values = site.rows('SELECT value FROM secrets')
    const next = site.rotate()
    site.ok('rewrap', '--yes')
    expect(site.byVersion()).toEqual([{ 'k@2': 33 }])
    expect(site.rows('SELECT value FROM secrets')).toEqual(values)
    const [project] = site.rows("SELECT encrypted_dek FROM projects WHERE id = 'p1'")
    const dek = open(next, Buffer.from(String(project?.['encrypted_dek']), 'base64'))
    const [secret] = site.rows('SELECT value FROM secrets WHERE id = 4')
    expect(open(dek, secret?.['value'] as Buffer, 'secret/4').toString()).toBe('value 4')
    site.ok('retire', 'k@1', '--confirm', 'k@1')
  })

  test('that a value names and that is not there, or opens nothing of it, stops a run before its first write', () => {
    const { site, deks } = joined()
    site.run("UPDATE secrets SET project_id = 'gone' WHERE id = 5")
    site.run(
      'UPDATE secrets SET value = ? WHERE id = 6',
      seal(deks[1] as Buffer, 'under another', 'secret/6'),
    )
    const before = site.rows('SELECT * FROM projects')
    site.rotate()
    const refused = site.json('rewrap', '--yes')
    expect(refused).toMatchObject({ exit: 5, error: { code: 'UNREADABLE_RECORDS' } })
    expect(site.rows('SELECT * FROM projects')).toEqual(before)
    type Problems = { readonly envelopes: readonly { readonly unreadable: number }[] }
    expect(site.json<Problems>('verify').data.envelopes[0]?.unreadable).toBe(2)
  })

  const read = (site: Site, key: Buffer): readonly string[] => {
    const projects = site.rows('SELECT * FROM projects').map(({ id, encrypted_dek }) => {
      return [String(id), open(key, Buffer.from(String(encrypted_dek), 'base64'))] as const
    })
    const deks = new Map(projects)
    return site
      .rows('SELECT * FROM secrets ORDER BY id')
      .map(({ id, project_id, value }) =>
        open(deks.get(String(project_id)) as Buffer, value as Buffer, `secret/${String(id)}`).toString(),
      )
  }

  test('is replaced with all values of its group in one transaction, and comes back by a restore', () => {
    const { site, deks } = joined()
    const before = read(site, site.key)
    const rows = [site.rows('SELECT * FROM projects'), site.rows('SELECT * FROM secrets')]
    site.ok('reencrypt', '--new-deks', '--yes', ...without)
    expect(read(site, site.key)).toEqual(before)
    for (const { id, project_id, value } of site.rows('SELECT * FROM secrets')) {
      const old = deks[Number(String(project_id).slice(1))] as Buffer
      expect(() => open(old, value as Buffer, `secret/${String(id)}`)).toThrow()
    }
    const [run] = site.ok<{ readonly runs: readonly { readonly id: string }[] }>('run', 'list').data.runs
    site.ok('run', 'restore', run?.id ?? '', '--yes')
    expect([site.rows('SELECT * FROM projects'), site.rows('SELECT * FROM secrets')]).toEqual(rows)
  })

  test('is not replaced while one value of its group cannot be written, and a resume finishes the others first', () => {
    const { site } = joined()
    site.run(
      "CREATE TRIGGER stop BEFORE UPDATE ON secrets WHEN OLD.id = 4 BEGIN SELECT RAISE(ABORT, 'stopped'); END",
    )
    expect(site.json('reencrypt', '--new-deks', '--yes', ...without).exit).not.toBe(0)
    expect(read(site, site.key)).toHaveLength(30)
    site.run('DROP TRIGGER stop')
    site.ok('run', 'resume')
    expect(read(site, site.key)).toHaveLength(30)
    expect(site.byVersion()).toEqual([{ 'k@1': 33 }])
  })

  test('needs a column that names it', () => {
    const { site } = joined()
    const { 'app.secrets': envelope } = envelopes
    const { on: _on, ...dek } = envelope.dek
    site.configure({ 'app.secrets': { ...envelope, dek } })
    expect(site.json('verify')).toMatchObject({ exit: 2, error: { code: 'CONFIG_INVALID' } })
  })
})

describe('three levels', () => {
  test('a root key wraps a KEK, which wraps the DEK: a rewrap changes the outermost alone', () => {
    const site = makeSite('CREATE TABLE t (id INTEGER PRIMARY KEY, kek BLOB, dek TEXT, value TEXT)', {
      'app.t': {
        store: 'app',
        table: 't',
        id: 'id',
        key: 'k',
        kek: { column: 'kek', aead: 'aes-256-gcm', layout: gcm },
        dek: { column: 'dek', aead: 'aes-256-gcm', layout: `hex(${gcm})`, encoding: 'base64' },
        value: { column: 'value', aead: 'aes-256-gcm', layout: `base64(${gcm})`, derive: 'sha256(key)' },
      },
    })
    for (let id = 1; id <= 5; id++) {
      const [kek, dek] = [randomBytes(32), randomBytes(32)]
      const value = seal(createHash('sha256').update(dek).digest(), `value ${id}`).toString('base64')
      site.run(
        'INSERT INTO t VALUES (?, ?, ?, ?)',
        id,
        seal(site.key, kek),
        seal(kek, dek.toString('base64')).toString('hex'),
        value,
      )
    }
    const lower = site.rows('SELECT dek, value FROM t')
    const next = site.rotate()
    site.ok('rewrap', '--yes')
    expect(site.byVersion()).toEqual([{ 'k@2': 5 }])
    expect(site.rows('SELECT dek, value FROM t')).toEqual(lower)
    for (const { kek } of site.rows('SELECT kek FROM t')) expect(open(next, kek as Buffer)).toHaveLength(32)
    site.run('UPDATE t SET value = ? WHERE id = 3', seal(randomBytes(32), 'x').toString('base64'))
    expect(site.json('verify')).toMatchObject({ exit: 3 })
  })
})

describe('several values in one column', () => {
  const each = {
    'app.env': {
      store: 'app',
      table: 'revisions',
      id: 'id',
      key: 'k',
      plaintext: true,
      value: {
        column: 'variables',
        each: '*',
        aead: 'aes-256-gcm',
        layout: `json({"encrypted": true, "keyVersion": number(version), "value": base64(${gcm}), ...})`,
      },
    },
  }

  test('each member that is sealed moves with its own number, and every other byte stays', () => {
    const site = makeSite('CREATE TABLE revisions (id INTEGER PRIMARY KEY, variables TEXT)', each, 'data')
    const sealed = (text: string): string =>
      `{ "type":"secret", "encrypted":true, "value": "${seal(site.key, text).toString('base64')}", "keyVersion":1 }`
    const document = `{ "A": ${sealed('first')},\n  "PLAIN": {"type":"plain","value":"https:\\u002f"}, "B": ${sealed('second')} }`
    site.run('INSERT INTO revisions VALUES (1, ?)', document)
    const next = site.rotate()
    site.ok('reencrypt', '--yes')
    const [row] = site.rows('SELECT variables FROM revisions')
    const text = String(row?.['variables'])
    const parsed = JSON.parse(text) as Record<
      string,
      { readonly value: string; readonly keyVersion?: number }
    >
    expect(open(next, Buffer.from(parsed['A']?.value ?? '', 'base64')).toString()).toBe('first')
    expect(open(next, Buffer.from(parsed['B']?.value ?? '', 'base64')).toString()).toBe('second')
    expect([parsed['A']?.keyVersion, parsed['B']?.keyVersion]).toEqual([2, 2])
    const blank = (one: string): string =>
      one.replaceAll(/[A-Za-z0-9+/=]{40,}/g, '').replaceAll(/"keyVersion":\d/g, '')
    expect(blank(text)).toBe(blank(document))
    site.ok('retire', 'k@1', '--confirm', 'k@1')
  })

  test('one member that opens with no key is found', () => {
    const site = makeSite('CREATE TABLE revisions (id INTEGER PRIMARY KEY, variables TEXT)', each, 'data')
    const value = seal(randomBytes(32), 'x').toString('base64')
    site.run(
      'INSERT INTO revisions VALUES (1, ?)',
      `{"A":{"encrypted":true,"keyVersion":1,"value":"${value}"}}`,
    )
    expect(site.json('verify')).toMatchObject({ exit: 3 })
  })

  test('two values that are declared one by one in the same document both move', () => {
    const member = (name: string): Record<string, unknown> => ({
      column: 'data',
      aead: 'aes-256-gcm',
      layout: `json({"${name}": base64(${gcm}), ...})`,
      aad: `{id} "/${name}"`,
    })
    const site = makeSite(
      'CREATE TABLE t (id INTEGER PRIMARY KEY, data TEXT)',
      {
        'app.t': {
          store: 'app',
          table: 't',
          id: 'id',
          key: 'k',
          value: [member('password'), member('token')],
        },
      },
      'data',
    )
    const cell = (name: string): string => seal(site.key, name, `1/${name}`).toString('base64')
    site.run(
      'INSERT INTO t VALUES (1, ?)',
      `{"user":"u","password":"${cell('password')}","token":"${cell('token')}"}`,
    )
    const next = site.rotate()
    site.ok('reencrypt', '--yes')
    const [row] = site.rows('SELECT data FROM t')
    const { user, password, token } = JSON.parse(String(row?.['data'])) as Record<string, string>
    expect(user).toBe('u')
    expect(open(next, Buffer.from(password ?? '', 'base64'), '1/password').toString()).toBe('password')
    expect(open(next, Buffer.from(token ?? '', 'base64'), '1/token').toString()).toBe('token')
  })
})

describe('what changes together', () => {
  const schema =
    'CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT, kid TEXT, check_value TEXT, fingerprint TEXT)'
  const envelope = {
    store: 'app',
    table: 't',
    id: 'id',
    key: 'k',
    version: { column: 'kid', names: { 1: 'key-2024', 2: 'key-2026' } },
    set: { check_value: "hex(sha256({value'}))", fingerprint: 'slice(hex(sha256(key)), 0, 8)' },
    value: { column: 'value', aead: 'aes-256-gcm', layout: `base64(${gcm})`, aad: '{kid} "/" {id}' },
  }
  const digest = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex')
  function fill(site: Site): void {
    for (let id = 1; id <= 4; id++) {
      const value = seal(site.key, `value ${id}`, `key-2024/${id}`).toString('base64')
      site.run(
        'INSERT INTO t VALUES (?, ?, ?, ?, ?)',
        id,
        value,
        'key-2024',
        digest(value),
        digest(site.key).slice(0, 8),
      )
    }
  }

  test('names of versions, bound by the AAD, a checksum of the new value, a fingerprint of the key', () => {
    const site = makeSite(schema, { 'app.t': envelope }, 'data')
    fill(site)
    const next = site.rotate()
    site.ok('reencrypt', '--yes')
    for (const row of site.rows('SELECT * FROM t')) {
      const value = String(row['value'])
      expect(row).toMatchObject({
        kid: 'key-2026',
        check_value: digest(value),
        fingerprint: digest(next).slice(0, 8),
      })
      const aad = `key-2026/${String(row['id'])}`
      expect(open(next, Buffer.from(value, 'base64'), aad).toString()).toBe(`value ${String(row['id'])}`)
    }
    expect(site.byVersion()).toEqual([{ 'k@2': 4 }])
    const [run] = site.ok<{ readonly runs: readonly { readonly id: string; readonly kind: string }[] }>(
      'run',
      'list',
    ).data.runs
    site.ok('run', 'rollback', run?.id ?? '', '--yes')
    expect(site.byVersion()).toEqual([{ 'k@1': 4 }])
    expect(site.rows('SELECT kid FROM t').every(({ kid }) => kid === 'key-2024')).toBe(true)
  })

  test('a version without a name is refused before anything is written', () => {
    const site = makeSite(
      schema,
      { 'app.t': { ...envelope, version: { column: 'kid', names: { 1: 'key-2024' } } } },
      'data',
    )
    fill(site)
    site.rotate()
    const before = site.rows('SELECT * FROM t')
    expect(site.json('reencrypt', '--yes')).toMatchObject({ exit: 2, error: { code: 'CONFIG_INVALID' } })
    expect(site.rows('SELECT * FROM t')).toEqual(before)
  })

  test('a number with text around it', () => {
    const version = { column: 'kid', layout: '"kek/v" dec(version)' }
    const plain = { ...envelope, version, set: {}, value: { ...envelope.value, aad: '"x"' } }
    const site = makeSite(schema, { 'app.t': plain }, 'data')
    site.run("INSERT INTO t VALUES (1, ?, 'kek/v1', '', '')", seal(site.key, 'v', 'x').toString('base64'))
    site.rotate()
    site.ok('reencrypt', '--yes')
    expect(site.rows('SELECT kid FROM t')).toEqual([{ kid: 'kek/v2' }])
  })
})

describe('an upgrade in the same sweep', () => {
  const value = {
    column: 'value',
    aead: 'aes-256-gcm',
    layout: 'base64(nonce:16 ct tag:16)',
    to: { aead: 'xchacha20-poly1305', layout: '"v2." base64url(nonce:24 ct tag:16)', aad: '"t/value/" {id}' },
  }
  const schema = 'CREATE TABLE t (id INTEGER PRIMARY KEY, wrapped BLOB, value TEXT)'
  function seal16(key: Buffer, text: string): string {
    const nonce = randomBytes(16)
    const cipher = createCipheriv('aes-256-gcm', key, nonce)
    return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]).toString('base64')
  }

  test('values directly under the key, under the same version', () => {
    const site = makeSite(
      schema,
      { 'app.t': { store: 'app', table: 't', id: 'id', key: 'k', value } },
      'data',
    )
    for (let id = 1; id <= 3; id++)
      site.run('INSERT INTO t VALUES (?, NULL, ?)', id, seal16(site.key, `value ${id}`))
    site.ok('reencrypt', '--yes', ...without)
    const texts = site.rows('SELECT value FROM t').map((row) => String(row['value']))
    expect(texts.every((text) => text.startsWith('v2.'))).toBe(true)
    expect(site.byVersion()).toEqual([{ 'k@1': 3 }])
    expect(site.ok<{ readonly changed?: number }>('reencrypt', '--yes').exit).toBe(0)
    expect(site.rows('SELECT value FROM t').map((row) => String(row['value']))).toEqual(texts)
  })

  test('values under a DEK, whose wrap moves in the same run', () => {
    const dek = { column: 'wrapped', aead: 'aes-256-gcm', layout: gcm }
    const site = makeSite(schema, { 'app.t': { store: 'app', table: 't', id: 'id', key: 'k', dek, value } })
    for (let id = 1; id <= 3; id++) {
      const own = randomBytes(32)
      site.run('INSERT INTO t VALUES (?, ?, ?)', id, seal(site.key, own), seal16(own, `value ${id}`))
    }
    site.rotate()
    site.ok('rewrap', '--yes')
    expect(site.rows('SELECT value FROM t').every((row) => String(row['value']).startsWith('v2.'))).toBe(true)
    expect(site.byVersion()).toEqual([{ 'k@2': 3 }])
    site.ok('retire', 'k@1', '--confirm', 'k@1')
  })

  test('may not lie in other columns than the value', () => {
    const to = { ...value.to, layout: { other: gcm } }
    const site = makeSite(
      schema,
      { 'app.t': { store: 'app', table: 't', id: 'id', key: 'k', value: { ...value, to } } },
      'data',
    )
    expect(site.json('verify')).toMatchObject({ exit: 2, error: { code: 'CONFIG_INVALID' } })
  })
})

describe('a legacy cipher', () => {
  const legacy = {
    store: 'app',
    table: 't',
    id: 'id',
    key: 'k',
    value: {
      column: 'value',
      legacy: 'aes-256-cbc',
      'plaintext-test': 'utf8',
      layout: 'hex(nonce:16) ":" hex(ct)',
      to: { aead: 'aes-256-gcm', layout: `"v2:" base64(${gcm})` },
    },
  }
  const schema = 'CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT)'
  function cbc(key: Buffer, text: string): string {
    const iv = randomBytes(16)
    const cipher = createCipheriv('aes-256-cbc', key, iv)
    return `${iv.toString('hex')}:${Buffer.concat([cipher.update(text), cipher.final()]).toString('hex')}`
  }

  test('a plaintext that is too short to tell a key is set apart, the others are converted', () => {
    const site = makeSite(schema, { 'app.t': legacy }, 'data')
    site.run('INSERT INTO t VALUES (1, ?)', cbc(site.key, 'long enough to be a text of somebody'))
    site.run('INSERT INTO t VALUES (2, ?)', cbc(site.key, 'abc'))
    const before = site.rows('SELECT value FROM t')
    expect(site.json('reencrypt', '--yes', ...without)).toMatchObject({ exit: 5 })
    expect(site.rows('SELECT value FROM t')).toEqual(before)
    expect(site.json('reencrypt', '--yes', '--on-error', 'quarantine', ...without)).toMatchObject({ exit: 4 })
    const [first, second] = site.rows('SELECT value FROM t').map((row) => String(row['value']))
    expect(first).toMatch(/^v2:/)
    expect(second).toBe(before[1]?.['value'])
  })

  test('comes back from the backup byte for byte, since kvx never writes it', () => {
    const site = makeSite(schema, { 'app.t': legacy }, 'data')
    site.run('INSERT INTO t VALUES (1, ?)', cbc(site.key, 'long enough to be a text of somebody'))
    const before = site.rows('SELECT value FROM t')
    site.ok('reencrypt', '--yes', ...without)
    const [run] = site.ok<{ readonly runs: readonly { readonly id: string }[] }>('run', 'list').data.runs
    site.ok('run', 'restore', run?.id ?? '', '--yes')
    expect(site.rows('SELECT value FROM t')).toEqual(before)
  })

  test('needs a test of its plaintext, and is no AEAD', () => {
    const { 'plaintext-test': _test, ...value } = legacy.value
    const site = makeSite(schema, { 'app.t': { ...legacy, value } }, 'data')
    expect(site.json('verify').error?.message).toContain('plaintext-test')
    const { legacy: cipher, ...rest } = legacy.value
    site.configure({ 'app.t': { ...legacy, value: { ...rest, aead: cipher } } }, 'data')
    expect(site.json('verify').error?.message).toContain('does not authenticate')
  })
})

describe('reencrypt --new-deks', () => {
  const schema = 'CREATE TABLE t (id INTEGER PRIMARY KEY, kek BLOB, wrapped BLOB, value TEXT, note TEXT)'
  const envelope = {
    store: 'app',
    table: 't',
    id: 'id',
    key: 'k',
    dek: { column: 'wrapped', aead: 'aes-256-gcm', layout: gcm },
    value: ['value', 'note'].map((column) => ({
      column,
      aead: 'aes-256-gcm',
      layout: `base64(${gcm})`,
      aad: `"${column}/" {id}`,
    })),
  }
  const sealed = (dek: Buffer, text: string, aad: string): string => seal(dek, text, aad).toString('base64')

  function filled(): { readonly site: Site; readonly deks: readonly Buffer[] } {
    const site = makeSite(schema, { 'app.t': envelope })
    const deks = Array.from({ length: 12 }, () => randomBytes(32))
    deks.forEach((dek, id) => {
      const values = ['value', 'note'].map((name) => sealed(dek, `${name} ${id}`, `${name}/${id}`))
      site.run('INSERT INTO t VALUES (?, NULL, ?, ?, ?)', id, seal(site.key, dek), ...values)
    })
    return { site, deks }
  }

  function readAll(site: Site, key: Buffer): readonly string[] {
    return site.rows('SELECT * FROM t ORDER BY id').map(({ id, wrapped, value, note }) => {
      const dek = open(key, wrapped as Buffer)
      return [value, note]
        .map((cell, index) =>
          open(dek, Buffer.from(String(cell), 'base64'), `${['value', 'note'][index]}/${String(id)}`),
        )
        .join(', ')
    })
  }

  test('every record has a new one, the old ones open nothing, and a second run makes new ones again', () => {
    const { site, deks } = filled()
    const before = readAll(site, site.key)
    site.ok('reencrypt', '--new-deks', '--yes', '--batch', '5', ...without)
    expect(readAll(site, site.key)).toEqual(before)
    const made = site
      .rows('SELECT * FROM t ORDER BY id')
      .map(({ wrapped }) => open(site.key, wrapped as Buffer))
    made.forEach((dek, id) => expect(dek.equals(deks[id] as Buffer)).toBe(false))
    for (const [id, { value }] of site.rows('SELECT value FROM t ORDER BY id').entries())
      expect(() => open(deks[id] as Buffer, Buffer.from(String(value), 'base64'), `value/${id}`)).toThrow()
    site.ok('reencrypt', '--new-deks', '--yes')
    const again = site
      .rows('SELECT * FROM t ORDER BY id')
      .map(({ wrapped }) => open(site.key, wrapped as Buffer))
    again.forEach((dek, id) => expect(dek.equals(made[id] as Buffer)).toBe(false))
  })

  test('is finished by a resume, which leaves those that are new already', () => {
    const { site } = filled()
    site.run(
      "CREATE TRIGGER stop BEFORE UPDATE ON t WHEN OLD.id = 9 BEGIN SELECT RAISE(ABORT, 'stopped'); END",
    )
    expect(site.json('reencrypt', '--new-deks', '--yes', '--batch', '4', ...without).exit).not.toBe(0)
    const half = site.rows('SELECT wrapped FROM t WHERE id < 8 ORDER BY id')
    site.run('DROP TRIGGER stop')
    const before = readAll(site, site.key)
    site.ok('run', 'resume')
    expect(readAll(site, site.key)).toEqual(before)
    expect(site.rows('SELECT wrapped FROM t WHERE id < 8 ORDER BY id')).toEqual(half)
  })

  test('keeps old and new wrapped DEKs in the home, and comes back by a restore', () => {
    const { site } = filled()
    const before = site.rows('SELECT * FROM t')
    site.ok('reencrypt', '--new-deks', '--yes', ...without)
    const [run] = site.ok<{ readonly runs: readonly { readonly id: string; readonly kind: string }[] }>(
      'run',
      'list',
    ).data.runs
    expect(run?.kind).toBe('new-deks')
    const lines = readFileSync(join(site.path, `.kvx/runs/${run?.id}/backup/ciphertext.jsonl`), 'utf8')
      .trim()
      .split('\n')
      .slice(1)
    const entries = lines.map(
      (line) => JSON.parse(line) as { readonly row: object; readonly wrapped: object },
    )
    expect(entries.every(({ row, wrapped }) => 'wrapped' in row && 'wrapped' in wrapped)).toBe(true)
    expect(site.json('run', 'rollback', run?.id ?? '', '--yes').error?.hint).toContain('kvx run restore')
    site.ok('run', 'restore', run?.id ?? '', '--yes')
    expect(site.rows('SELECT * FROM t')).toEqual(before)
  })

  test('together with a rotation the wraps move too', () => {
    const { site } = filled()
    const before = readAll(site, site.key)
    const next = site.rotate()
    site.ok('reencrypt', '--new-deks', '--yes')
    expect(readAll(site, next)).toEqual(before)
    expect(site.byVersion()).toEqual([{ 'k@2': 12 }])
  })
})

describe('kvx seal', () => {
  const direct = {
    store: 'app',
    table: 't',
    id: 'id',
    key: 'k',
    plaintext: true,
    version: 'kv',
    value: { column: 'value', aead: 'aes-256-gcm', layout: `"v1:" base64(${gcm})`, aad: '{id} "/" {kv}' },
  }
  const schema = 'CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT, note TEXT, wrapped BLOB, kv INTEGER)'

  function filesWith(path: string, text: string): readonly string[] {
    return readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => {
      const file = join(path, name)
      return statSync(file).isFile() && readFileSync(file).includes(text)
    })
  }

  test('values directly under the key: plaintext is sealed, what was sealed stays, nothing lies in the clear in the home', () => {
    const site = makeSite(schema, { 'app.t': direct }, 'data')
    for (let id = 1; id <= 10; id++)
      site.run('INSERT INTO t VALUES (?, ?, NULL, NULL, NULL)', id, `plain secret ${id}`)
    const own = `v1:${seal(site.key, 'sealed before', '11/1').toString('base64')}`
    site.run('INSERT INTO t VALUES (11, ?, NULL, NULL, 1)', own)
    site.run('INSERT INTO t VALUES (12, NULL, NULL, NULL, NULL)')
    expect(site.ok<{ readonly pending?: number }>('seal', '--dry-run').data.pending).toBe(10)
    site.ok('seal', '--yes', '--batch', '4', ...without)
    const rows = site.rows('SELECT * FROM t ORDER BY id')
    for (const { id, value, kv } of rows.slice(0, 10)) {
      expect(kv).toBe(1)
      const sealed = Buffer.from(String(value).replace('v1:', ''), 'base64')
      expect(open(site.key, sealed, `${String(id)}/1`).toString()).toBe(`plain secret ${String(id)}`)
    }
    expect(rows.slice(10).map(({ value }) => value)).toEqual([own, null])
    expect(filesWith(join(site.path, '.kvx'), 'plain secret')).toEqual([])
    expect(site.ok<{ readonly pending?: number }>('seal', '--yes').data.pending).toBe(0)
    const [run] = site.ok<{ readonly runs: readonly { readonly id: string }[] }>('run', 'list').data.runs
    expect(site.json('run', 'rollback', run?.id ?? '', '--yes').error?.hint).toContain('kvx run restore')
    site.ok('run', 'restore', run?.id ?? '', '--yes')
    expect(site.rows('SELECT value FROM t ORDER BY id').slice(0, 2)).toEqual([
      { value: 'plain secret 1' },
      { value: 'plain secret 2' },
    ])
  })

  test('values under a DEK: a record without one gets one, a record with one keeps it', () => {
    const value = (column: string): object => ({
      column,
      aead: 'aes-256-gcm',
      layout: `"v1:" base64(${gcm})`,
      aad: `"${column}"`,
    })
    const { version: _version, ...rest } = direct
    const envelope = {
      ...rest,
      dek: { column: 'wrapped', aead: 'aes-256-gcm', layout: gcm },
      value: [value('value'), value('note')],
    }
    const site = makeSite(schema, { 'app.t': envelope })
    const dek = randomBytes(32)
    site.run("INSERT INTO t VALUES (1, 'first', 'second', NULL, NULL)")
    site.run(
      'INSERT INTO t VALUES (2, ?, ?, ?, NULL)',
      `v1:${seal(dek, 'sealed', 'value').toString('base64')}`,
      'still plain',
      seal(site.key, dek),
    )
    site.ok('seal', '--yes', ...without)
    const read = site.rows('SELECT * FROM t ORDER BY id').map(({ wrapped, ...row }) => {
      const key = open(site.key, wrapped as Buffer)
      return ['value', 'note'].map((name) =>
        open(key, Buffer.from(String(row[name]).replace('v1:', ''), 'base64'), name).toString(),
      )
    })
    expect(read).toEqual([
      ['first', 'second'],
      ['sealed', 'still plain'],
    ])
    const [, second] = site.rows('SELECT wrapped FROM t ORDER BY id')
    expect(open(site.key, second?.['wrapped'] as Buffer).equals(dek)).toBe(true)
  })

  test('is finished by a resume after it was stopped in the middle', () => {
    const site = makeSite(schema, { 'app.t': direct }, 'data')
    for (let id = 1; id <= 10; id++)
      site.run('INSERT INTO t VALUES (?, ?, NULL, NULL, NULL)', id, `plain secret ${id}`)
    site.run(
      "CREATE TRIGGER stop BEFORE UPDATE ON t WHEN OLD.id = 7 BEGIN SELECT RAISE(ABORT, 'stopped'); END",
    )
    expect(site.json('seal', '--yes', '--batch', '3', ...without).exit).not.toBe(0)
    site.run('DROP TRIGGER stop')
    site.ok('run', 'resume')
    expect(site.byVersion()).toEqual([{ 'k@1': 10 }])
  })

  test('its backup holds the version back from destruction', () => {
    const site = makeSite(schema, { 'app.t': direct }, 'data')
    site.run("INSERT INTO t VALUES (1, 'plain secret', NULL, NULL, NULL)")
    site.ok('seal', '--yes', ...without)
    site.rotate()
    site.ok('reencrypt', '--yes')
    site.ok('retire', 'k@1', '--confirm', 'k@1')
    type Held = { readonly ledger: readonly { readonly kind: string; readonly message: string }[] }
    const planned = site.json<Held>('destroy', 'k@1', '--after', '7d', '--confirm', 'k@1')
    const sealRun = site
      .ok<{ readonly runs: readonly { readonly id: string; readonly kind: string }[] }>('run', 'list')
      .data.runs.find(({ kind }) => kind === 'seal')
    expect(JSON.stringify(planned.data)).toContain(sealRun?.id)
  })

  test('needs a declaration that says so', () => {
    const site = makeSite(schema, { 'app.t': { ...direct, plaintext: false } }, 'data')
    site.run("INSERT INTO t VALUES (1, 'plain', NULL, NULL, NULL)")
    expect(site.json('seal', '--yes', ...without)).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
    expect(site.rows('SELECT value FROM t')).toEqual([{ value: 'plain' }])
  })
})

describe('proof before trust', () => {
  const schema = 'CREATE TABLE t (id INTEGER PRIMARY KEY, value BLOB)'
  const envelope = {
    store: 'app',
    table: 't',
    id: 'id',
    key: 'k',
    value: { column: 'value', aead: 'aes-256-gcm', layout: gcm },
  }
  const warnings = (site: Site): readonly string[] => site.json('verify').warnings.map(({ code }) => code)

  test('a nonce that two values share is told; copies of one value are none', () => {
    const site = makeSite(schema, { 'app.t': envelope }, 'data')
    const copy = seal(site.key, 'one')
    site.run('INSERT INTO t VALUES (1, ?), (2, ?)', copy, copy)
    expect(warnings(site)).not.toContain('NONCE_REPEATED')
    const cipher = createCipheriv('aes-256-gcm', site.key, copy.subarray(0, 12))
    const other = Buffer.concat([
      copy.subarray(0, 12),
      cipher.update('two'),
      cipher.final(),
      cipher.getAuthTag(),
    ])
    site.run('INSERT INTO t VALUES (3, ?)', other)
    expect(warnings(site)).toContain('NONCE_REPEATED')
  })

  test('a tag that was cut short opens with no key', () => {
    const site = makeSite(
      schema,
      { 'app.t': { ...envelope, value: { ...envelope.value, layout: 'nonce:12 ct tag:12' } } },
      'data',
    )
    site.run('INSERT INTO t VALUES (1, ?)', seal(site.key, 'a text').subarray(0, -4))
    expect(site.json('verify')).toMatchObject({ exit: 3 })
  })
})
