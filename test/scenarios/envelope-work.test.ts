import { createCipheriv, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { closeSites, filesWith, gcm, makeSite, open, seal, without, type Site } from './shape-site.ts'

// New DEKs, the first sealing, and what a look at the data tells before it is trusted.

afterEach(closeSites)

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

describe('reencrypt --new-deks of records that share DEKs', () => {
  const schema = 'CREATE TABLE t (id INTEGER PRIMARY KEY, project TEXT, wrapped BLOB, value TEXT)'
  const envelope = {
    store: 'app',
    table: 't',
    id: 'id',
    key: 'k',
    dek: { column: 'wrapped', 'group-by': 'project', aead: 'aes-256-gcm', layout: gcm },
    value: { column: 'value', aead: 'aes-256-gcm', layout: `base64(${gcm})` },
  }
  function filled(): Site {
    const site = makeSite(schema, { 'app.t': envelope })
    const deks = [randomBytes(32), randomBytes(32), randomBytes(32)]
    for (let id = 1; id <= 15; id++) {
      const dek = deks[id % 3] as Buffer
      const value = seal(dek, `value ${id}`).toString('base64')
      site.run('INSERT INTO t VALUES (?, ?, ?, ?)', id, `p${id % 3}`, seal(site.key, dek), value)
    }
    return site
  }
  const deksOf = (site: Site): Readonly<Record<string, readonly string[]>> => {
    const found: Record<string, string[]> = {}
    for (const { project, wrapped, value } of site.rows('SELECT * FROM t')) {
      const dek = open(site.key, wrapped as Buffer)
      expect(open(dek, Buffer.from(String(value), 'base64')).toString()).toMatch(/^value \d+$/)
      ;(found[String(project)] ??= []).push(dek.toString('hex'))
    }
    return found
  }

  test('gives each group one new DEK', () => {
    const site = filled()
    const before = deksOf(site)
    site.ok('reencrypt', '--new-deks', '--offline', '--yes', ...without)
    const after = deksOf(site)
    expect(Object.keys(after)).toEqual(Object.keys(before))
    for (const [project, deks] of Object.entries(after)) {
      expect(new Set(deks).size).toBe(1)
      expect(before[project]).not.toContain(deks[0])
    }
  })

  test('leaves a group whole while one of its records cannot be written', () => {
    const site = filled()
    site.run(
      "CREATE TRIGGER stop BEFORE UPDATE ON t WHEN OLD.id = 7 BEGIN SELECT RAISE(ABORT, 'stopped'); END",
    )
    expect(site.json('reencrypt', '--new-deks', '--offline', '--yes', ...without).exit).not.toBe(0)
    for (const deks of Object.values(deksOf(site))) expect(new Set(deks).size).toBe(1)
    site.run('DROP TRIGGER stop')
    site.ok('run', 'resume')
    for (const deks of Object.values(deksOf(site))) expect(new Set(deks).size).toBe(1)
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

  test('takes the envelopes in which plaintext may lie, where none is named', () => {
    const other = {
      ...direct,
      table: 'other',
      plaintext: false,
      value: { ...direct.value, aad: '{id}' },
      version: undefined,
    }
    const site = makeSite(
      `${schema}; CREATE TABLE other (id INTEGER PRIMARY KEY, value TEXT)`,
      { 'app.other': other, 'app.t': direct },
      'data',
    )
    site.run("INSERT INTO t VALUES (1, 'plain', NULL, NULL, NULL)")
    site.ok('seal', '--yes', ...without)
    expect(site.rows('SELECT value FROM t')[0]?.['value']).toMatch(/^v1:/)
    site.configure({ 'app.other': other }, 'data')
    expect(site.json('seal', '--yes').error?.hint).toContain('plaintext: true')
  })

  test('a number that is no text stops it, before anything of its batch is written', () => {
    const site = makeSite(schema.replace('value TEXT', 'value'), { 'app.t': direct }, 'data')
    site.run("INSERT INTO t VALUES (1, 1.5, NULL, NULL, NULL), (2, 'plain', NULL, NULL, NULL)")
    expect(site.json('seal', '--yes', ...without)).toMatchObject({
      exit: 5,
      error: { code: 'LAYOUT_MISMATCH' },
    })
    expect(site.rows('SELECT value FROM t')).toEqual([{ value: 1.5 }, { value: 'plain' }])
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
