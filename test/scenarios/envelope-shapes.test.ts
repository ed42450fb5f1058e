import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { closeSites, gcm, makeSite, open, seal, without, type Site } from './shape-site.ts'

// Shapes of envelopes that no single shared vector shows: what lies together, and what has to change together.

afterEach(closeSites)

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
    site.ok('reencrypt', '--new-deks', '--offline', '--yes', ...without)
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
    expect(site.json('reencrypt', '--new-deks', '--offline', '--yes', ...without).exit).not.toBe(0)
    expect(read(site, site.key)).toHaveLength(30)
    site.run('DROP TRIGGER stop')
    site.ok('run', 'resume')
    expect(read(site, site.key)).toHaveLength(30)
    expect(site.byVersion()).toEqual([{ 'k@1': 33 }])
  })

  test('that seals nothing, since the values lie under the key itself, is told as that', () => {
    const { site } = joined()
    site.run('UPDATE secrets SET value = ? WHERE id = 6', seal(site.key, 'defect', 'secret/6'))
    type Problems = {
      readonly envelopes: readonly { readonly problems: readonly { readonly reason: string }[] }[]
    }
    expect(JSON.stringify(site.json<Problems>('verify').data)).toContain('under-key-directly')
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

  test.each(['u64be(time)', 'time:8'])('to a token of Fernet, which gets the present time: %s', (time) => {
    const to = { aead: 'fernet', layout: `base64urlpad(0x80 ${time} nonce:16 ct mac:32)` }
    const envelope = { store: 'app', table: 't', id: 'id', key: 'k', value: { ...value, to } }
    const site = makeSite(schema, { 'app.t': envelope }, 'data')
    site.run('INSERT INTO t VALUES (1, NULL, ?)', seal16(site.key, 'a text'))
    const begun = Math.floor(Date.now() / 1000)
    site.ok('reencrypt', '--yes', ...without)
    const [row] = site.rows('SELECT value FROM t')
    const token = Buffer.from(String(row?.['value']), 'base64url')
    expect(Number(token.readBigUInt64BE(1))).toBeGreaterThanOrEqual(begun)
    const mac = createHmac('sha256', site.key.subarray(0, 16)).update(token.subarray(0, -32)).digest()
    expect(mac.equals(token.subarray(-32))).toBe(true)
    const decipher = createDecipheriv('aes-128-cbc', site.key.subarray(16), token.subarray(9, 25))
    expect(Buffer.concat([decipher.update(token.subarray(25, -32)), decipher.final()]).toString()).toBe(
      'a text',
    )
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

describe('what new keys are made of', () => {
  const schema = 'CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT)'
  const value = { column: 'value', aead: 'aes-256-gcm', layout: `base64(${gcm})` }

  function withKey(site: Site, members: Record<string, unknown>): void {
    const path = join(site.path, 'kvx.yaml')
    const config = JSON.parse(readFileSync(path, 'utf8')) as { keys: { k: Record<string, unknown> } }
    Object.assign(config.keys.k, members)
    writeFileSync(path, JSON.stringify(config))
  }

  test('printable characters, published as they are, for an application that reads its key as text', () => {
    const site = makeSite(
      schema,
      { 'app.t': { store: 'app', table: 't', id: 'id', key: 'k', value } },
      'data',
    )
    site.run('INSERT INTO t VALUES (1, ?)', seal(site.key, 'a text').toString('base64'))
    const publish = [{ 'env-file': 'app.env', current: 'SECRET', encoding: 'ascii' }]
    writeFileSync(join(site.path, 'app.env'), '', { mode: 0o600 })
    withKey(site, { make: { characters: 32 }, publish })
    site.ok('rotate', 'k', '--offline', '--then', 'data', '--yes', ...without)
    const [, text = ''] = /^SECRET=(.*)$/m.exec(readFileSync(join(site.path, 'app.env'), 'utf8')) ?? []
    expect(text).toMatch(/^[A-Za-z0-9_-]{32}$/)
    const [row] = site.rows('SELECT value FROM t')
    expect(open(Buffer.from(text), Buffer.from(String(row?.['value']), 'base64')).toString()).toBe('a text')
  })

  test('as many bytes as the cipher behind a derivation likes', () => {
    const derived = { ...value, derive: 'sha256(key)' }
    const site = makeSite(
      schema,
      { 'app.t': { store: 'app', table: 't', id: 'id', key: 'k', value: derived } },
      'data',
    )
    const key = createHash('sha256').update(site.key).digest()
    site.run('INSERT INTO t VALUES (1, ?)', seal(key, 'a text').toString('base64'))
    withKey(site, { make: { bytes: 48 } })
    const next = site.rotate()
    expect(next).toHaveLength(48)
    site.ok('reencrypt', '--yes')
    expect(site.byVersion()).toEqual([{ 'k@2': 1 }])
  })
})
