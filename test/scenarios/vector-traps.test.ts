import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, test } from 'vitest'
import { openAsDescribed } from '../core/layout/vector-ciphers.ts'
import {
  bytesOfCell,
  objectOf,
  textOf,
  vectorNamed,
  type Json,
  type JsonObject,
} from '../core/layout/vector-reader.ts'
import { VectorSite, type Extra } from './vector-site.ts'

/*
 * The trap that a vector tells of, where no scenario of a whole application walks into it. The others:
 * 01 (row-level security, no column that marks a row) and 02, 03 (copies, values under the KEK): profiles-seeds;
 * 31 (the name of the KEK in the AAD of the value): vectors.
 */

const open: VectorSite[] = []
afterEach(() => {
  for (const site of open.splice(0)) site.close()
})

const without = ['--yes', '--without-backup', '--reason', 'a test']

function siteOf(file: string, index?: number, extra: Extra = {}): VectorSite {
  const whole = vectorNamed(file)
  const cases = whole['cases'] as readonly Json[] | undefined
  const site = new VectorSite(
    { file, index, vector: objectOf(index === undefined ? whole : cases?.[index]) },
    extra,
  )
  open.push(site)
  site.ok('init')
  return site
}

const imported = (site: VectorSite, ...more: string[]): VectorSite => {
  site.ok('key', 'import', 'k', '--from', 'file:configured.key', ...more)
  return site
}

type Verified = {
  readonly envelopes: readonly { readonly byVersion: Record<string, number>; readonly unreadable: number }[]
}

test('04: a secret that is sealed twice under one key is told, and the key that the inner layer needs stays', () => {
  const site = imported(siteOf('04-bunkms', 3))
  expect(site.json('verify').warnings.map(({ code }) => code)).toContain('SEALED_TWICE')
  site.ok('rotate', 'k', '--offline', '--then', 'data', ...without)
  const refused = site.json('retire', 'k@1', '--confirm', 'k@1')
  expect(refused).toMatchObject({ exit: 6, error: { code: 'VALUES_REMAIN' } })
  expect(refused.error?.message).toContain('sealed again under k@1')
  expect(site.json<Verified>('verify').data.envelopes[0]?.byVersion).toEqual({ 'k@2': 1 })
})

describe.each([
  [
    '09',
    '09-lobechat',
    'key_vaults',
    'hex(nonce:12) ":" hex(tag:16) ":" hex(ct)',
    'hex(nonce:12) ":" hex(ct) ":" hex(tag:16)',
  ],
  ['17', '17-localkek', 'wrapped_dek', 'nonce:12 tag:16 ct', 'nonce:12 ct tag:16'],
])('%s: what has the shape of another application', (_, file, column, right, wrong) => {
  test('is refused under that one’s layout, before anything is written', () => {
    const site = imported(siteOf(file))
    const [before, text] = [site.readRow(), site.configuration()]
    expect(text).toContain(JSON.stringify(right).slice(1, -1))
    site.configure(text.replace(JSON.stringify(right).slice(1, -1), JSON.stringify(wrong).slice(1, -1)))
    expect(site.json<Verified>('verify').data.envelopes[0]?.unreadable).toBe(1)
    const refused = site.json('rotate', 'k', '--offline', '--then', 'data', ...without)
    expect(refused).toMatchObject({ exit: 5, error: { code: 'UNREADABLE_RECORDS' } })
    expect(site.readRow()).toEqual(before)
  })

  test('is found by discover as what it is, by its tag', () => {
    const site = imported(siteOf(file))
    const { envelopes: _none, ...rest } = JSON.parse(site.configuration()) as Record<string, unknown>
    site.configure(JSON.stringify(rest))
    const { finds } = site.json<{ finds: { columns: string[]; declaration: string }[] }>('discover').data
    expect(finds.map(({ columns }) => columns)).toEqual([[column]])
    expect(finds[0]?.declaration).toMatch(new RegExp(right.replace(/[()]/g, '\\$&').replaceAll('"', '.*')))
  })
})

test('19: a wrap with another initial value than the standard’s is refused by the standard, and read as declared', () => {
  const site = imported(siteOf('19-medguard-kwp'), '--encoding', 'ascii')
  expect(site.json<Verified>('verify').data.envelopes[0]?.byVersion).toEqual({ 'k@1': 1 })
  site.configure(site.configuration().replace(/,\s*"initial-value": "a6a6a6a6"/, ''))
  expect(site.json<Verified>('verify').data.envelopes[0]?.unreadable).toBe(1)
  site.configure(site.configuration().replace('"aes-256-kwp"', '"aes-256-kw"'))
  expect(site.json<Verified>('verify').data.envelopes[0]?.unreadable).toBe(1)
})

test('27: rows under two versions open side by side, and only those of the old one are rewrapped', () => {
  const site = imported(siteOf('27-agenticos', 0, { version: 'key_version' }), '--encoding', 'ascii')
  site.ok('rotate', 'k', '--offline', '--then', 'data', ...without)
  const moved = site.readRow()
  // What a worker of the application that still has the old key wrote meanwhile.
  const database = new DatabaseSync(join(site.path, 'app.db'))
  const names = Object.keys(site.row)
  const cells = names.map((name) => {
    const cell = site.row[name]
    return typeof cell === 'number' ? BigInt(cell) : (cell as string)
  })
  database
    .prepare(`INSERT INTO rows (row_id, ${names.join(', ')}) VALUES (2, ${names.map(() => '?').join(', ')})`)
    .run(...cells)
  database.close()
  expect(site.json<Verified>('verify').data.envelopes[0]?.byVersion).toEqual({ 'k@1': 1, 'k@2': 1 })
  expect(site.json('retire', 'k@1', '--confirm', 'k@1').error?.code).toBe('VALUES_REMAIN')
  site.ok('rewrap', ...without)
  expect(site.readRow()).toEqual(moved)
  expect(site.json<Verified>('verify').data.envelopes[0]?.byVersion).toEqual({ 'k@2': 2 })
})

test('33: a rewrap replaces the wrapped key and its reference, and the encoding’s name stays', () => {
  const vector = vectorNamed('33-rails')
  const [one] = vector['cases'] as readonly JsonObject[]
  const before = JSON.parse(textOf(objectOf(one?.['row'])['value'])) as RailsMessage
  const site = imported(siteOf('33-rails', 0, { wrap: railsWrap }), '--encoding', 'ascii')
  site.ok('rotate', 'k', '--offline', '--then', 'data', ...without)
  const after = JSON.parse(textOf(site.readRow()['value'])) as RailsMessage
  expect(after.p).toBe(before.p)
  expect(after.h.k.p).not.toBe(before.h.k.p)
  expect(after.h.i).not.toBe(before.h.i)
  expect(after.h.k.h.e).toBe(before.h.k.h.e)
  expect({ ...after.h, i: '', k: '' }).toEqual({ ...before.h, i: '', k: '' })
})

type RailsMessage = { p: string; h: { i: string; k: { p: string; h: { e?: string } } } }
const rails = 'pbkdf2-sha256(salt="rails-derivation-salt", iterations=65536)'
const railsWrap = {
  layout: {
    value:
      'json({"h": {"i": base64(keyid:4), "k": {"p": base64(ct), "h": {"iv": base64(nonce:12), "at": base64(tag:16), ...}}, ...}, ...})',
  },
  keyid: `slice(hex(sha1(${rails})), 0, 4)`,
}

test('40: the copy that no list of DEKs names moves with the others, or the old key stays', () => {
  const site = imported(siteOf('40-unkey'))
  const object = bytesOfCell(site.row['object'])
  mkdirSync(join(site.path, 'keyring/ring'), { recursive: true })
  for (const name of ['dek_abc', 'LATEST']) writeFileSync(join(site.path, 'keyring/ring', name), object)
  type Written = { keys: object; envelopes: { 'app.rows': { dek: { layout: Record<string, string> } } } }
  const { keys, envelopes } = JSON.parse(site.configuration()) as Written
  const { dek } = envelopes['app.rows']
  const wrapped = { ...dek, layout: dek.layout['object'] }
  const config = (table: string): string =>
    JSON.stringify({
      kvx: 1,
      keys,
      stores: { rings: { directory: './keyring', match: '*/*' } },
      envelopes: { deks: { store: 'rings', table, key: 'k', dek: wrapped } },
    })
  const copy = (name: string): Buffer => readFileSync(join(site.path, 'keyring/ring', name))
  site.configure(config('*/dek_*'))
  site.ok('rotate', 'k', '--offline', '--then', 'data', ...without)
  expect(copy('LATEST')).toEqual(object)
  expect(site.json('retire', 'k@1', '--confirm', 'k@1')).toMatchObject({
    exit: 6,
    error: { code: 'VALUES_REMAIN' },
  })
  site.configure(config('*/*'))
  site.ok('rewrap', ...without)
  const level = objectOf(objectOf(vectorNamed('40-unkey')['layout'])['wrap'])
  for (const name of ['dek_abc', 'LATEST']) {
    const row = { object: { hex: copy(name).toString('hex') } }
    expect(openAsDescribed(level, row, site.material(2)).toString('hex')).toContain(
      textOf(objectOf(vectorNamed('40-unkey')['dek'])['hex']),
    )
    expect(() => openAsDescribed(level, row, site.material(1))).toThrow()
  }
  const narrower = ['--drop-place', 'deks', '--reason', 'a test']
  site.ok('retire', 'k@1', '--confirm', 'k@1', ...narrower)
})
