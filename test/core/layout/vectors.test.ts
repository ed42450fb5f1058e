import { describe, expect, test } from 'vitest'
import { aeadNamed, freshNonce, prepareKey, type Aead } from '../../../src/core/aead/aead.ts'
import { compileLayout } from '../../../src/core/layout/layout.ts'
import { compileTemplate } from '../../../src/core/layout/template.ts'
import type { Value } from '../../../src/core/layout/values.ts'
import { Secret } from '../../../src/core/secret.ts'
import {
  at,
  bytesOfCell,
  derivedKey,
  objectOf,
  openAsDescribed,
  textOf,
  vectorNamed,
  type Json,
  type JsonObject,
} from './vector-reader.ts'

/** How an operator declares one level of one vector: a layout for each column, by path. */
type Declared = {
  readonly file: string
  readonly case?: number
  readonly level: 'wrap' | 'data'
  readonly columns: Readonly<Record<string, string>>
  readonly aead?: string
  readonly aad?: string
  /** Columns that the template uses and the row has in another place. */
  readonly cells?: (row: JsonObject) => JsonObject
}

const gcm = 'nonce:12 ct tag:16'
const blobMembers = (row: JsonObject): JsonObject => objectOf(JSON.parse(textOf(row['blob'])) as Json)
const blobAad =
  'json({"algorithm": {algorithm}, "content_hash": {content_hash}, "key_reference": {key_reference}, ' +
  '"media_type": {media_type}, "plaintext_length": {plaintext_length}, "tenant_id": {tenant_id}, "version": {version}})'

const declarations: readonly Declared[] = [
  {
    file: '01-rcrt',
    level: 'wrap',
    columns: { dek_encrypted: 'nonce:24 ct tag:16' },
    aead: 'xchacha20-poly1305',
  },
  { file: '01-rcrt', level: 'data', columns: { enc_blob: gcm } },
  { file: '02-origan', level: 'wrap', columns: { encrypted_dek: 'base64(nonce:16 ct tag:16)' } },
  {
    file: '02-origan',
    level: 'data',
    columns: { 'variables.DATABASE_URL.value': 'base64(nonce:16 ct tag:16)' },
  },
  {
    file: '03-progressdb',
    case: 0,
    level: 'wrap',
    columns: { pebble_value: `json({"ciphertext": base64(${gcm}), ...})` },
  },
  {
    file: '03-progressdb',
    case: 1,
    level: 'wrap',
    columns: { wrapped_dek: `base64(json({"ciphertext": base64(${gcm}), ...}))` },
  },
  {
    file: '03-progressdb',
    case: 2,
    level: 'data',
    columns: { body_v: `base64(json({"ciphertext": base64(${gcm}), ...}))` },
  },
  { file: '04-bunkms', case: 0, level: 'data', columns: { value: gcm } },
  {
    file: '04-bunkms',
    case: 1,
    level: 'data',
    columns: { ciphertext: `base64(u32be(version) ${gcm})` },
    aad: '{aad}',
  },
  {
    file: '04-bunkms',
    case: 2,
    level: 'data',
    columns: { ciphertext: `base64(u32be(version) ${gcm})` },
    aad: '{aad}',
  },
  { file: '04-bunkms', case: 3, level: 'data', columns: { value: gcm } },
  { file: '04-bunkms', case: 4, level: 'data', columns: { 'rec.Ciphertext': `base64(${gcm})` } },
  { file: '05-bundoc', case: 0, level: 'data', columns: { page: 'nonce:12 ct:8192 tag:16' } },
  { file: '05-bundoc', case: 1, level: 'data', columns: { page: 'nonce:12 ct:8192 tag:16' } },
  {
    file: '06-extport',
    level: 'wrap',
    columns: { dek_encrypted: '"v1." base64(nonce:12) "." base64(ct tag:16)' },
  },
  {
    file: '06-extport',
    level: 'data',
    columns: { credential: '"v1." base64(nonce:12) "." base64(ct tag:16)' },
  },
  { file: '08-langfuse', level: 'data', columns: { secret: 'hex(nonce:12) ":" hex(ct) ":" hex(tag:16)' } },
  {
    file: '09-lobechat',
    level: 'data',
    columns: { key_vaults: 'hex(nonce:12) ":" hex(tag:16) ":" hex(ct)' },
  },
  {
    file: '12-payload',
    case: 0,
    level: 'data',
    columns: { value: '"v1:" hex(keyid:8) ":" hex(nonce:12) ":" hex(tag:16) ":" hex(ct)' },
  },
  {
    file: '14-atlas',
    level: 'wrap',
    columns: { dek_enc: '0x0101 lp16(version:6 salt:32) nonce:12 tag:16 ct' },
    aad: '0x0101 lp16(version salt)',
  },
  { file: '14-atlas', level: 'data', columns: { object: 'nonce:12 tag:16 ct' } },
  {
    file: '16-enc-v2',
    level: 'data',
    columns: { credential: '"enc:v2:" utf8(keyid) ":" base64(nonce:12) ":" base64(tag:16) ":" base64(ct)' },
  },
  { file: '17-localkek', level: 'wrap', columns: { wrapped_dek: 'nonce:12 tag:16 ct' } },
  { file: '29-serverpilot-aeskw', level: 'data', columns: { nonce: 'nonce:12', ciphertext: 'ct tag:16' } },
  {
    file: '30-myfinance',
    level: 'data',
    columns: { iban: `0x01 ${gcm}` },
    aad: '"myfinance/v1/cell|" uuid({user_id}) "|accounts|iban"',
  },
  {
    file: '31-json-envelope-canonical-aad',
    level: 'wrap',
    columns: { blob: 'json({"wrap_nonce": base64(nonce:12), "wrapped_dek": base64(ct tag:16), ...})' },
    aad: blobAad,
    cells: blobMembers,
  },
  {
    file: '31-json-envelope-canonical-aad',
    level: 'data',
    columns: { blob: 'json({"content_nonce": base64(nonce:12), "ciphertext": base64(ct tag:16), ...})' },
    aad: blobAad,
    cells: blobMembers,
  },
  {
    file: '32-laravel',
    case: 2,
    level: 'data',
    columns: {
      value: 'base64(json({"iv": base64(nonce:12), "value": base64(ct), "mac": "", "tag": base64(tag:16)}))',
    },
  },
  {
    file: '33-rails',
    case: 0,
    level: 'wrap',
    columns: {
      value:
        'json({"h": {"k": {"p": base64(ct), "h": {"iv": base64(nonce:12), "at": base64(tag:16), ...}}, ...}, ...})',
    },
  },
  {
    file: '33-rails',
    case: 1,
    level: 'wrap',
    columns: {
      value:
        'json({"h": {"k": {"p": base64(ct), "h": {"iv": base64(nonce:12), "at": base64(tag:16), ...}}, ...}, ...})',
    },
  },
  {
    file: '33-rails',
    case: 0,
    level: 'data',
    columns: { value: 'json({"p": base64(ct), "h": {"iv": base64(nonce:12), "at": base64(tag:16), ...}})' },
  },
  {
    file: '33-rails',
    case: 2,
    level: 'data',
    columns: { value: 'json({"p": base64(ct), "h": {"iv": base64(nonce:12), "at": base64(tag:16), ...}})' },
  },
  {
    file: '36-hikyo',
    level: 'data',
    columns: { record: '0x010101 lp32(keyid) u32be(version) lp32(nonce:24) ct tag:16' },
    aead: 'xchacha20-poly1305',
    aad: '0x010101 lp32(keyid) u32be(version) lp32(nonce) lp32("org_1") lp32("prj_1") lp32("env_1") lp32("key_1") lp32("row_1") lp32("value")',
  },
  {
    file: '37-sops',
    level: 'data',
    columns: {
      value: '"ENC[AES256_GCM,data:" base64(ct) ",iv:" base64(nonce:32) ",tag:" base64(tag:16) ",type:str]"',
    },
    aad: '{path}',
  },
  {
    file: '42-secretbox',
    level: 'data',
    columns: { value: '"k8s:enc:secretbox:v1:" utf8(keyid) ":" nonce:24 tag:16 ct' },
    aead: 'xsalsa20-poly1305',
  },
  {
    file: '45-vault-transit',
    level: 'data',
    columns: { value: `"vault:v" dec(version) ":" base64(${gcm})` },
  },
]

type Vector = {
  readonly row: JsonObject
  readonly level: JsonObject
  readonly key: Buffer
  readonly plaintext: Buffer
}

function vectorOf(declared: Declared): Vector {
  const file = vectorNamed(declared.file)
  const found: JsonObject = {
    ...file,
    ...(declared.case === undefined ? {} : objectOf((file['cases'] as readonly Json[])[declared.case])),
  }
  const row = objectOf(found['row'])
  const level = objectOf(objectOf(found['layout'])[declared.level])
  const dek = found['dek'] === undefined ? undefined : bytesOfCell(found['dek'])
  const kek = bytesOfCell(found['kek'])
  const configured = declared.level === 'wrap' || dek === undefined || level['key'] === 'kek' ? kek : dek
  if (declared.level === 'data')
    return { row, level, key: derivedKey(level, row, configured), plaintext: plaintextOf(found, level) }
  return { row, level, key: derivedKey(level, row, configured), plaintext: dek ?? Buffer.alloc(0) }
}

function plaintextOf(found: JsonObject, level: JsonObject): Buffer {
  const plaintext = bytesOfCell(found['plaintext'])
  expect(level['inflate']).toBeUndefined()
  return plaintext
}

/** The row with one cell replaced, in the form in which it was stored. */
function withCell(row: JsonObject, path: string, bytes: Uint8Array): JsonObject {
  const [first = '', ...rest] = path.split('.')
  if (rest.length > 0) return { ...row, [first]: withCell(objectOf(row[first]), rest.join('.'), bytes) }
  const isText = typeof row[first] === 'string'
  return {
    ...row,
    [first]: isText ? Buffer.from(bytes).toString() : { hex: Buffer.from(bytes).toString('hex') },
  }
}

function cellOf(row: JsonObject, name: string): Value {
  const cell = row[name]
  if (typeof cell === 'number') return BigInt(cell)
  return typeof cell === 'string' || cell === null ? cell : bytesOfCell(cell)
}

type Opened = { readonly plaintext: Uint8Array | undefined; readonly parts: Map<string, Uint8Array | bigint> }

function aadOf(declared: Declared, row: JsonObject, parts: Opened['parts']): Uint8Array {
  if (declared.aad === undefined) return new Uint8Array()
  const cells = declared.cells?.(row) ?? row
  const cell = (name: string): Value => cellOf(cells, name)
  return compileTemplate(declared.aad).render({ cell, newCell: cell, part: (name) => parts.get(name) })
}

function bytesPart(parts: Opened['parts'], name: string): Uint8Array {
  const value = parts.get(name)
  if (!(value instanceof Uint8Array)) throw new TypeError(`no part ${name}`)
  return value
}

function openDeclared(declared: Declared, aead: Aead, row: JsonObject, key: Buffer): Opened {
  const parts = new Map<string, Uint8Array | bigint>()
  for (const [path, layout] of Object.entries(declared.columns)) {
    const found = compileLayout(layout).parse(bytesOfCell(at(row, path)))
    for (const [name, value] of found) parts.set(name, value)
  }
  const prepared = prepareKey(aead, Secret.copy(key))
  const sealed = { ct: bytesPart(parts, 'ct'), tag: bytesPart(parts, 'tag') }
  return {
    plaintext: aead.open(prepared, bytesPart(parts, 'nonce'), sealed, aadOf(declared, row, parts)),
    parts,
  }
}

function resealed(declared: Declared, aead: Aead, row: JsonObject, opened: Opened, key: Buffer): JsonObject {
  const nonce = freshNonce(aead, bytesPart(opened.parts, 'nonce').length)
  const parts = new Map(opened.parts).set('nonce', nonce)
  const aad = aadOf(declared, row, parts)
  const sealed = aead.seal(
    prepareKey(aead, Secret.copy(key)),
    nonce,
    opened.plaintext ?? new Uint8Array(),
    aad,
  )
  parts.set('ct', sealed.ct).set('tag', sealed.tag)
  return Object.entries(declared.columns).reduce(
    (changed, [path, layout]) => withCell(changed, path, compileLayout(layout).render(parts)),
    row,
  )
}

const secondKey = Buffer.from('5ec09dfb1de1f0cbd0d0f6bc2ac4f7d1f4c6d9d9b5b2e0c2b1a9788f6e5d4c3b', 'hex')

describe('a value that an application sealed', () => {
  for (const declared of declarations) {
    const aead = aeadNamed(declared.aead ?? 'aes-256-gcm')
    const title = `${declared.file} ${declared.case ?? ''} ${declared.level}`

    test(`opens through its layout, and under a second key for everybody else: ${title}`, () => {
      const { row, level, key, plaintext } = vectorOf(declared)
      const opened = openDeclared(declared, aead, row, key)
      expect(Buffer.from(opened.plaintext ?? []).toString('hex')).toBe(plaintext.toString('hex'))

      const changed = resealed(declared, aead, row, opened, secondKey)
      expect(changed).not.toEqual(row)
      expect(openAsDescribed(level, changed, secondKey).equals(plaintext)).toBe(true)
      expect(() => openAsDescribed(level, changed, key)).toThrow()
      expect(openDeclared(declared, aead, changed, key).plaintext).toBeUndefined()
      expect(openDeclared(declared, aead, changed, secondKey).plaintext).toEqual(opened.plaintext)
    })

    test(`is rendered again byte for byte: ${title}`, () => {
      const { row } = vectorOf(declared)
      for (const [path, source] of Object.entries(declared.columns)) {
        const layout = compileLayout(source)
        const value = bytesOfCell(at(row, path))
        expect(Buffer.from(layout.render(layout.parse(value))).equals(value)).toBe(true)
      }
    })
  }
})

const token = 'base64urlpad(0x80 skip:8 nonce:16 ct mac:32)'

describe('a value whose cipher comes later', () => {
  const shapes: readonly (readonly [string, number | undefined, string, string])[] = [
    ['12-payload', 1, 'value', 'hex(nonce:16 ct)'],
    ['19-medguard-kwp', undefined, 'wrapped_key', 'ct'],
    ['21-n8n', 0, 'data', 'base64(0x01 salt:32 tag:16 ct)'],
    ['21-n8n', 1, 'data', 'base64("Salted__" salt:8 ct)'],
    ['22-unauthenticated', 0, 'secret', 'hex(nonce:16) ":" hex(ct)'],
    ['22-unauthenticated', 1, 'secret', '"v3:" hex(nonce:16) ":" hex(ct)'],
    ['24-mongoose-field-encryption', undefined, 'name', 'hex(nonce:16) ":" hex(ct)'],
    ['25-cryptojs', undefined, 'encryptedData', 'base64("Salted__" salt:8 ct)'],
    [
      '27-agenticos',
      0,
      'ciphertext',
      `json({"v": 1, "k": ${token.replace(/(nonce|ct|mac)/g, 'dek.$1')}, "p": ${token}})`,
    ],
    ['28-awx', undefined, 'inputs.password', `"$encrypted$UTF8$AESCBC$" base64(${token})`],
    ['29-serverpilot-aeskw', undefined, 'encrypted_dek', 'ct:40'],
    ['30-myfinance', undefined, 'wrapped_dek', '0x01 nonce:12 ct tag:16'],
    [
      '32-laravel',
      0,
      'value',
      'base64(json({"iv": base64(nonce:16), "value": base64(ct), "mac": hex(mac:32), "tag": ""}))',
    ],
    ['35-cloudcontroller', undefined, 'value', 'base64(ct)'],
    ['46-grafana', undefined, 'encrypted_data', '"*YWVzLWNmYg*" salt:8 nonce:16 ct'],
    ['46-grafana', undefined, 'secret', '"#" base64nopad(keyid) "#*YWVzLWNmYg*" salt:8 nonce:16 ct'],
    ['47-mongo-csfle-local', undefined, 'keyMaterial', 'nonce:16 ct mac:32'],
  ]
  test.each(shapes)(
    'is taken apart and rendered again byte for byte: %s %s %s',
    (name, number, path, source) => {
      const file = vectorNamed(name)
      const row = objectOf(
        (number === undefined ? file : objectOf((file['cases'] as readonly Json[])[number]))['row'],
      )
      const value = bytesOfCell(at(row, path))
      const layout = compileLayout(source)
      const parts = layout.parse(value)
      expect([...layout.partNames].every((part) => parts.has(part))).toBe(true)
      expect(Buffer.from(layout.render(parts)).equals(value)).toBe(true)
    },
  )
})
