import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { afterAll, afterEach, describe, expect, test, type TestContext } from 'vitest'
import { openAsDescribed } from '../core/layout/vector-ciphers.ts'
import {
  bytesOfCell,
  objectOf,
  textOf,
  vectorNamed,
  type Json,
  type JsonObject,
} from '../core/layout/vector-reader.ts'
import { postgresMissing, startPostgres, asRole, type PostgresServer } from '../support/postgres.ts'
import { origanInFolder, ProfileSite } from './profiles-site.ts'

// The five applications of the seed documents, from `kvx init --profile` to the retired key.

const open: ProfileSite[] = []
afterEach(() => {
  for (const site of open.splice(0)) site.close()
})

function siteOf(...args: ConstructorParameters<typeof ProfileSite>): ProfileSite {
  const site = new ProfileSite(...args)
  open.push(site)
  return site
}

function sealGcm(key: Buffer, plaintext: Buffer | string, { nonce = 12, aad = '' } = {}): Buffer {
  const iv = randomBytes(nonce)
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  cipher.setAAD(Buffer.from(aad))
  return Buffer.concat([iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

function openGcm(key: Buffer, value: Buffer, { nonce = 12, aad = '' } = {}): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, value.subarray(0, nonce), { authTagLength: 16 })
  decipher.setAAD(Buffer.from(aad))
  decipher.setAuthTag(value.subarray(-16))
  return Buffer.concat([decipher.update(value.subarray(nonce, -16)), decipher.final()])
}

const caseOf = (file: string, number: number): JsonObject =>
  objectOf((vectorNamed(file)['cases'] as readonly Json[])[number])
const keyOf = (file: string): Buffer => Buffer.from(textOf(objectOf(vectorNamed(file)['kek'])['hex']), 'hex')
const rowOf = (vector: JsonObject): JsonObject => objectOf(vector['row'])

let server: PostgresServer | undefined
afterAll(async () => server?.stop())
async function running(context: TestContext): Promise<PostgresServer> {
  const reason = postgresMissing()
  if (reason !== undefined) context.skip(reason)
  return (server ??= await startPostgres())
}

describe('rcrt', () => {
  const vector = vectorNamed('01-rcrt')
  const row = rowOf(vector)
  const [blob, wrapped] = [bytesOfCell(row['enc_blob']), bytesOfCell(row['dek_encrypted'])]
  const envFile = `PORT=8081\nLOCAL_KEK_BASE64=${keyOf('01-rcrt').toString('base64')}\n`
  const dekOf = (kek: Buffer, value: Buffer): string =>
    Buffer.from(xchacha20poly1305(kek, value.subarray(0, 24)).decrypt(value.subarray(24))).toString('hex')

  test('rcrt: the grace period of the guide, with both keys in the env file until the old one is retired', () => {
    const site = siteOf('rcrt')
    site.write('rcrt.env', envFile)
    site.table('secrets', [
      { id: textOf(row['id']), enc_blob: blob, dek_encrypted: wrapped, kek_id: 'local-keK' },
    ])
    site.ok('key', 'import', 'master')
    site.ok('verify')
    const variable = (name: string): Buffer =>
      Buffer.from(new RegExp(`^${name}=(.*)$`, 'm').exec(site.text('rcrt.env'))?.[1] ?? '', 'base64')
    site.ok('rotate', 'master', '--stage', '--yes', '--without-backup', '--reason', 'a test')
    expect(variable('LOCAL_KEK_BASE64')).toEqual(keyOf('01-rcrt'))
    expect(variable('LOCAL_KEK_BASE64_OLD')).toEqual(site.material('master', 2))
    site.ok(
      'rotate',
      'master',
      '--activate',
      '--rolled-out',
      '--yes',
      '--without-backup',
      '--reason',
      'a test',
    )
    expect(variable('LOCAL_KEK_BASE64_OLD')).toEqual(keyOf('01-rcrt'))
    site.ok('rewrap', '--yes', '--rolled-out')
    expect(site.census()).toEqual({ 'rcrt.secrets': { 'master@2': 1 } })
    const [moved] = site.rows('secrets')
    expect(moved?.['enc_blob']).toEqual(blob)
    expect(dekOf(variable('LOCAL_KEK_BASE64'), moved?.['dek_encrypted'] as Buffer)).toBe(
      objectOf(vector['dek'])['hex'],
    )
    site.retire('master@1')
    expect(site.text('rcrt.env')).not.toContain('_OLD')
  })

  test('rcrt on PostgreSQL: the owner of the table rotates, and a role behind row-level security is refused', async (context) => {
    const database = await running(context)
    const url = await database.createDatabase()
    await database.sql(
      url,
      'CREATE ROLE rcrt_owner LOGIN; CREATE ROLE rcrt_app LOGIN; GRANT ALL ON SCHEMA public TO rcrt_owner',
    )
    const owner = asRole(url, 'rcrt_owner')
    await database.sql(
      owner,
      `CREATE TABLE secrets (id uuid PRIMARY KEY, name text, owner_id uuid, enc_blob bytea NOT NULL,
           dek_encrypted bytea NOT NULL, kek_id text NOT NULL, last_rotation_at timestamptz);
         ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON secrets USING (owner_id = current_setting('app.current_owner_id', true)::uuid);
         GRANT SELECT, UPDATE ON secrets TO rcrt_app`,
    )
    const put = `INSERT INTO secrets (id, name, enc_blob, dek_encrypted, kek_id) VALUES ($1, 'k', $2, $3, 'local-keK')`
    await database.sql(owner, put, [textOf(row['id']), blob, wrapped])
    for (const [name, expected] of [
      ['rcrt_app', undefined],
      ['rcrt_owner', { 'rcrt.secrets': { 'master@1': 1 } }],
    ] as const) {
      const site = siteOf('rcrt', [], { DATABASE_URL: asRole(url, name) })
      site.write('rcrt.env', envFile)
      // The key of the guide counts up; a role that sees no row cannot prove that it is in use.
      site.ok('key', 'import', 'master', '--accept-risk', '--reason', 'the key of the guide')
      if (expected === undefined) {
        const refused = site.json('verify')
        expect(refused.exit).not.toBe(0)
        expect(JSON.stringify(refused)).toMatch(/row level security decides/)
        continue
      }
      expect(site.census()).toEqual(expected)
      site.rotate('master')
      expect(site.census()).toEqual({ 'rcrt.secrets': { 'master@2': 1 } })
      const [moved] = await database.sql(owner, 'SELECT * FROM secrets')
      expect(moved?.['enc_blob']).toEqual(blob)
      const value = moved?.['dek_encrypted'] as Buffer
      expect(dekOf(site.material('master', 2), value)).toBe(objectOf(vector['dek'])['hex'])
      expect(() => dekOf(keyOf('01-rcrt'), value)).toThrow()
      site.retire('master@1')
    }
  })

  test('rcrt in an emergency: both keys from files, as `migrate-secrets.sh --old-kek --new-kek` took them', async (context) => {
    const database = await running(context)
    const url = await database.createDatabase()
    await database.sql(
      url,
      'CREATE TABLE secrets (id uuid PRIMARY KEY, enc_blob bytea NOT NULL, dek_encrypted bytea NOT NULL, kek_id text)',
    )
    const put = `INSERT INTO secrets (id, enc_blob, dek_encrypted, kek_id) VALUES ($1, $2, $3, 'local-keK')`
    await database.sql(url, put, [textOf(row['id']), blob, wrapped])
    const [old, fresh] = [keyOf('01-rcrt'), randomBytes(32)]
    const site = siteOf('rcrt', [], { DATABASE_URL: url })
    site.write('old.kek', `${old.toString('base64')}\n`).write('new.kek', `${fresh.toString('base64')}\n`)
    site.ok('key', 'import', 'master', '--from', 'file:old.kek', '--version', '1')
    const taken = ['key', 'import', 'master', '--from', 'file:new.kek', '--version', '2', '--seals']
    expect(site.ok<{ versions: object[] }>(...taken).data.versions).toMatchObject([
      { version: 2, state: 'active', changed: true },
    ])
    site.ok('key', 'publish', 'master', '--yes')
    expect(site.text('rcrt.env')).toBe(
      `LOCAL_KEK_BASE64=${fresh.toString('base64')}\nLOCAL_KEK_BASE64_OLD=${old.toString('base64')}\n`,
    )
    site.ok('key', 'compromise', 'master@1', '--reason', 'a test', '--yes')
    const held = site.json('rewrap', '--yes')
    expect(held).toMatchObject({ exit: 6, error: { code: 'NO_TESTED_BACKUP' } })
    site.ok('rewrap', '--yes', '--without-backup', '--reason', 'a test')
    expect(site.census()).toEqual({ 'rcrt.secrets': { 'master@2': 1 } })
    const [moved] = await database.sql(url, 'SELECT * FROM secrets')
    expect(moved?.['enc_blob']).toEqual(blob)
    expect(dekOf(fresh, moved?.['dek_encrypted'] as Buffer)).toBe(objectOf(vector['dek'])['hex'])
    expect(() => dekOf(old, moved?.['dek_encrypted'] as Buffer)).toThrow()
    // The same command again is nothing to do.
    site.ok(...taken)
    site.retire('master@1')
    expect(site.text('rcrt.env')).toBe(`LOCAL_KEK_BASE64=${fresh.toString('base64')}\n`)
  })
})

describe('origan', () => {
  const vector = vectorNamed('02-origan')
  const row = rowOf(vector)
  const wrapped = textOf(row['encrypted_dek'])
  const variables = JSON.stringify(row['variables'])
  const metadata = (dek: string): string =>
    `{\n  "projectId": "p1",\n  "encryptedDEK": ${JSON.stringify(dek)},\n  "environmentVariables": ${variables}\n}\n`
  const dekOf = (kek: Buffer, value: string): string =>
    openGcm(kek, Buffer.from(value, 'base64'), { nonce: 16 }).toString('hex')

  function prepared(site: ProfileSite): ProfileSite {
    site.write('codec.env', `KEK_SECRET=${keyOf('02-origan').toString('base64')}\n`)
    // Writers of a test take their new key at once.
    for (const name of ['d1', 'd2']) site.write(`deployments/${name}/metadata.json`, metadata(wrapped))
    site.ok('key', 'import', 'kek')
    expect(site.census()).toEqual({
      'origan.variables': { 'kek@1': 2 },
      'origan.deployments': { 'kek@1': 2 },
    })
    return site
  }

  function expectMoved(site: ProfileSite): void {
    const now = site.material('kek', 2)
    for (const name of ['d1', 'd2']) {
      const text = site.text(`deployments/${name}/metadata.json`)
      const { encryptedDEK: dek } = JSON.parse(text) as { encryptedDEK: string }
      expect(dekOf(now, dek)).toBe(objectOf(vector['dek'])['hex'])
      expect(() => dekOf(keyOf('02-origan'), dek)).toThrow()
      expect(text).toBe(metadata(dek))
    }
  }

  test('origan: the DEK of a project and its copies in the deployments move in one run', () => {
    const site = origanInFolder(siteOf('origan', [['cache-ttl: 5m', 'cache-ttl: 1s']]))
    site.table('project', [{ id: 'p1', encrypted_dek: wrapped }])
    site.table('environment_revisions', [{ id: 'r1', project_id: 'p1', variables }])
    prepared(site).rotate('kek')
    expectMoved(site)
    expect(dekOf(site.material('kek', 2), String(site.rows('project')[0]?.['encrypted_dek']))).toBe(
      objectOf(vector['dek'])['hex'],
    )
    expect(site.rows('environment_revisions')[0]?.['variables']).toBe(variables)
    site.retire('kek@1')
  })

  test('origan: a deployment that is forgotten holds the old key', () => {
    const site = origanInFolder(siteOf('origan', [['cache-ttl: 5m', 'cache-ttl: 1s']]))
    site.table('project', [{ id: 'p1', encrypted_dek: wrapped }])
    site.table('environment_revisions', [{ id: 'r1', project_id: 'p1', variables }])
    prepared(site).rotate('kek')
    site.write('deployments/d3/metadata.json', metadata(wrapped))
    const refused = site.json('retire', 'kek@1', '--confirm', 'kek@1')
    expect([refused.exit, refused.error?.code]).toEqual([6, 'VALUES_REMAIN'])
  })

  test('origan: each project gets a new DEK, and a damaged secret is never taken for a plain variable', () => {
    const site = origanInFolder(siteOf('origan', [['cache-ttl: 5m', 'cache-ttl: 1s']]))
    site.table('project', [{ id: 'p1', encrypted_dek: wrapped }])
    site.table('environment_revisions', [{ id: 'r1', project_id: 'p1', variables }])
    prepared(site)
    const stopped = ['--new-deks', '--offline', '--yes', '--without-backup', '--reason', 'a test'] as const
    const damaged = metadata(wrapped).replace('"encrypted":true,"value":"', '"encrypted":true,"value":"?')
    expect(damaged).not.toBe(metadata(wrapped))
    site.write('deployments/d1/metadata.json', damaged)
    expect(site.json('reencrypt', ...stopped).error?.code).toBe('UNREADABLE_RECORDS')
    expect(site.text('deployments/d1/metadata.json')).toBe(damaged)
    site.write('deployments/d1/metadata.json', metadata(wrapped))
    site.ok('reencrypt', ...stopped)
    const kek = keyOf('02-origan')
    const secretsOf = (dek: string, document: unknown): readonly string[] =>
      Object.values(objectOf(document as Json)).flatMap((one) => {
        const { encrypted, value } = one as { encrypted?: boolean; value: string }
        const key = Buffer.from(dekOf(kek, dek), 'hex')
        return encrypted === true
          ? [openGcm(key, Buffer.from(value, 'base64'), { nonce: 16 }).toString()]
          : []
      })
    const before = secretsOf(wrapped, row['variables'])
    expect(before.length).toBeGreaterThan(0)
    const now = String(site.rows('project')[0]?.['encrypted_dek'])
    expect(dekOf(kek, now)).not.toBe(dekOf(kek, wrapped))
    const revision = JSON.parse(String(site.rows('environment_revisions')[0]?.['variables'])) as unknown
    expect(secretsOf(now, revision)).toEqual(before)
    for (const name of ['d1', 'd2']) {
      const { encryptedDEK, environmentVariables } = JSON.parse(
        site.text(`deployments/${name}/metadata.json`),
      ) as { encryptedDEK: string; environmentVariables: unknown }
      expect(dekOf(kek, encryptedDEK)).not.toBe(dekOf(kek, wrapped))
      expect(secretsOf(encryptedDEK, environmentVariables)).toEqual(before)
    }
  })

  test('origan on PostgreSQL: JSONB variables are read where they lie, and stay', async (context) => {
    const database = await running(context)
    const url = await database.createDatabase()
    await database.sql(
      url,
      `CREATE TABLE project (id uuid PRIMARY KEY, encrypted_dek text);
         CREATE TABLE environment_revisions (id uuid PRIMARY KEY, project_id uuid REFERENCES project, variables jsonb)`,
    )
    const id = '5b0c0f8e-6f0e-4f4a-9a56-1c2d3e4f5a6b'
    await database.sql(url, 'INSERT INTO project VALUES ($1, $2)', [id, wrapped])
    await database.sql(url, 'INSERT INTO environment_revisions VALUES ($1, $1, $2)', [id, variables])
    const [before] = await database.sql(url, 'SELECT variables::text FROM environment_revisions')
    const site = origanInFolder(siteOf('origan', [['cache-ttl: 5m', 'cache-ttl: 1s']], { DATABASE_URL: url }))
    prepared(site).rotate('kek')
    expectMoved(site)
    const [project] = await database.sql(url, 'SELECT encrypted_dek FROM project')
    expect(dekOf(site.material('kek', 2), String(project?.['encrypted_dek']))).toBe(
      objectOf(vector['dek'])['hex'],
    )
    expect(await database.sql(url, 'SELECT variables::text FROM environment_revisions')).toEqual([before])
    site.retire('kek@1')
  })
})

describe('progressdb', () => {
  const [dek, thread, message] = [0, 1, 2].map((number) => caseOf('03-progressdb', number)) as [
    JsonObject,
    JsonObject,
    JsonObject,
  ]
  const lines = (...records: readonly object[]): string =>
    records.map((record) => `${JSON.stringify(record)}\n`).join('')
  const blobOf = (text: string): Buffer =>
    Buffer.from(textOf((JSON.parse(text) as JsonObject)['ciphertext']), 'base64')
  const decoded = (text: string): string => Buffer.from(text, 'base64').toString()

  function prepared(edits: readonly (readonly [string, string])[] = []): ProfileSite {
    const site = siteOf('progressdb', edits)
    site.write('kms/master.key', keyOf('03-progressdb').toString('hex'))
    site.write(
      'export/deks.jsonl',
      lines({ key: 'dek:t:thread-0001', value: textOf(rowOf(dek)['pebble_value']) }),
    )
    const kms = {
      key_id: 't:thread-0001',
      wrapped_dek: textOf(rowOf(thread)['wrapped_dek']),
      kek_id: '',
      kek_version: '',
    }
    site.write('export/threads.jsonl', lines({ key: 'thread:thread-0001:meta', value: { title: 'T', kms } }))
    site.write(
      'export/messages.jsonl',
      lines(
        {
          key: 'thread:thread-0001:msg:1-1',
          value: { body: { _enc: 'gcm', v: textOf(rowOf(message)['body_v']) } },
        },
        { key: 'thread:thread-0001:msg:2-1', value: { body: { text: 'never sealed' } } },
      ),
    )
    site.ok('key', 'import', 'master')
    return site
  }

  test('progressdb: messages under the master key are sealed again, DEKs and their copies are rewrapped', () => {
    const site = prepared()
    const names = ['progressdb.deks', 'progressdb.threads', 'progressdb.messages']
    const at = (version: string): object => Object.fromEntries(names.map((name) => [name, { [version]: 1 }]))
    expect(site.census()).toEqual(at('master@1'))
    site.rotate('master')
    expect(site.census()).toEqual(at('master@2'))
    const key = site.material('master', 2)
    const read = (file: string): JsonObject =>
      JSON.parse(site.text(`export/${file}`).split('\n')[0] ?? '') as JsonObject
    const hex = objectOf(dek['dek'])['hex']
    expect(openGcm(key, blobOf(textOf(read('deks.jsonl')['value']))).toString('hex')).toBe(hex)
    const kms = objectOf(objectOf(read('threads.jsonl')['value'])['kms'])
    expect(openGcm(key, blobOf(decoded(textOf(kms['wrapped_dek'])))).toString('hex')).toBe(hex)
    const body = objectOf(objectOf(read('messages.jsonl')['value'])['body'])
    expect(openGcm(key, blobOf(decoded(textOf(body['v']))))).toEqual(bytesOfCell(message['plaintext']))
    expect(site.text('kms/master.key')).toBe(key.toString('hex'))
    site.retire('master@1')
  })

  test('progressdb: who believes the guide and declares the messages under a DEK is refused before a write', () => {
    const wrap = 'aead: aes-256-gcm, layout: \'json({"ciphertext": base64(nonce:12 ct tag:16), ...})\''
    const site = prepared([
      [
        '    table: messages.jsonl\n    id: key\n    key: master\n',
        `    table: messages.jsonl\n    id: key\n    key: master\n    dek: { table: deks.jsonl, id: key, on: value.dek, column: value, ${wrap} }\n`,
      ],
      [
        '  progressdb.deks:\n    store: export\n    table: deks.jsonl\n    id: key\n    key: master\n',
        '  progressdb.other:\n    store: export\n    table: none.jsonl\n    id: key\n    key: master\n',
      ],
    ])
    site.write('export/none.jsonl', '')
    const message1 = {
      key: 'm1',
      value: { dek: 'dek:t:thread-0001', body: { v: textOf(rowOf(message)['body_v']) } },
    }
    site.write('export/messages.jsonl', lines(message1))
    const before = site.text('export/deks.jsonl')
    const { exit, stdout, stderr } = site.run('verify')
    expect(exit).not.toBe(0)
    expect(stdout + stderr).toMatch(/does not open with that DEK|opens directly under the key/)
    const rotation = ['rotate', 'master', '--offline', '--then', 'data', '--yes']
    const refused = site.json(...rotation, '--without-backup', '--reason', 'a test')
    expect([refused.exit, refused.error?.code]).toEqual([5, 'UNREADABLE_RECORDS'])
    expect(site.text('export/deks.jsonl')).toBe(before)
  })
})

describe('bundoc', () => {
  const key = keyOf('05-bundoc')
  const pages = [0, 1].map((number) => bytesOfCell(rowOf(caseOf('05-bundoc', number))['page']))
  const ring = JSON.parse(textOf(objectOf(caseOf('04-bunkms', 0)['plaintext'])['utf8'])) as {
    Versions: { Material: string }[]
  }
  const material = (version: number): Buffer =>
    Buffer.from(ring.Versions[version - 1]?.Material ?? '', 'base64')
  const ciphertexts = [1, 2].map((number) => textOf(rowOf(caseOf('04-bunkms', number))['ciphertext']))

  function prepared(): ProfileSite {
    const site = siteOf('bundoc', [
      ['cache-ttl: 15m', 'cache-ttl: 1s'],
      [`aad: '"order:" {id}'`, `aad: '"order:4711"'`],
    ])
    site.write('keys/project-a.key', key)
    site.write('data/projects/project-a/docs/users/1', sealGcm(key, '{"foo":"bar"}'))
    site.write('data/projects/project-a/docs/users/2', sealGcm(key, '{}'))
    site.write('data/projects/project-a/data.db', Buffer.concat(pages))
    site.table(
      'orders',
      ciphertexts.map((ciphertext, index) => ({ id: index + 1, ciphertext })),
    )
    site.ok('key', 'import', 'project-a')
    return site
  }

  test('bundoc: documents and sealed pages move to a new key of their project', () => {
    const site = prepared()
    site.write('orders.key', material(2))
    site.ok('key', 'import', 'orders', '--from', 'file:orders.key', '--version', '2')
    site.write('orders.key', material(1))
    site.ok('key', 'import', 'orders', '--from', 'file:orders.key', '--version', '1')
    expect(site.census()).toMatchObject({
      'bundoc.docs': { 'project-a@1': 2 },
      'bundoc.pages': { 'project-a@1': 2 },
    })
    site.rotate('project-a')
    const now = site.material('project-a', 2)
    expect(site.read('keys/project-a.key')).toEqual(now)
    expect(openGcm(now, site.read('data/projects/project-a/docs/users/1')).toString()).toBe('{"foo":"bar"}')
    const file = site.read('data/projects/project-a/data.db')
    expect(file).toHaveLength(2 * 8220)
    const plain = [0, 1].map((page) => openGcm(now, file.subarray(page * 8220, (page + 1) * 8220)))
    expect(plain).toEqual(pages.map((page) => openGcm(key, page)))
    site.retire('project-a@1')
  })

  test('bundoc with BunKMS: ciphertexts of clients go to the version that BunKMS made', () => {
    const site = prepared()
    site.write('orders.key', material(2).toString('base64'))
    site.ok('key', 'import', 'orders', '--from', 'file:orders.key', '--encoding', 'base64', '--version', '2')
    site.write('orders.key', material(1).toString('base64'))
    site.ok('key', 'import', 'orders', '--from', 'file:orders.key', '--encoding', 'base64', '--version', '1')
    expect(site.census()).toMatchObject({ 'bunkms.orders': { 'orders@1': 1, 'orders@2': 1 } })
    site.ok('reencrypt', 'bunkms.orders', '--yes', '--without-backup', '--reason', 'a test')
    expect(site.census()).toMatchObject({ 'bunkms.orders': { 'orders@2': 2 } })
    const level = objectOf(objectOf(caseOf('04-bunkms', 2)['layout'])['data'])
    for (const { ciphertext } of site.rows('orders')) {
      const row = { ciphertext: String(ciphertext), aad: 'order:4711' }
      expect(Buffer.from(row.ciphertext, 'base64').readUInt32BE(0)).toBe(2)
      expect(openAsDescribed(level, row, material(2))).toEqual(
        bytesOfCell(caseOf('04-bunkms', 2)['plaintext']),
      )
    }
    site.retire('orders@1')
  })
})

describe('kvcrypt', () => {
  test('kvcrypt: key files with their readers, and a vault taken over from the old tool', () => {
    const readers = ['readers: [tk-readers]', 'readers: [ma-readers]'].map(
      (text) => [text, 'readers: []'] as const,
    )
    const site = siteOf('kvcrypt', [
      ...readers,
      ['/opt/coord/.sys/', './'],
      ['/opt/coord/vaults', './vaults'],
    ])
    site.write('vaults/.keep', '')
    for (const name of ['tk', 'ma']) site.ok('keygen', name)
    const key = site.read('tk.key')
    expect(key).toHaveLength(32)
    // What `kvcrypt.py get tk | kvx vault import tk` hands over.
    site.write('old.json', '{"github":"ghp_x","nested":{"a":1}}')
    site.ok('vault', 'import', 'tk', '--from', 'old.json')
    site.ok('vault', 'put', 'ma', '{"k":"v"}')
    site.rotate('tk')
    expect(createHash('sha256').update(site.read('tk.key')).digest()).not.toEqual(
      createHash('sha256').update(key).digest(),
    )
    expect(site.run('vault', 'get', 'tk', 'github').stdout.trim()).toBe('ghp_x')
    expect(site.run('vault', 'get', 'ma', 'k').stdout.trim()).toBe('v')
    site.retire('tk@1')
  })
})
