/**
 * Files that databases leave: the encrypted pages of Bundoc, sealed by its own code, and what `mongoexport` writes.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { root } from '../support/cli.ts'
import { Folder } from '../support/folder.ts'

const folders: Folder[] = []
afterAll(() => folders.forEach((folder) => folder.close()))

function newFolder(): Folder {
  const folder = new Folder()
  folders.push(folder)
  return folder
}

function seal(key: Buffer, plaintext: Buffer): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

function open(key: Buffer, sealed: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12), { authTagLength: 16 })
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
}

type Vector = {
  readonly kek: { readonly hex: string }
  readonly cases: readonly {
    readonly plaintext: { readonly hex: string }
    readonly row: { readonly page: { readonly hex: string } }
  }[]
}

type Census = {
  readonly envelopes: readonly { records: number; byVersion: Record<string, number>; unreadable: number }[]
}

const pageBytes = 8220

test("Bundoc's pages, sealed by its own code, move to a new key in their file", () => {
  const path = join(root, 'test/vectors/layouts/05-bundoc.json')
  const vector = JSON.parse(readFileSync(path, 'utf8')) as Vector
  const key = Buffer.from(vector.kek.hex, 'hex')
  const theirs = vector.cases.map(({ row }) => Buffer.from(row.page.hex, 'hex'))
  const plaintexts = vector.cases.map(({ plaintext }) => Buffer.from(plaintext.hex, 'hex'))
  const more = Array.from({ length: 40 }, (_, index) => Buffer.alloc(8192, index))
  const folder = newFolder()
  folder.put('bundoc/data.db', Buffer.concat([...theirs, ...more.map((page) => seal(key, page))]))
  folder.begin({
    key,
    purpose: 'data',
    stores: [`  pages: { directory: bundoc, match: "*.db", format: records, record-size: ${pageBytes} }`],
    envelopes: [
      '  bundoc.pages:',
      '    store: pages',
      '    key: master',
      '    value: { aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }',
    ],
  })
  const wanted = [...plaintexts, ...more]
  const { length } = wanted
  expect(folder.ok<Census>('verify').data.envelopes).toMatchObject([
    { records: length, byVersion: { 'master@1': length }, unreadable: 0 },
  ])

  folder.rotate()
  expect(folder.json('retire', 'master@1', '--confirm', 'master@1').error?.code).toBe('VALUES_REMAIN')
  folder.ok('reencrypt', '--yes', '--batch', '10')
  expect(folder.ok<Census>('verify').data.envelopes).toMatchObject([{ byVersion: { 'master@2': length } }])
  const newKey = folder.bytes('keys/app.key')
  const file = folder.bytes('bundoc/data.db')
  expect(statSync(folder.file('bundoc/data.db')).mode & 0o777).toBe(0o640)
  const pages = wanted.map((_, index) => file.subarray(index * pageBytes, (index + 1) * pageBytes))
  expect(file).toHaveLength(length * pageBytes)
  expect(pages.map((page) => open(newKey, page))).toEqual(wanted)
  for (const page of pages) expect(() => open(key, page)).toThrow()
  const { runs } = folder.ok<{ runs: { id: string; kind: string }[] }>('run', 'list').data
  const run = runs.find(({ kind }) => kind === 'reencrypt')?.id ?? 'none'
  expect(folder.ok('run', 'restore', run, '--dry-run').data).toMatchObject({ restored: length })
  folder.ok('retire', 'master@1', '--confirm', 'master@1')
})

/** What an application keeps in MongoDB, as `mongoexport` writes it: one document of extended JSON a line. */
function exported(key: Buffer, index: number): string {
  const sealed = seal(key, Buffer.from(`secret ${index}`)).toString('base64')
  const oid = (0x65a1_0000_0000 + index).toString(16).padStart(24, '0')
  const text = [
    `{"_id":{"$oid":"${oid}"},"n":{"$numberLong":"${2n ** 60n + BigInt(index)}"},`,
    `"value":{"$binary":{"base64":"${sealed}","subType":"00"}},`,
    `"tags":["a",{"$date":"2026-01-0${(index % 9) + 1}T00:00:00Z"}],"ratio":{"$numberDouble":"0.10"},"old":null}`,
  ].join('')
  return index % 3 === 0 ? text.replaceAll('":', '" : ') : text
}

test('an export of MongoDB keeps every byte of its extended JSON but the values', () => {
  const key = randomBytes(32)
  const count = 30
  const folder = newFolder()
  const lines = Array.from({ length: count }, (_, index) => exported(key, index))
  folder.put('export/secrets.json', `${lines.join('\n')}\n`)
  folder.begin({
    key,
    purpose: 'data',
    stores: ['  mongo: { directory: export, match: secrets.json, format: jsonl }'],
    envelopes: [
      '  app.secrets:',
      '    store: mongo',
      '    id: _id.$oid',
      '    key: master',
      '    value: { column: value.$binary.base64, aead: aes-256-gcm, layout: "base64(nonce:12 ct tag:16)" }',
    ],
  })
  folder.rotate()
  folder.ok('reencrypt', '--yes')
  expect(folder.ok<Census>('verify').data.envelopes).toMatchObject([{ byVersion: { 'master@2': count } }])
  const newKey = folder.bytes('keys/app.key')
  const after = folder.bytes('export/secrets.json').toString().trimEnd().split('\n')
  const values = after.map((line) => (JSON.parse(line) as { value: { $binary: { base64: string } } }).value)
  expect(values.map(({ $binary }) => open(newKey, Buffer.from($binary.base64, 'base64')).toString())).toEqual(
    lines.map((_, index) => `secret ${index}`),
  )
  const blank = (line: string): string => line.replace(/("base64" ?: ?")[^"]*/, '$1')
  expect(after.map(blank)).toEqual(lines.map(blank))
  folder.ok('retire', 'master@1', '--confirm', 'master@1')
})
