import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { closeSites, filesWith, gcm, makeSite, open, seal, without, type Site } from './shape-site.ts'

// What a review of the engine found: each was red before it was mended.

afterEach(closeSites)

type Runs = { readonly runs: readonly { readonly id: string; readonly kind: string }[] }
const lastRun = (site: Site): string => site.ok<Runs>('run', 'list').data.runs[0]?.id ?? ''
const base = { store: 'app', table: 't', id: 'id', key: 'k' }
const prefixed = { column: 'value', aead: 'aes-256-gcm', layout: `"v1:" base64(${gcm})` }
const text = (key: Buffer, plaintext: string, aad?: string): string =>
  `v1:${seal(key, plaintext, aad).toString('base64')}`

describe('DEKs in a table of their own', () => {
  const envelope = {
    ...base,
    table: 'secrets',
    dek: { table: 'projects', id: 'id', on: 'pid', column: 'dek', aead: 'aes-256-gcm', layout: gcm },
    value: { column: 'value', aead: 'aes-256-gcm', layout: gcm },
  }
  function joined(): { readonly site: Site; readonly deks: readonly Buffer[] } {
    const site = makeSite(
      'CREATE TABLE projects (id INTEGER PRIMARY KEY, dek BLOB); CREATE TABLE secrets (id INTEGER PRIMARY KEY, pid INTEGER, value BLOB)',
      { 'app.secrets': envelope },
    )
    const deks = [randomBytes(32), randomBytes(32)]
    deks.forEach((dek, index) => {
      site.run('INSERT INTO projects VALUES (?, ?)', index + 1, seal(site.key, dek))
      site.run('INSERT INTO secrets VALUES (?, ?, ?)', index + 1, index + 1, seal(dek, `value ${index}`))
    })
    return { site, deks }
  }
  const renew = ['reencrypt', '--new-deks', '--offline', '--yes', ...without] as const

  test('come back with their values where both tables use the same ids', () => {
    const { site } = joined()
    site.ok(...renew)
    site.ok('run', 'restore', lastRun(site), '--yes')
    site.ok('verify')
  })

  test('do not come back over a value that was added under the new one', () => {
    const { site } = joined()
    site.ok(...renew)
    const [project] = site.rows('SELECT dek FROM projects WHERE id = 1')
    const dek = open(site.key, project?.['dek'] as Buffer)
    site.run('INSERT INTO secrets VALUES (99, 1, ?)', seal(dek, 'added later'))
    expect(site.json('run', 'restore', lastRun(site), '--yes').exit).not.toBe(0)
    site.ok('verify')
  })

  test('stay where one value of the group does not open, so that it can be mended', () => {
    const { site, deks } = joined()
    site.run('INSERT INTO secrets VALUES (3, 1, ?)', seal(randomBytes(32), 'of another'))
    const refused = site.json(
      'reencrypt',
      '--new-deks',
      '--offline',
      '--yes',
      '--on-error',
      'quarantine',
      ...without,
    )
    expect(refused).toMatchObject({ exit: 4, error: { code: 'RECORDS_QUARANTINED' } })
    const [first, second] = site.rows('SELECT dek FROM projects ORDER BY id')
    expect(open(site.key, first?.['dek'] as Buffer).equals(deks[0] as Buffer)).toBe(true)
    expect(open(site.key, second?.['dek'] as Buffer).equals(deks[1] as Buffer)).toBe(false)
  })

  test('leave no plaintext of their group in the clear in the home', () => {
    const { site } = joined()
    const values = ['value', 'note'].map((column) => ({ ...prefixed, column }))
    site.configure({ 'app.secrets': { ...envelope, plaintext: true, value: values } })
    site.run('ALTER TABLE secrets ADD note TEXT')
    const deks = site
      .rows('SELECT dek FROM projects ORDER BY id')
      .map(({ dek }) => open(site.key, dek as Buffer))
    deks.forEach((dek, index) =>
      site.run(
        'UPDATE secrets SET value = ?, note = ? WHERE id = ?',
        text(dek, 'a'),
        'plain secret note',
        index + 1,
      ),
    )
    site.ok(...renew)
    expect(filesWith(join(site.path, '.kvx'), 'plain secret')).toEqual([])
    site.ok('run', 'restore', lastRun(site), '--yes')
    site.ok('verify')
    expect(site.rows('SELECT note FROM secrets')).toEqual([
      { note: 'plain secret note' },
      { note: 'plain secret note' },
    ])
  })

  test('are not replaced while the application may run, or where an envelope may hold copies', () => {
    const { site } = joined()
    expect(site.json('reencrypt', '--new-deks', '--yes', ...without).error?.hint).toContain('--offline')
    const { value: _value, dek, ...rest } = envelope
    const { on: _on, table: _table, id: _id, ...copy } = dek
    site.configure({ 'app.secrets': envelope, 'app.copy': { ...rest, table: 'copies', dek: copy } })
    site.run('CREATE TABLE copies (id INTEGER PRIMARY KEY, dek BLOB)')
    const refused = site.json('reencrypt', 'app.secrets', '--new-deks', '--offline', '--yes', ...without)
    expect(refused).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
  })
})

describe('where plaintext may lie', () => {
  const schema = 'CREATE TABLE t (id INTEGER PRIMARY KEY, wrapped BLOB, value TEXT, kv INTEGER)'

  test('a damaged value that begins as a sealed one does is no plaintext', () => {
    const site = makeSite(schema, { 'app.t': { ...base, plaintext: true, value: prefixed } }, 'data')
    site.run('INSERT INTO t VALUES (1, NULL, ?, NULL)', `${text(site.key, 'a')}\n`)
    site.rotate()
    expect(site.json('reencrypt', '--yes')).toMatchObject({ exit: 5 })
    expect(site.json('seal', '--yes')).toMatchObject({ exit: 5 })
    expect(site.json('retire', 'k@1', '--confirm', 'k@1').exit).not.toBe(0)
  })

  test('half a character in another member does not hide the sealed ones, a member that stands twice stops the run', () => {
    const envelope = { ...base, plaintext: true, value: { ...prefixed, each: '*' } }
    const site = makeSite(schema, { 'app.t': envelope }, 'data')
    site.run('INSERT INTO t VALUES (1, NULL, ?, NULL)', `{"A":"${text(site.key, 'a')}","note":"\\ud83d"}`)
    const next = site.rotate()
    site.ok('reencrypt', '--yes')
    const [row] = site.rows('SELECT value FROM t')
    const { A } = JSON.parse(String(row?.['value'])) as { readonly A: string }
    expect(open(next, Buffer.from(A.slice(3), 'base64')).toString()).toBe('a')
    site.run('INSERT INTO t VALUES (2, NULL, ?, NULL)', `{"A":"${text(next, 'a')}","A":"x"}`)
    expect(site.json('verify').exit).toBe(3)
  })

  test('plaintext beside sealed values lies in no backup in the clear', () => {
    const value = ['value', 'note'].map((column) => ({ ...prefixed, column }))
    const site = makeSite(
      'CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT, note TEXT)',
      { 'app.t': { ...base, plaintext: true, value } },
      'data',
    )
    site.run('INSERT INTO t VALUES (1, ?, ?)', text(site.key, 'a'), 'plain secret note')
    site.rotate()
    site.ok('reencrypt', '--yes')
    expect(filesWith(join(site.path, '.kvx'), 'plain secret')).toEqual([])
    site.ok('run', 'restore', lastRun(site), '--yes')
    expect(site.rows('SELECT note FROM t')).toEqual([{ note: 'plain secret note' }])
  })

  test('a first sealing leaves the number of a DEK that stays', () => {
    const dek = { column: 'wrapped', aead: 'aes-256-gcm', layout: gcm }
    const envelope = { ...base, plaintext: true, version: 'kv', dek, value: prefixed }
    const site = makeSite(schema, { 'app.t': envelope })
    site.run('INSERT INTO t VALUES (1, ?, ?, 1)', seal(site.key, randomBytes(32)), 'plain')
    site.rotate()
    site.ok('seal', '--yes')
    expect(site.rows('SELECT kv FROM t')).toEqual([{ kv: 1 }])
    expect(site.byVersion()).toEqual([{ 'k@1': 1 }])
  })

  test('a first sealing leaves records alone whose version column says something else', () => {
    const version = { column: 'kid', names: { 1: 'k-1' } }
    const site = makeSite(
      'CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT, kid TEXT)',
      { 'app.t': { ...base, plaintext: true, version, value: prefixed } },
      'data',
    )
    site.run("INSERT INTO t VALUES (1, 'plain', 'kms/eu/7')")
    const refused = site.json('seal', '--yes', ...without)
    expect(refused).toMatchObject({ exit: 5, error: { code: 'LAYOUT_MISMATCH' } })
    expect(site.ok<Runs>('run', 'list').data.runs).toEqual([])
    expect(site.rows('SELECT value, kid FROM t')).toEqual([{ value: 'plain', kid: 'kms/eu/7' }])
  })

  test('a first sealing works beside a value under an older version', () => {
    const value = ['value', 'note'].map((column) => ({ ...prefixed, column }))
    const site = makeSite(
      'CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT, note TEXT)',
      { 'app.t': { ...base, plaintext: true, value } },
      'data',
    )
    site.run('INSERT INTO t VALUES (1, ?, ?)', text(site.key, 'a'), 'plain')
    site.rotate()
    site.ok('seal', '--yes')
    expect(site.byVersion()).toEqual([{ 'k@1': 1, 'k@2': 1 }])
  })
})

describe('declarations', () => {
  const schema = 'CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT, sum BLOB, kid TEXT)'
  const value = { column: 'value', aead: 'aes-256-gcm', layout: `base64(${gcm})` }
  const refusal = (envelope: Record<string, unknown>): string => {
    const site = makeSite(schema, { 'app.t': { ...base, ...envelope } }, 'data')
    const { exit, error } = site.json('verify')
    return `${exit} ${error?.code} ${error?.message}`
  }

  test('whose names of versions are the same, or are made of a record, are refused', () => {
    expect(refusal({ value, version: { column: 'kid', names: { 1: 'key', 2: 'key' } } })).toMatch(
      /^2 CONFIG_INVALID.*same name/,
    )
    const keyid = 'slice(sha256(key {id}), 0, 4)'
    expect(refusal({ value: { ...value, layout: `hex(keyid:4 ${gcm})`, keyid } })).toMatch(
      /^2 CONFIG_INVALID.*reads a record/,
    )
  })

  test('whose test of a plaintext cannot fail are refused', () => {
    const legacy = {
      column: 'value',
      legacy: 'aes-256-ctr',
      layout: 'hex(nonce:16 ct)',
      'plaintext-test': 'length 32',
    }
    expect(refusal({ value: legacy })).toMatch(/^2 CONFIG_INVALID.*under any key/)
  })

  test('a column that was empty gets the very bytes that `set` makes', () => {
    const set = { sum: "sha256({value'})" }
    const site = makeSite(schema, { 'app.t': { ...base, value, set } }, 'data')
    site.run('INSERT INTO t VALUES (1, ?, NULL, NULL)', seal(site.key, 'a').toString('base64'))
    site.rotate()
    site.ok('reencrypt', '--yes')
    const [row] = site.rows('SELECT value, sum FROM t')
    const digest = createHash('sha256').update(String(row?.['value'])).digest()
    expect(Buffer.from(row?.['sum'] as Uint8Array).equals(digest)).toBe(true)
  })

  test('a nonce that is always the same is never used again under the same DEK', () => {
    const dek = randomBytes(32)
    const nonce = createHash('sha256').update('n1').digest().subarray(0, 12)
    const site = makeSite('CREATE TABLE t (id INTEGER PRIMARY KEY, wrapped BLOB, value BLOB, kv INTEGER)', {
      'app.t': {
        ...base,
        version: 'kv',
        dek: { column: 'wrapped', aead: 'aes-256-gcm', layout: gcm },
        value: {
          column: 'value',
          aead: 'aes-256-gcm',
          layout: 'ct tag:16',
          nonce: 'slice(sha256("n" {id}), 0, 12)',
          aad: '"v" {kv}',
        },
      },
    })
    const cipher = createCipheriv('aes-256-gcm', dek, nonce)
    cipher.setAAD(Buffer.from('v1'))
    const sealed = Buffer.concat([cipher.update('a'), cipher.final(), cipher.getAuthTag()])
    site.run('INSERT INTO t VALUES (1, ?, ?, 1)', seal(site.key, dek), sealed)
    site.rotate()
    expect(site.json('rewrap', '--yes')).toMatchObject({ exit: 2, error: { code: 'CONFIG_INVALID' } })
    expect(site.rows('SELECT value, kv FROM t')).toEqual([{ value: new Uint8Array(sealed), kv: 1 }])
  })
})
