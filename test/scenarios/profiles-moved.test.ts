import { createHash, hkdfSync, pbkdf2Sync } from 'node:crypto'
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
import { ProfileSite, type Cell, type Cells } from './profiles-site.ts'

// Profiles on rows that the applications themselves sealed: what an operator types, with the store line replaced.
// What was moved is opened by the vector's own description and nothing of kvx.

type Sealed = {
  /** The file of the vector, and its case. */
  readonly vector: string
  readonly case?: number
  /** Columns of the vector, where the application has them. */
  readonly columns: Readonly<Record<string, string>>
  /** The row of `table` with it; the others of its columns stay. */
  readonly table: string
  readonly id: Cells
}

type Moved = {
  readonly profile: string
  readonly key: string
  readonly envelope: string
  /** Where the profile says that the key lies, and what the application has written there. */
  readonly place: readonly [file: string, content: (key: Buffer) => string | Buffer]
  readonly edits?: readonly (readonly [string, string])[]
  readonly sealed: readonly Sealed[]
  /** Rows of tables that hold no value, for envelopes that have them besides. */
  readonly besides?: Readonly<Record<string, readonly Cells[]>>
}

const line =
  (name: string, encoding: 'hex' | 'base64' | 'latin1') =>
  (key: Buffer): string =>
    `PORT=80\n${name}=${key.toString(encoding)}\n`
const as =
  (encoding: 'hex' | 'base64' | 'latin1') =>
  (key: Buffer): string =>
    key.toString(encoding)

const moved: readonly Moved[] = [
  {
    profile: 'rcrt',
    key: 'master',
    envelope: 'rcrt.secrets',
    place: ['rcrt.env', line('LOCAL_KEK_BASE64', 'base64')],
    sealed: [
      {
        vector: '01-rcrt',
        table: 'secrets',
        id: { id: '5b0c0f8e-6f0e-4f4a-9a56-1c2d3e4f5a6b' },
        columns: { enc_blob: 'enc_blob', dek_encrypted: 'dek_encrypted', kek_id: 'kek_id' },
      },
    ],
  },
  {
    profile: 'laravel',
    key: 'app',
    envelope: 'laravel.columns',
    place: ['app.key.base64', as('base64')],
    sealed: [0, 1].map((number) => ({
      vector: '32-laravel',
      case: number,
      table: 'environment_variables',
      id: { id: number + 1 },
      columns: { value: 'value' },
    })),
  },
  {
    profile: 'rails',
    key: 'primary',
    envelope: 'rails.attributes',
    place: ['app.env', line('ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY', 'latin1')],
    sealed: [{ vector: '33-rails', case: 2, table: 'accounts', id: { id: 1 }, columns: { value: 'value' } }],
  },
  {
    profile: 'rails-envelope',
    key: 'primary',
    envelope: 'rails.attributes',
    place: ['app.env', line('ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY', 'latin1')],
    sealed: [0, 1].map((number) => ({
      vector: '33-rails',
      case: number,
      table: 'accounts',
      id: { id: number + 1 },
      columns: { value: 'value' },
    })),
  },
  {
    profile: 'langfuse',
    key: 'encryption',
    envelope: 'langfuse.llm-keys',
    place: ['.env', line('ENCRYPTION_KEY', 'hex')],
    sealed: [
      { vector: '08-langfuse', table: 'llm_api_keys', id: { id: 'c1' }, columns: { secret: 'secret_key' } },
    ],
    besides: { posthog_integrations: [{ project_id: 'p1', encrypted_posthog_api_key: null }] },
  },
  {
    profile: 'lobe-chat',
    key: 'vaults',
    envelope: 'lobe.users',
    place: ['.env', line('KEY_VAULTS_SECRET', 'base64')],
    sealed: [
      {
        vector: '09-lobechat',
        table: 'user_settings',
        id: { id: 'u1' },
        columns: { key_vaults: 'key_vaults' },
      },
    ],
    besides: { ai_providers: [{ id: 'openai', user_id: 'u1', key_vaults: null }] },
  },
  {
    profile: 'n8n',
    key: 'encryption',
    envelope: 'n8n.credentials',
    place: ['.env', line('N8N_ENCRYPTION_KEY', 'hex')],
    sealed: [
      { vector: '21-n8n', case: 0, table: 'credentials_entity', id: { id: 'x' }, columns: { data: 'data' } },
    ],
  },
  {
    profile: 'awx',
    key: 'secret',
    envelope: 'awx.credentials',
    place: ['SECRET_KEY', as('latin1')],
    sealed: [
      { vector: '28-awx', table: 'main_credential', id: { id: 42 }, columns: { pk: 'id', inputs: 'inputs' } },
    ],
    besides: { main_credential: [{ id: 43, inputs: '{"username":"admin","password":"$encrypted$"}' }] },
  },
  {
    profile: 'payload',
    key: 'secret',
    envelope: 'payload.fields',
    place: ['.env', line('PAYLOAD_SECRET', 'latin1')],
    sealed: [{ vector: '12-payload', case: 0, table: 'users', id: { id: 1 }, columns: { value: 'api_key' } }],
  },
]

const open: ProfileSite[] = []
afterEach(() => {
  for (const site of open.splice(0)) site.close()
})

function keyOf(sealed: Sealed | undefined): Buffer {
  if (sealed === undefined) throw new TypeError('a profile has a vector')
  const own = caseOf(sealed)['kek'] as JsonObject | undefined
  return Buffer.from(textOf({ ...objectOf(vectorNamed(sealed.vector)['kek'] ?? {}), ...own }['hex']), 'hex')
}

function caseOf({ vector, case: number }: Sealed): JsonObject {
  const whole = vectorNamed(vector)
  return number === undefined ? whole : objectOf((whole['cases'] as readonly Json[])[number])
}

function cellOf(value: Json | undefined): Cell {
  if (value === null || value === undefined) return null
  if (typeof value === 'number' || typeof value === 'string') return value
  return typeof objectOf(value)['hex'] === 'string' ? bytesOfCell(value) : JSON.stringify(value)
}

function siteOf({ profile, key, place, edits, sealed, besides = {} }: Moved): ProfileSite {
  const site = new ProfileSite(profile, edits)
  open.push(site)
  const [file, content] = place
  site.write(file, content(keyOf(sealed[0])))
  const tables = new Map<string, Cells[]>()
  for (const one of sealed) {
    const row = objectOf(caseOf(one)['row'])
    const cells = Object.entries(one.columns).map(([from, to]) => [to, cellOf(row[from])] as const)
    tables.set(one.table, [...(tables.get(one.table) ?? []), { ...one.id, ...Object.fromEntries(cells) }])
  }
  for (const [name, rows] of Object.entries(besides)) tables.set(name, [...(tables.get(name) ?? []), ...rows])
  for (const [name, rows] of tables) site.table(name, rows)
  site.ok('key', 'import', key)
  return site
}

/** The plaintext, and the DEK where there is one, read by the vector's description with a configured key. */
function opened(site: ProfileSite, one: Sealed, configured: Buffer): readonly string[] {
  const layout = objectOf(caseOf(one)['layout'])
  const [idColumn, id] = Object.entries(one.id)[0] ?? ['']
  const found = site.rows(one.table).find((row) => String(row[idColumn]) === String(id))
  if (found === undefined) throw new TypeError('the row is there')
  const row = Object.fromEntries(
    Object.entries(one.columns).map(([to, from]): [string, Json] => {
      const cell = found[from] ?? null
      return [to, Buffer.isBuffer(cell) ? { hex: cell.toString('hex') } : cell]
    }),
  )
  const level = (name: string, key: Buffer): Buffer | undefined => {
    if (layout[name] === undefined) return undefined
    return openAsDescribed(objectOf(layout[name]), row, derivedKey(objectOf(layout[name]), row, key))
  }
  const dek = level('wrap', configured)
  const value = level('data', dek ?? configured)
  return [dek, value].flatMap((bytes) => (bytes === undefined ? [] : [bytes.toString('hex')]))
}

describe('a profile takes over, rotates and retires what the application sealed', () => {
  test.each(moved.map((one) => [one.profile, one] as const))('%s', (_name, one) => {
    const site = siteOf(one)
    const { key, sealed, envelope } = one
    const before = sealed.map((value) => opened(site, value, site.material(key, 1)))
    expect(site.census()[envelope]).toEqual({ [`${key}@1`]: sealed.length })
    site.rotate(key)
    expect(site.census()[envelope]).toEqual({ [`${key}@2`]: sealed.length })
    expect(sealed.map((value) => opened(site, value, site.material(key, 2)))).toEqual(before)
    for (const value of sealed) expect(() => opened(site, value, site.material(key, 1))).toThrow()
    site.retire(`${key}@1`)
    const [file, content] = one.place
    expect(site.text(file)).toBe(String(content(site.material(key, 2))))
  })
})

test('payload: a value names the key of the version that seals it', () => {
  const site = siteOf(named('payload'))
  site.rotate('secret')
  const derived = hkdfSync('sha256', site.material('secret', 2), '', 'payload-secret-v1', 32)
  const name = createHash('sha256').update(Buffer.from(derived)).digest('hex').slice(0, 16)
  expect(site.rows('users')[0]?.['api_key']).toMatch(new RegExp(`^v1:${name}:`))
})

test('rails-envelope: the reference to the key changes with the wrap, and the value stays to the byte', () => {
  const site = siteOf(named('rails-envelope'))
  const parsed = (): readonly JsonObject[] =>
    site.rows('accounts').map(({ value }) => JSON.parse(String(value)) as JsonObject)
  const before = parsed()
  site.rotate('primary')
  const derived = pbkdf2Sync(site.material('primary', 2), 'rails-derivation-salt', 65_536, 32, 'sha256')
  const reference = createHash('sha1').update(derived).digest('hex').slice(0, 4)
  parsed().forEach((after, index) => {
    const [old, now] = [objectOf(before[index]?.['h']), objectOf(after['h'])]
    expect(Buffer.from(textOf(now['i']), 'base64').toString()).toBe(reference)
    expect(after['p']).toBe(before[index]?.['p'])
    expect([now['iv'], now['at'], now['c']]).toEqual([old['iv'], old['at'], old['c']])
  })
})

function named(profile: string): Moved {
  const found = moved.find((one) => one.profile === profile)
  if (found === undefined) throw new TypeError('the profile is in the table')
  return found
}
