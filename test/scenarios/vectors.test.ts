import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDecipheriv, createHash } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { derivedKey, openAsDescribed } from '../core/layout/vector-ciphers.ts'
import { bytesOfCell, objectOf, textOf, vectorNamed, type JsonObject } from '../core/layout/vector-reader.ts'
import { kvxJson, type KvxDocument } from '../support/cli.ts'
import { VectorSite, type Case, type Extra } from './vector-site.ts'

// Every shared vector through the built CLI: open, move to a new key, open again with a reader that shares nothing
// with kvx, and the old key opens nothing any more.

const gcm = 'nonce:12 ct tag:16'
const rails = 'pbkdf2-sha256(salt="rails-derivation-salt", iterations=65536)'
const railsWrap = {
  layout: {
    value:
      'json({"h": {"i": base64(keyid:4), "k": {"p": base64(ct), "h": {"iv": base64(nonce:12), "at": base64(tag:16), ...}}, ...}, ...})',
  },
  keyid: `slice(hex(sha1(${rails})), 0, 4)`,
}

const extras: Readonly<Record<string, Extra>> = {
  '04-bunkms/2': { number: 2 },
  '06-extport': { version: 'dek_key_version' },
  '16-enc-v2': { data: { keyid: { 1: '2026-08', 2: '2026-11' } } },
  '27-agenticos/0': { version: 'key_version' },
  '27-agenticos/1': { version: 'key_version', number: 2 },
  '30-myfinance': { version: 'kek_version', number: 3 },
  '33-rails/0': { wrap: railsWrap },
  '33-rails/1': { wrap: railsWrap },
  '36-hikyo': { number: 7 },
  '42-secretbox': { data: { keyid: { 1: 'key1', 2: 'key2' } } },
  '45-vault-transit': { number: 3 },
  '47-mongo-csfle-local': { make: { bytes: 96 } },
}

/** Not in this table: what a row of SQLite cannot show, with the test that has it. */
const elsewhere = new Map([['31-json-envelope-canonical-aad', 'members of a file as AAD: below']])

const all: readonly Case[] = readdirSync(join(import.meta.dirname, '../vectors/layouts'))
  .sort()
  .map((name) => name.replace('.json', ''))
  .filter((file) => !elsewhere.has(file))
  .flatMap((file): readonly Case[] => {
    const vector = vectorNamed(file)
    const cases = vector['cases'] as readonly JsonObject[] | undefined
    if (cases === undefined) return [{ file, index: undefined, vector }]
    return cases.map((one, index) => ({ file, index, vector: one }))
  })

const nameOf = ({ file, index }: Case): string => (index === undefined ? file : `${file}/${index}`)
const isLegacy = ({ vector }: Case): boolean => {
  const layout = objectOf(vector['layout'])
  const algs = ['wrap', 'data'].map((level) =>
    layout[level] === undefined ? '' : textOf(objectOf(layout[level])['alg']),
  )
  return algs.some((alg) => /^aes-\d+-(cbc|ctr|cfb)$/.test(alg))
}

const open: VectorSite[] = []
afterEach(() => {
  for (const site of open.splice(0)) site.close()
})

function siteOf(one: Case, more: Extra = {}): VectorSite {
  const extra = { ...extras[nameOf(one)], ...more }
  const site = new VectorSite(one, extra)
  open.push(site)
  site.ok('init')
  const { encoding } = site.kek
  const isText = typeof encoding === 'string' && /pass|utf8|latin1/.test(encoding)
  site.ok(
    'key',
    'import',
    'k',
    '--from',
    'file:configured.key',
    '--encoding',
    isText ? 'ascii' : 'raw',
    ...(extra.number === undefined ? [] : ['--version', String(extra.number)]),
  )
  return site
}

/** What the row holds, read by its own description with a configured key. Throws when it does not open. */
/** Where the description itself holds the number of the version. */
const numbered = new Map([['30-myfinance', 'key-wrapping-key|kek:']])

function describedAt({ vector, file }: Case, version: number): JsonObject {
  const text = numbered.get(file)
  const layout = JSON.stringify(vector['layout'])
  if (text === undefined) return objectOf(vector['layout'])
  return objectOf(
    JSON.parse(
      layout.replace(new RegExp(`(${text.replaceAll('|', '[|]')})\\d+`), `$1${version}`),
    ) as JsonObject,
  )
}

function readAll(
  one: Case,
  row: JsonObject,
  configured: Buffer,
  version = 1,
): { readonly dek: string | undefined; readonly value: string | undefined } {
  const layout = describedAt(one, version)
  const opened = (name: string, key: Buffer): Buffer | undefined => {
    if (layout[name] === undefined) return undefined
    const level = objectOf(layout[name])
    return held(level, openAsDescribed(level, row, derivedKey(level, row, key)))
  }
  const dek = opened('wrap', configured)
  return { dek: dek?.toString('hex'), value: opened('data', dek ?? configured)?.toString('hex') }
}

/** The key in what a wrap held. */
function held(level: JsonObject, plaintext: Buffer): Buffer {
  const encoding = level['plaintext_encoding']
  if (encoding === 'base64url') return Buffer.from(plaintext.toString(), 'base64url')
  if (encoding !== 'proto3') return plaintext
  // The one field of 32 bytes, number 3.
  const at = plaintext.indexOf(Buffer.from([0x1a, 32]))
  return plaintext.subarray(at + 2, at + 34)
}

type Census = { readonly envelopes: readonly { readonly byVersion: Readonly<Record<string, number>> }[] }

describe('every shared vector that authenticates', () => {
  test.each(all.filter((one) => !isLegacy(one)).map((one) => [nameOf(one), one] as const))(
    '%s',
    (_name, one) => {
      const site = siteOf(one)
      const from = extras[nameOf(one)]?.number ?? 1
      const before = readAll(one, site.row, site.material(from), from)
      expect(site.ok<Census>('verify').data.envelopes[0]?.byVersion).toEqual({ [`k@${from}`]: 1 })
      site.ok('rotate', 'k', '--offline', '--then', 'data', '--yes', '--without-backup', '--reason', 'a test')
      const row = site.readRow()
      expect(readAll(one, row, site.material(from + 1), from + 1)).toEqual(before)
      expect(() => readAll(one, row, site.material(from), from + 1)).toThrow()
      // What is sealed twice keeps its old key: test/scenarios/vector-traps.test.ts.
      if (nameOf(one) !== '04-bunkms/3') site.ok('retire', `k@${from}`, '--confirm', `k@${from}`)
    },
  )
})

const toLayout: Readonly<Record<string, unknown>> = {
  '35-cloudcontroller': { value: 'base64(ct tag:16)', salt: 'hex(nonce:12)' },
}

describe('every shared vector without authentication is converted from', () => {
  const legacy = all.filter(isLegacy).filter(({ file }) => file !== '46-grafana')
  test.each(legacy.map((one) => [nameOf(one), one] as const))('%s', (name, one) => {
    const [column = ''] = Object.keys(objectOf(one.vector['row'])).filter(
      (cell) => !['salt', '__enc_name'].includes(cell),
    )
    const layout = toLayout[name] ?? { [column]: `"v2:" base64(${gcm})` }
    const to = { aead: 'aes-256-gcm', layout, derive: 'sha256(key)', aad: '"row/" {row_id}' }
    const refused = siteOf(one)
    expect(refused.json('reencrypt', '--yes', '--without-backup', '--reason', 'a test')).toMatchObject({
      exit: 2,
      error: { code: 'CONFIG_INVALID' },
    })
    const site = siteOf(one, { data: { to } })
    site.ok('reencrypt', '--yes', '--without-backup', '--reason', 'a test')
    const expected = bytesOfCell(one.vector['plaintext'] ?? vectorNamed(one.file)['plaintext'])
    expect(openConverted(site, column, 1)).toEqual(expected)
    site.ok('rotate', 'k', '--offline', '--yes', '--without-backup', '--reason', 'a test')
    site.ok('reencrypt', '--yes')
    expect(openConverted(site, column, 2)).toEqual(expected)
    expect(() => openConverted(site, column, 1)).toThrow()
    site.ok('retire', 'k@1', '--confirm', 'k@1')
  })
})

test('46-grafana: a legacy wrap and a legacy value under it are converted together', () => {
  const one = all.find(({ file }) => file === '46-grafana')
  if (one === undefined) throw new TypeError('the vector is there')
  const to = { aead: 'aes-256-gcm', derive: 'sha256(key)' }
  const site = siteOf(one, {
    wrap: { to: { ...to, layout: { encrypted_data: gcm } } },
    data: { to: { ...to, layout: { secret: `"v2." base64(${gcm})` } } },
  })
  site.ok('rewrap', '--yes', '--without-backup', '--reason', 'a test')
  const row = site.readRow()
  const kek = createHash('sha256').update(site.material(1)).digest()
  const dek = opened(kek, bytesOfCell(row['encrypted_data']))
  expect(dek.toString('hex')).toBe(objectOf(one.vector['dek'])['hex'])
  const secret = Buffer.from(bytesOfCell(row['secret']).toString().replace('v2.', ''), 'base64')
  expect(opened(createHash('sha256').update(dek).digest(), secret)).toEqual(
    bytesOfCell(one.vector['plaintext']),
  )
})

function opened(key: Buffer, value: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, value.subarray(0, 12), { authTagLength: 16 })
  decipher.setAuthTag(value.subarray(-16))
  return Buffer.concat([decipher.update(value.subarray(12, -16)), decipher.final()])
}

test('31: the name of the KEK is bound by both levels, so that a rewrap seals the content again under its DEK', () => {
  const vector = vectorNamed('31-json-envelope-canonical-aad')
  const path = mkdtempSync(join(tmpdir(), 'kvx-vector-'))
  const json = <T>(...args: string[]): KvxDocument<T> => kvxJson<T>(args, { cwd: path, env: { HOME: path } })
  try {
    mkdirSync(join(path, 'blobs'))
    const file = join(path, 'blobs/one.json')
    const text = textOf(objectOf(vector['row'])['blob'])
    writeFileSync(file, text)
    writeFileSync(join(path, 'configured.key'), Buffer.from(textOf(objectOf(vector['kek'])['hex']), 'hex'))
    const names = [
      'algorithm',
      'content_hash',
      'key_reference',
      'media_type',
      'plaintext_length',
      'tenant_id',
      'version',
    ]
    const aad = `json({${names.map((name) => `"${name}": {${name}}`).join(', ')}})`
    const sealed = (nonce: string, ct: string): object => ({
      aead: 'aes-256-gcm',
      aad,
      layout: { [nonce]: 'base64(nonce:12)', [ct]: 'base64(ct tag:16)' },
    })
    const config = {
      kvx: 1,
      keys: { k: { purpose: 'kek' } },
      stores: { blobs: { directory: './blobs', match: '*.json', format: 'json' } },
      envelopes: {
        blobs: {
          store: 'blobs',
          key: 'k',
          version: { column: 'key_reference', names: { 1: 'kek-2026-08', 2: 'kek-2026-11' } },
          dek: sealed('wrap_nonce', 'wrapped_dek'),
          value: sealed('content_nonce', 'ciphertext'),
        },
      },
    }
    writeFileSync(join(path, 'kvx.yaml'), JSON.stringify(config), { mode: 0o600 })
    for (const args of [
      ['init'],
      ['key', 'import', 'k', '--from', 'file:configured.key'],
      ['verify'],
      ['rotate', 'k', '--offline', '--yes', '--without-backup', '--reason', 'a test'],
      ['rewrap', '--yes'],
      ['retire', 'k@1', '--confirm', 'k@1'],
    ]) {
      const document = json(...args)
      expect([args[0], document.exit, document.error]).toEqual([args[0], 0, undefined])
    }
    const after = readFileSync(file, 'utf8')
    expect(JSON.parse(after)).toMatchObject({ key_reference: 'kek-2026-11' })
    const row = { blob: after }
    const [wrap, data] = ['wrap', 'data'].map((level) => objectOf(objectOf(vector['layout'])[level]))
    const dek = openAsDescribed(wrap as JsonObject, row, readFileSync(join(path, '.kvx/keys/k.v2.key')))
    expect(dek.toString('hex')).toBe(objectOf(vector['dek'])['hex'])
    expect(openAsDescribed(data as JsonObject, row, dek)).toEqual(bytesOfCell(vector['plaintext']))
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
})

/** A converted value, opened by node:crypto alone. */
function openConverted(site: VectorSite, column: string, version: number): Buffer {
  const row = site.readRow()
  const text = textOf(row[column])
  const salt = typeof row['salt'] === 'string' ? Buffer.from(row['salt'], 'hex') : Buffer.alloc(0)
  const value = Buffer.concat([salt, Buffer.from(text.replace('v2:', ''), 'base64')])
  const key = createHash('sha256').update(site.material(version)).digest()
  const decipher = createDecipheriv('aes-256-gcm', key, value.subarray(0, 12), { authTagLength: 16 })
  decipher.setAAD(Buffer.from('row/1'))
  decipher.setAuthTag(value.subarray(-16))
  return Buffer.concat([decipher.update(value.subarray(12, -16)), decipher.final()])
}
