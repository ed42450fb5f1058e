import { createCipheriv, createDecipheriv, createHash, pbkdf2Sync, randomBytes } from 'node:crypto'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { afterEach, describe, expect, test } from 'vitest'
import { derivedKey, openAsDescribed } from '../core/layout/vector-ciphers.ts'
import {
  bytesOfCell,
  objectOf,
  textOf,
  vectorNamed,
  type Json,
  type JsonObject,
} from '../core/layout/vector-reader.ts'
import { origanInFolder, ProfileSite } from './profiles-site.ts'

// Profiles whose values are converted, joined, members of documents, or lie in files.

const open: ProfileSite[] = []
afterEach(() => {
  for (const site of open.splice(0)) site.close()
})

function siteOf(profile: string, edits: readonly (readonly [string, string])[] = []): ProfileSite {
  const site = new ProfileSite(profile, edits)
  open.push(site)
  return site
}

function caseOf(file: string, number?: number): JsonObject {
  const whole = vectorNamed(file)
  return number === undefined ? whole : objectOf((whole['cases'] as readonly Json[])[number])
}

/** What the application has configured. */
function keyOf(vector: JsonObject): Buffer {
  return Buffer.from(textOf(objectOf(vector['kek'])['hex']), 'hex')
}

function openGcm(key: Buffer, value: Buffer, aad = ''): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, value.subarray(0, 12), { authTagLength: 16 })
  decipher.setAAD(Buffer.from(aad))
  decipher.setAuthTag(value.subarray(-16))
  return Buffer.concat([decipher.update(value.subarray(12, -16)), decipher.final()])
}

const sha256 = (key: Buffer): Buffer => createHash('sha256').update(key).digest()

describe('a profile converts what nothing authenticates', () => {
  test('payload: the old form becomes v1, which Payload reads, beside values that are v1 already', () => {
    const [sealed, legacy] = [caseOf('12-payload', 0), caseOf('12-payload', 1)]
    const site = siteOf('payload')
    site.write('.env', `PAYLOAD_SECRET=${keyOf(vectorNamed('12-payload')).toString()}\n`)
    const values = [sealed, legacy].map((one, index) => ({
      id: index + 1,
      api_key: textOf(objectOf(one['row'])['value']),
    }))
    site.table('users', values)
    site.ok('key', 'import', 'secret')
    expect(site.census()).toEqual({ 'payload.fields': { 'secret@1': 2 } })
    site.convert('reencrypt')
    site.rotate('secret')
    const level = objectOf(objectOf(sealed['layout'])['data'])
    for (const { api_key: value } of site.rows('users')) {
      const row = { value: String(value) }
      const plaintext = openAsDescribed(level, row, derivedKey(level, row, site.material('secret', 2)))
      expect(plaintext).toEqual(bytesOfCell(vectorNamed('12-payload')['plaintext']))
    }
    site.retire('secret@1')
  })

  test('cal-com: both tables, and what lies in the clear beside them stays', () => {
    const vector = caseOf('22-unauthenticated', 0)
    const site = siteOf('cal-com')
    const key = keyOf(vector)
    const secret = textOf(objectOf(vector['row'])['secret'])
    const credential = '{"user":"a","password":"b"}'
    const iv = randomBytes(16)
    const cipher = createCipheriv('aes-256-cbc', key, iv)
    const sealed = Buffer.concat([cipher.update(credential), cipher.final()])
    const token = '{"access_token":"plain"}'
    site.write('.env', `CALENDSO_ENCRYPTION_KEY=${key.toString('latin1')}\n`)
    site.table('users', [
      { id: 7, twoFactorSecret: secret },
      { id: 8, twoFactorSecret: null },
    ])
    site.table('Credential', [
      { id: 1, key: `"${iv.toString('hex')}:${sealed.toString('hex')}"` },
      { id: 2, key: token },
    ])
    site.ok('key', 'import', 'calendso')
    site.convert('reencrypt')
    site.rotate('calendso')
    const now = site.material('calendso', 2)
    const [user] = site.rows('users')
    const twoFactor = Buffer.from(String(user?.['twoFactorSecret']).replace('v2:', ''), 'base64')
    expect(openGcm(now, twoFactor, 'users/7')).toEqual(
      bytesOfCell(vectorNamed('22-unauthenticated')['plaintext']),
    )
    const [first, second] = site.rows('Credential').map((row) => String(row['key']))
    expect(second).toBe(token)
    const moved = Buffer.from(textOf(JSON.parse(first ?? '') as Json).replace('v2:', ''), 'base64')
    expect(openGcm(now, moved, 'Credential/1').toString()).toBe(credential)
    site.retire('calendso@1')
  })

  test('flowise: values of CryptoJS', () => {
    const vector = caseOf('25-cryptojs')
    const site = siteOf('flowise')
    site.write('encryption.key', keyOf(vector))
    const value = textOf(objectOf(vector['row'])['encryptedData'])
    site.table('credential', [{ id: 'c1', encryptedData: value }], 'database.sqlite')
    site.ok('key', 'import', 'passphrase')
    expect(site.census()).toEqual({ 'flowise.credentials': { 'passphrase@1': 1 } })
    site.convert('reencrypt')
    site.rotate('passphrase')
    const [row] = site.rows('credential', 'database.sqlite')
    const sealed = Buffer.from(String(row?.['encryptedData']).replace('v2:', ''), 'base64')
    const opened = openGcm(sha256(site.material('passphrase', 2)), sealed, 'credential/c1')
    expect(opened).toEqual(bytesOfCell(vector['plaintext']))
    site.retire('passphrase@1')
  })

  test('grafana: data keys become the form that its own decipher takes apart', () => {
    const vector = caseOf('46-grafana')
    const site = siteOf('grafana')
    site.write('grafana-server', `GF_SECURITY_SECRET_KEY=${keyOf(vector).toString('latin1')}\n`)
    const row = objectOf(vector['row'])
    site.table(
      'data_keys',
      [{ name: 'adf8k2l', encrypted_data: bytesOfCell(row['encrypted_data']) }],
      'grafana.db',
    )
    site.ok('key', 'import', 'secret')
    site.convert('rewrap')
    site.rotate('secret')
    const value = site.rows('data_keys', 'grafana.db')[0]?.['encrypted_data'] as Buffer
    const prefix = `*${Buffer.from('aes-gcm').toString('base64').replace(/=+$/, '')}*`
    expect(value.subarray(0, prefix.length).toString()).toBe(prefix)
    // decryptGCM of Grafana: payload is salt, nonce, ciphertext with its tag.
    const payload = value.subarray(prefix.length)
    const key = pbkdf2Sync(site.material('secret', 2), payload.subarray(0, 8), 10_000, 32, 'sha256')
    expect(openGcm(key, payload.subarray(8)).toString('hex')).toBe(objectOf(vector['dek'])['hex'])
    site.retire('secret@1')
  })
})

test('extport: the wrapped DEK of a tenant and its number move together, credentials stay', () => {
  const vector = caseOf('06-extport')
  const row = objectOf(vector['row'])
  const site = siteOf('extport')
  const [tenant, credential] = [textOf(row['tenant_id']), textOf(row['credential'])]
  site.write('kek.base64', keyOf(vector).toString('base64'))
  site.table(
    'tenants',
    [{ id: tenant, dek_encrypted: textOf(row['dek_encrypted']), dek_key_version: 1 }],
    'extport.sqlite',
  )
  const credentials = ['a', 'b'].map((id) => ({ id, tenant_id: tenant, encrypted_payload: credential }))
  site.table('store_credentials', credentials, 'extport.sqlite')
  site.ok('key', 'import', 'kek')
  expect(site.census()).toEqual({ 'extport.credentials': { 'kek@1': 3 } })
  site.rotate('kek')
  const [moved] = site.rows('tenants', 'extport.sqlite')
  expect(Number(moved?.['dek_key_version'])).toBe(2)
  const level = objectOf(objectOf(vector['layout'])['wrap'])
  const dek = openAsDescribed(
    level,
    { dek_encrypted: String(moved?.['dek_encrypted']) },
    site.material('kek', 2),
  )
  expect(dek.toString('hex')).toBe(objectOf(vector['dek'])['hex'])
  expect(site.rows('store_credentials', 'extport.sqlite').map((one) => one['encrypted_payload'])).toEqual([
    credential,
    credential,
  ])
  site.retire('kek@1')
})

test('kratos: tokens inside an array of a JSON document, sealed by an independent writer', () => {
  const site = siteOf('kratos')
  const key = Buffer.from('0123456789abcdefghijklmnopqrstuv')
  const sealed = (text: string): string => {
    const nonce = randomBytes(24)
    return Buffer.concat([nonce, xchacha20poly1305(key, nonce).encrypt(Buffer.from(text))]).toString('hex')
  }
  const openWith = (secret: Buffer, value: string): string => {
    const bytes = Buffer.from(value, 'hex')
    return Buffer.from(
      xchacha20poly1305(secret, bytes.subarray(0, 24)).decrypt(bytes.subarray(24)),
    ).toString()
  }
  const providers = [
    {
      subject: 's1',
      provider: 'github',
      initial_access_token: sealed('at-1'),
      initial_refresh_token: '',
      initial_id_token: '',
    },
    {
      subject: 's2',
      provider: 'google',
      initial_access_token: sealed('at-2'),
      initial_refresh_token: sealed('rt-2'),
      initial_id_token: sealed('it-2'),
    },
  ]
  const password = '{"hashed_password": "$argon2id$v=19$m=1,t=1,p=1$x$y"}'
  site.write('cipher.secret', key)
  site.table('identity_credentials', [
    { id: 'a', config: JSON.stringify({ providers }) },
    { id: 'b', config: password },
  ])
  site.ok('key', 'import', 'cipher')
  expect(site.census()).toEqual({ 'kratos.oidc': { 'cipher@1': 1 } })
  site.rotate('cipher')
  const [oidc, other] = site.rows('identity_credentials').map(({ config }) => String(config))
  expect(other).toBe(password)
  const moved = (JSON.parse(oidc ?? '') as { providers: Record<string, string>[] }).providers
  const now = site.material('cipher', 2)
  expect(now.toString()).toMatch(/^[\x21-\x7e]{32}$/)
  expect(moved.map((one) => openWith(now, one['initial_access_token'] ?? ''))).toEqual(['at-1', 'at-2'])
  expect(openWith(now, moved[1]?.['initial_refresh_token'] ?? '')).toBe('rt-2')
  expect(moved[0]).toMatchObject({ subject: 's1', initial_refresh_token: '', initial_id_token: '' })
  site.retire('cipher@1')
})

test('k8s-secretbox: values of etcd as files, the name of the key in their prefix', () => {
  const vector = caseOf('42-secretbox')
  const site = siteOf('k8s-secretbox')
  const file = 'etcd/registry/secrets/default/db'
  site.write('secretbox.key.base64', keyOf(vector).toString('base64'))
  site.write(file, bytesOfCell(objectOf(vector['row'])['value']))
  site.write('etcd/registry/secrets/default/old', 'k8s\x00plain protobuf')
  site.ok('key', 'import', 'secretbox')
  expect(site.census()).toEqual({ 'k8s.secrets': { 'secretbox@1': 1 } })
  site.rotate('secretbox')
  const value = site.read(file)
  const level = objectOf(objectOf(vector['layout'])['data'])
  expect(value.subarray(0, 26).toString()).toBe('k8s:enc:secretbox:v1:key2:')
  const row = {
    value: {
      hex: Buffer.concat([Buffer.from('k8s:enc:secretbox:v1:key1:'), value.subarray(26)]).toString('hex'),
    },
  }
  expect(openAsDescribed(level, row, site.material('secretbox', 2))).toEqual(bytesOfCell(vector['plaintext']))
  site.retire('secretbox@1')
})

test('mongodb-csfle: data keys as mongoexport writes them, every other byte of the line kept', () => {
  const vector = caseOf('47-mongo-csfle-local')
  const wrapped = bytesOfCell(objectOf(vector['row'])['keyMaterial']).toString('base64')
  const site = siteOf('mongodb-csfle')
  const line = (id: string, material: string): string =>
    `{"_id":{"$binary":{"base64":"${id}","subType":"04"}},"keyMaterial":{"$binary":{"base64":"${material}","subType":"00"}},` +
    '"creationDate":{"$date":"2026-11-22T00:00:00Z"},"updateDate":{"$date":"2026-11-22T00:00:00Z"},"status":{"$numberInt":"0"},' +
    '"masterKey":{"provider":"local"}}\n'
  site.write('local-master.key', keyOf(vector))
  site.write('keyvault/keys.jsonl', line('AAAA', wrapped) + line('BBBB', wrapped))
  site.ok('key', 'import', 'local')
  expect(site.census()).toEqual({ 'csfle.keys': { 'local@1': 2 } })
  site.rotate('local')
  expect(site.material('local', 2)).toHaveLength(96)
  const lines = site.text('keyvault/keys.jsonl').trimEnd().split('\n')
  const materials = lines.map((text) => {
    const { keyMaterial } = JSON.parse(text) as { keyMaterial: { $binary: { base64: string } } }
    return keyMaterial.$binary.base64
  })
  expect(`${lines.join('\n')}\n`).toBe(line('AAAA', materials[0] ?? '') + line('BBBB', materials[1] ?? ''))
  const level = objectOf(objectOf(vector['layout'])['wrap'])
  for (const material of materials) {
    const row = { keyMaterial: { hex: Buffer.from(material, 'base64').toString('hex') } }
    expect(openAsDescribed(level, row, site.material('local', 2)).toString('hex')).toBe(
      objectOf(vector['dek'])['hex'],
    )
  }
  site.retire('local@1')
})

describe('the alternatives that profiles have as comments', () => {
  const fieldsOf = (name: string): RegExp => new RegExp(`^ {4}${name}:\\n(?: {6}(?!#).*\\n)+`, 'm')

  test('n8n: the CBC form is converted from', () => {
    const vector = caseOf('21-n8n', 1)
    const site = siteOf('n8n', [
      ['encoding: hex', 'encoding: ascii'],
      ['purpose: data\n', 'purpose: data\n    make: { characters: 32 }\n'],
      ['plaintext-test: json', 'plaintext-test: utf8'],
    ])
    site.takeAlternative(fieldsOf('value'), '# In place of that value')
    site.write('.env', `N8N_ENCRYPTION_KEY=${keyOf(vector).toString()}\n`)
    site.table('credentials_entity', [{ id: 'a', data: textOf(objectOf(vector['row'])['data']) }])
    site.ok('key', 'import', 'encryption')
    site.convert('reencrypt')
    site.rotate('encryption')
    const value = String(site.rows('credentials_entity')[0]?.['data']).replace('v2:', '')
    const opened = openGcm(sha256(site.material('encryption', 2)), Buffer.from(value, 'base64'))
    expect(opened).toEqual(bytesOfCell(vectorNamed('21-n8n')['plaintext']))
    site.retire('encryption@1')
  })

  test('laravel: with the cipher AES-256-GCM', () => {
    const vector = caseOf('32-laravel', 2)
    const site = siteOf('laravel')
    site.takeAlternative(/^ {6}aead: .*\n {6}mac: .*\n {6}layout: .*\n/m, "# With 'cipher'")
    site.write('app.key.base64', keyOf(vectorNamed('32-laravel')).toString('base64'))
    site.table('environment_variables', [{ id: 1, value: textOf(objectOf(vector['row'])['value']) }])
    site.ok('key', 'import', 'app')
    site.rotate('app')
    const row = { value: String(site.rows('environment_variables')[0]?.['value']) }
    const level = objectOf(objectOf(vector['layout'])['data'])
    expect(openAsDescribed(level, row, site.material('app', 2)).length).toBeGreaterThan(0)
    site.retire('app@1')
  })

  test('origan: the DEKs alone, where no column names the project', () => {
    const vector = vectorNamed('02-origan')
    const site = origanInFolder(siteOf('origan', [['cache-ttl: 5m', 'cache-ttl: 1s']]))
    site.takeAlternative(/^ {2}origan\.variables:\n(?: {4}.*\n)+/m, '# In place of origan.variables')
    site.write('codec.env', `KEK_SECRET=${keyOf(vector).toString('base64')}\n`)
    site.write('deployments/d1/metadata.json', '{"projectId":"p1"}')
    site.table('project', [{ id: 'p1', encrypted_dek: textOf(objectOf(vector['row'])['encrypted_dek']) }])
    site.ok('key', 'import', 'kek')
    expect(site.census()).toMatchObject({ 'origan.projects': { 'kek@1': 1 } })
    site.rotate('kek')
    const row = { encrypted_dek: String(site.rows('project')[0]?.['encrypted_dek']) }
    const dek = openAsDescribed(objectOf(objectOf(vector['layout'])['wrap']), row, site.material('kek', 2))
    expect(dek.toString('hex')).toBe(objectOf(vector['dek'])['hex'])
    site.retire('kek@1')
  })
})
