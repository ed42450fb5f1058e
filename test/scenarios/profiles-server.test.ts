import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { derivedKey, openAsDescribed } from '../core/layout/vector-ciphers.ts'
import {
  bytesOfCell,
  objectOf,
  textOf,
  vectorNamed,
  type Json,
  type JsonObject,
} from '../core/layout/vector-reader.ts'
import { mariadbMissing, startMariadb, type MariadbServer } from '../support/mariadb.ts'
import { postgresMissing, startPostgres, type PostgresServer } from '../support/postgres.ts'
import { ProfileSite } from './profiles-site.ts'

// Profiles with the store line as it is, on a real PostgreSQL or MariaDB, where SQLite would hide something: documents in JSONB,
// names in mixed case, a column of a type of its own. RCRT and Origan are in `profiles-seeds.test.ts`.

const open: ProfileSite[] = []
afterEach(() => {
  for (const site of open.splice(0)) site.close()
})

type Database = {
  readonly url: string
  sql(text: string, values?: readonly unknown[]): Promise<JsonObject[]>
}

async function databaseOf(of: PostgresServer | MariadbServer, ddl: string): Promise<Database> {
  const url = await of.createDatabase()
  const sql: Database['sql'] = async (text, values) => (await of.sql(url, text, values)) as JsonObject[]
  await sql(ddl)
  return { url, sql }
}

function siteOf(profile: string, { url }: Database, file: string, content: string): ProfileSite {
  const site = new ProfileSite(profile, [], { DATABASE_URL: url })
  open.push(site)
  return site.write(file, content)
}

describe('on PostgreSQL', () => {
  const missing = postgresMissing()
  let server: PostgresServer | undefined
  beforeAll(async () => {
    if (missing === undefined) server = await startPostgres()
  })
  afterAll(async () => server?.stop())
  beforeEach((context) => {
    if (missing !== undefined) context.skip(missing)
  })

  async function database(ddl: string): Promise<Database> {
    if (server === undefined) throw new TypeError('a test without a server was skipped')
    return databaseOf(server, ddl)
  }

  test('awx: a secret inside JSONB moves, and what lies beside it stays', async () => {
    const vector = vectorNamed('28-awx')
    const key = Buffer.from(textOf(objectOf(vector['kek'])['hex']), 'hex')
    const db = await database('CREATE TABLE main_credential (id integer PRIMARY KEY, inputs jsonb NOT NULL)')
    const inputs = { ...objectOf(objectOf(vector['row'])['inputs']), username: 'admin' }
    await db.sql('INSERT INTO main_credential VALUES (42, $1), (43, $2)', [
      JSON.stringify(inputs),
      '{"username": "b"}',
    ])
    const site = siteOf('awx', db, 'SECRET_KEY', key.toString())
    site.ok('key', 'import', 'secret')
    expect(site.census()).toEqual({ 'awx.credentials': { 'secret@1': 1 } })
    site.rotate('secret')
    const rows = await db.sql('SELECT id, inputs FROM main_credential ORDER BY id')
    const moved = objectOf(rows[0]?.['inputs'])
    expect(moved['username']).toBe('admin')
    expect(rows[1]?.['inputs']).toEqual({ username: 'b' })
    const level = objectOf(objectOf(vector['layout'])['data'])
    const row: JsonObject = { pk: 42, inputs: moved }
    const plaintext = openAsDescribed(level, row, derivedKey(level, row, site.material('secret', 2)))
    expect(plaintext).toEqual(bytesOfCell(vector['plaintext']))
    site.retire('secret@1')
  })

  test('kratos: tokens inside an array in JSONB', async () => {
    const key = Buffer.from('0123456789abcdefghijklmnopqrstuv')
    const nonce = randomBytes(24)
    const sealed = Buffer.concat([nonce, xchacha20poly1305(key, nonce).encrypt(Buffer.from('token'))])
    const db = await database(
      'CREATE TABLE identity_credentials (id uuid PRIMARY KEY, config jsonb NOT NULL)',
    )
    const config = { providers: [{ subject: 's', initial_access_token: sealed.toString('hex') }] }
    await db.sql('INSERT INTO identity_credentials VALUES (gen_random_uuid(), $1)', [JSON.stringify(config)])
    const site = siteOf('kratos', db, 'cipher.secret', key.toString())
    site.ok('key', 'import', 'cipher')
    expect(site.census()).toEqual({ 'kratos.oidc': { 'cipher@1': 1 } })
    site.rotate('cipher')
    const [row] = await db.sql('SELECT config FROM identity_credentials')
    const [provider] = objectOf(row?.['config'])['providers'] as readonly Json[]
    const moved = Buffer.from(textOf(objectOf(provider)['initial_access_token']), 'hex')
    const opened = xchacha20poly1305(site.material('cipher', 2), moved.subarray(0, 24)).decrypt(
      moved.subarray(24),
    )
    expect([Buffer.from(opened).toString(), objectOf(provider)['subject']]).toEqual(['token', 's'])
    site.retire('cipher@1')
  })

  test('cal-com: tables and columns in mixed case, a string in JSONB beside documents', async () => {
    const key = Buffer.from('abcdefghijklmnopqrstuvwxyz012345')
    const sealed = (text: string): string => {
      const iv = randomBytes(16)
      const cipher = createCipheriv('aes-256-cbc', key, iv)
      return `${iv.toString('hex')}:${Buffer.concat([cipher.update(text), cipher.final()]).toString('hex')}`
    }
    const db = await database(
      `CREATE TABLE users (id serial PRIMARY KEY, "twoFactorSecret" text);
       CREATE TABLE "Credential" (id serial PRIMARY KEY, key jsonb NOT NULL)`,
    )
    await db.sql('INSERT INTO users ("twoFactorSecret") VALUES ($1), (NULL)', [
      sealed('JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'),
    ])
    const token = '{"access_token": "plain"}'
    await db.sql('INSERT INTO "Credential" (key) VALUES ($1), ($2)', [
      JSON.stringify(sealed('{"user":"a"}')),
      token,
    ])
    const site = siteOf('cal-com', db, '.env', `CALENDSO_ENCRYPTION_KEY=${key.toString()}\n`)
    site.ok('key', 'import', 'calendso')
    site.convert('reencrypt')
    site.rotate('calendso')
    const opened = (value: string, aad: string): string => {
      const bytes = Buffer.from(value.replace('v2:', ''), 'base64')
      const decipher = createDecipheriv('aes-256-gcm', site.material('calendso', 2), bytes.subarray(0, 12))
      decipher.setAAD(Buffer.from(aad))
      decipher.setAuthTag(bytes.subarray(-16))
      return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString()
    }
    const [user] = await db.sql('SELECT "twoFactorSecret" AS secret FROM users ORDER BY id')
    expect(opened(textOf(user?.['secret']), 'users/1')).toBe('JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP')
    const [first, second] = await db.sql('SELECT key FROM "Credential" ORDER BY id')
    expect(opened(textOf(first?.['key']), 'Credential/1')).toBe('{"user":"a"}')
    expect(second?.['key']).toEqual(JSON.parse(token))
    site.retire('calendso@1')
  })

  test('lobe-chat: an id of two columns', async () => {
    const vector = vectorNamed('09-lobechat')
    const value = textOf(objectOf(vector['row'])['key_vaults'])
    const db = await database(
      `CREATE TABLE user_settings (id text PRIMARY KEY, key_vaults text);
       CREATE TABLE ai_providers (id varchar(64), user_id text, key_vaults text, PRIMARY KEY (id, user_id))`,
    )
    await db.sql(`INSERT INTO user_settings VALUES ('u1', $1), ('u2', NULL)`, [value])
    await db.sql(`INSERT INTO ai_providers VALUES ('openai', 'u1', $1), ('openai', 'u2', NULL)`, [value])
    const site = siteOf(
      'lobe-chat',
      db,
      '.env',
      `KEY_VAULTS_SECRET=${textOf(objectOf(vector['kek'])['value'])}\n`,
    )
    site.ok('key', 'import', 'vaults')
    expect(site.census()).toEqual({ 'lobe.users': { 'vaults@1': 1 }, 'lobe.providers': { 'vaults@1': 1 } })
    site.rotate('vaults')
    const level = objectOf(objectOf(vector['layout'])['data'])
    for (const table of ['user_settings', 'ai_providers']) {
      const [row] = await db.sql(`SELECT key_vaults FROM ${table} WHERE key_vaults IS NOT NULL`)
      expect(openAsDescribed(level, row ?? {}, site.material('vaults', 2))).toEqual(
        bytesOfCell(vector['plaintext']),
      )
    }
    site.retire('vaults@1')
  })
})

test('laravel: on MariaDB', async (context) => {
  const missing = mariadbMissing()
  if (missing !== undefined) context.skip(missing)
  const server = await startMariadb()
  try {
    const vectors = vectorNamed('32-laravel')
    const cases = [0, 1].map((number) => objectOf((vectors['cases'] as readonly Json[])[number]))
    const key = Buffer.from(
      textOf({ ...objectOf(vectors['kek']), ...(cases[0]?.['kek'] as JsonObject | undefined) }['hex']),
      'hex',
    )
    const db = await databaseOf(
      server,
      'CREATE TABLE environment_variables (id bigint AUTO_INCREMENT PRIMARY KEY, value longtext);',
    )
    for (const one of cases) {
      await db.sql('INSERT INTO environment_variables (value) VALUES (?);', [
        textOf(objectOf(one['row'])['value']),
      ])
    }
    const site = siteOf('laravel', db, 'app.key.base64', key.toString('base64'))
    site.ok('key', 'import', 'app')
    expect(site.census()).toEqual({ 'laravel.columns': { 'app@1': 2 } })
    site.rotate('app')
    const rows = await db.sql('SELECT value FROM environment_variables ORDER BY id;')
    cases.forEach((one, index) => {
      const level = objectOf(objectOf(one['layout'])['data'])
      const read = (configured: Buffer): Buffer => openAsDescribed(level, rows[index] ?? {}, configured)
      expect(read(site.material('app', 2)).length).toBeGreaterThan(0)
      expect(() => read(key)).toThrow()
    })
    site.retire('app@1')
  } finally {
    await server.stop()
  }
})
