/**
 * Applications with their own envelope encryption, as operators have them: each shape seals and opens with plain
 * node:crypto and @noble/ciphers. Nothing of kvx has a part in it, so that what it reads is evidence.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import type { SQLInputValue } from 'node:sqlite'

/** A sealed value taken apart. */
type Parts = { readonly nonce: Buffer; readonly ct: Buffer; readonly tag: Buffer }

type Cipher = {
  readonly seal: (key: Buffer, nonce: Buffer, plaintext: Buffer, aad: Buffer) => Parts
  /** Throws when the tag does not fit. */
  readonly open: (key: Buffer, parts: Parts, aad: Buffer) => Buffer
}

const tagLength = 16

export const aes256Gcm: Cipher = {
  seal(key, nonce, plaintext, aad) {
    const cipher = createCipheriv('aes-256-gcm', key, nonce)
    cipher.setAAD(aad)
    const ct = Buffer.concat([cipher.update(plaintext), cipher.final()])
    return { nonce, ct, tag: cipher.getAuthTag() }
  },
  open(key, { nonce, ct, tag }, aad) {
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: tagLength })
    decipher.setAAD(aad)
    decipher.setAuthTag(tag)
    return Buffer.concat([decipher.update(ct), decipher.final()])
  },
}

export const xchacha: Cipher = {
  seal(key, nonce, plaintext, aad) {
    const sealed = Buffer.from(xchacha20poly1305(key, nonce, aad).encrypt(plaintext))
    return { nonce, ct: sealed.subarray(0, -tagLength), tag: sealed.subarray(-tagLength) }
  },
  open: (key, { nonce, ct, tag }, aad) =>
    Buffer.from(xchacha20poly1305(key, nonce, aad).decrypt(Buffer.concat([ct, tag]))),
}

export type Cell = string | Buffer | number | bigint | null
export type Row = Readonly<Record<string, Cell>>

/** One way in which applications write the parts of a sealed value. */
type Form = { readonly write: (parts: Parts) => Cell; readonly read: (cell: Cell | undefined) => Parts }

export function bufferOf(cell: Cell | undefined): Buffer {
  if (typeof cell === 'string') return Buffer.from(cell, 'utf8')
  if (cell instanceof Uint8Array) return Buffer.from(cell)
  throw new Error('there is nothing sealed')
}

function split(bytes: Buffer, nonceLength: number): Parts {
  return {
    nonce: bytes.subarray(0, nonceLength),
    ct: bytes.subarray(nonceLength, -tagLength),
    tag: bytes.subarray(-tagLength),
  }
}

const raw = (nonceLength: number): Form => ({
  write: ({ nonce, ct, tag }) => Buffer.concat([nonce, ct, tag]),
  read: (cell) => split(bufferOf(cell), nonceLength),
})

const base64 = (nonceLength: number, prefix = ''): Form => ({
  write: ({ nonce, ct, tag }) => prefix + Buffer.concat([nonce, ct, tag]).toString('base64'),
  read: (cell) => split(Buffer.from(bufferOf(cell).toString().slice(prefix.length), 'base64'), nonceLength),
})

const hexColons: Form = {
  write: ({ nonce, ct, tag }) => [nonce, tag, ct].map((part) => part.toString('hex')).join(':'),
  read: (cell) => {
    const [nonce, tag, ct] = bufferOf(cell).toString().split(':')
    return partsOf([nonce, ct, tag], 'hex')
  },
}

const dotted: Form = {
  write: ({ nonce, ct, tag }) => `v1.${[nonce, ct, tag].map((part) => part.toString('base64url')).join('.')}`,
  read: (cell) => {
    const [prefix, nonce, ct, tag] = bufferOf(cell).toString().split('.')
    if (prefix !== 'v1') throw new Error('another form')
    return partsOf([nonce, ct, tag], 'base64url')
  },
}

function partsOf(texts: readonly (string | undefined)[], encoding: 'hex' | 'base64url'): Parts {
  const [nonce, ct, tag] = texts.map((text) => Buffer.from(text ?? '', encoding))
  if (nonce === undefined || ct === undefined || tag === undefined) throw new Error('another form')
  return { nonce, ct, tag }
}

/** The version of a key as the application numbers it, and its bytes. */
export type AppKey = { readonly version: number; readonly bytes: Buffer }

/** What one application does with one record. */
export type Shape = {
  /** Column definitions behind `id INTEGER PRIMARY KEY`. */
  readonly ddl: string
  /** Members of the envelope in kvx.yaml besides store, table, id and key. */
  readonly envelope: readonly string[]
  readonly purpose: 'kek' | 'data'
  readonly work: 'rewrap' | 'reencrypt'
  /** `part` is added to what the record keeps, for shapes with one value. */
  readonly seal: (key: AppKey, id: number, part?: string) => Row
  /** Everything that the record holds, opened. Throws when one part does not open. */
  readonly open: (key: Buffer, id: number, row: Row) => readonly string[]
  /** A record with nothing in it, and one that was never sealed, where the application has such. */
  readonly others?: (id: number) => readonly Row[]
}

const none = Buffer.alloc(0)

/** What the application keeps in record `id`. */
export function secretOf(id: number, part = ''): string {
  return `secret number ${id}${part}`
}

function dekOf(cipher: Cipher, form: Form, aad: (id: number, row: Row) => Buffer = () => none) {
  return {
    wrap: (key: AppKey, id: number, row: Row, nonceLength: number): { dek: Buffer; cell: Cell } => {
      const dek = randomBytes(32)
      return { dek, cell: form.write(cipher.seal(key.bytes, randomBytes(nonceLength), dek, aad(id, row))) }
    },
    unwrap: (key: Buffer, id: number, row: Row, cell: Cell | undefined): Buffer =>
      cipher.open(key, form.read(cell), aad(id, row)),
  }
}

type TwoLevels = {
  readonly wrapCipher?: Cipher
  readonly wrapNonce: number
  readonly wrapForm: Form
  readonly wrapDdl: string
  readonly wrapYaml: string
  readonly valueNonce?: number
  readonly valueForm: Form
  readonly valueDdl: string
  readonly valueYaml: string
}

/** A DEK a record in `wrapped_dek`, the value in `ciphertext` bound to its id. */
function twoLevels(of: TwoLevels): Shape {
  const dek = dekOf(of.wrapCipher ?? aes256Gcm, of.wrapForm)
  const bound = (id: number): Buffer => Buffer.from(`secrets|${id}`)
  return {
    ddl: `wrapped_dek ${of.wrapDdl}, ciphertext ${of.valueDdl}`,
    envelope: [
      `dek: { column: wrapped_dek, ${of.wrapYaml} }`,
      `value: { column: ciphertext, ${of.valueYaml}, aad: '"secrets|" {id}' }`,
    ],
    purpose: 'kek',
    work: 'rewrap',
    seal: (key, id, part) => {
      const wrapped = dek.wrap(key, id, {}, of.wrapNonce)
      const parts = aes256Gcm.seal(
        wrapped.dek,
        randomBytes(of.valueNonce ?? 12),
        Buffer.from(secretOf(id, part)),
        bound(id),
      )
      return { wrapped_dek: wrapped.cell, ciphertext: of.valueForm.write(parts) }
    },
    open: (key, id, row) => {
      const opened = dek.unwrap(key, id, row, row['wrapped_dek'])
      return [aes256Gcm.open(opened, of.valueForm.read(row['ciphertext']), bound(id)).toString()]
    },
  }
}

const gcm = 'aead: aes-256-gcm'

/** The DEK's wrap and the value raw and in base64, 12-byte nonces: what the quickstart has. */
export const plainTwoLevels = twoLevels({
  wrapNonce: 12,
  wrapForm: raw(12),
  wrapDdl: 'BLOB',
  wrapYaml: `${gcm}, layout: "nonce:12 ct tag:16"`,
  valueForm: base64(12),
  valueDdl: 'TEXT',
  valueYaml: `${gcm}, layout: "base64(nonce:12 ct tag:16)"`,
})

export const sixteenByteNonces = twoLevels({
  wrapNonce: 16,
  wrapForm: base64(16),
  wrapDdl: 'TEXT',
  wrapYaml: `${gcm}, layout: "base64(nonce:16 ct tag:16)"`,
  valueNonce: 16,
  valueForm: base64(16),
  valueDdl: 'TEXT',
  valueYaml: `${gcm}, layout: "base64(nonce:16 ct tag:16)"`,
})

/** RCRT: nonce 24, ciphertext, tag, raw. */
export const xchachaWrap = twoLevels({
  wrapCipher: xchacha,
  wrapNonce: 24,
  wrapForm: raw(24),
  wrapDdl: 'BLOB',
  wrapYaml: 'aead: xchacha20-poly1305, layout: "nonce:24 ct tag:16"',
  valueForm: raw(12),
  valueDdl: 'BLOB',
  valueYaml: `${gcm}, layout: "nonce:12 ct tag:16"`,
})

export const hexWithColons = twoLevels({
  wrapNonce: 12,
  wrapForm: hexColons,
  wrapDdl: 'TEXT',
  wrapYaml: `${gcm}, layout: 'hex(nonce:12) ":" hex(tag:16) ":" hex(ct)'`,
  valueForm: hexColons,
  valueDdl: 'TEXT',
  valueYaml: `${gcm}, layout: 'hex(nonce:12) ":" hex(tag:16) ":" hex(ct)'`,
})

const dottedLayout = `layout: '"v1." base64url(nonce:12) "." base64url(ct) "." base64url(tag:16)'`

export const prefixedParts = twoLevels({
  wrapNonce: 12,
  wrapForm: dotted,
  wrapDdl: 'TEXT',
  wrapYaml: `${gcm}, ${dottedLayout}`,
  valueForm: dotted,
  valueDdl: 'TEXT',
  valueYaml: `${gcm}, ${dottedLayout}`,
})

/** A column says which version of the KEK a DEK needs, and the wrap's AAD binds tenant and version. */
export const versionColumn: Shape = (() => {
  const aad = (_id: number, row: Row): Buffer =>
    Buffer.from(`dek/${String(row['tenant'])}/v${String(row['key_version'])}`)
  const dek = dekOf(aes256Gcm, raw(12), aad)
  const form = base64(12)
  return {
    ddl: 'tenant TEXT NOT NULL, key_version INTEGER NOT NULL, wrapped_dek BLOB, ciphertext TEXT',
    envelope: [
      'version: key_version',
      `dek: { column: wrapped_dek, ${gcm}, layout: "nonce:12 ct tag:16", aad: '"dek/" {tenant} "/v" {key_version}' }`,
      `value: { column: ciphertext, ${gcm}, layout: "base64(nonce:12 ct tag:16)", aad: '{tenant} ":" {id}' }`,
    ],
    purpose: 'kek',
    work: 'rewrap',
    seal: (key, id) => {
      const row = { tenant: `tenant-${id % 3}`, key_version: key.version }
      const wrapped = dek.wrap(key, id, row, 12)
      const bound = Buffer.from(`${row.tenant}:${id}`)
      const parts = aes256Gcm.seal(wrapped.dek, randomBytes(12), Buffer.from(secretOf(id)), bound)
      return { ...row, wrapped_dek: wrapped.cell, ciphertext: form.write(parts) }
    },
    open: (key, id, row) => {
      const opened = dek.unwrap(key, id, row, row['wrapped_dek'])
      const bound = Buffer.from(`${String(row['tenant'])}:${id}`)
      return [aes256Gcm.open(opened, form.read(row['ciphertext']), bound).toString()]
    },
  }
})()

/** The value's own AAD binds the version of the KEK too, so that it changes with each rewrap. */
export const boundVersion: Shape = (() => {
  const aad = (id: number, row: Row): Buffer => Buffer.from(`${id}/v${String(row['kek'])}`)
  const dek = dekOf(aes256Gcm, raw(12), aad)
  const form = base64(12)
  const bound = `aad: '{id} "/v" {kek}'`
  return {
    ddl: 'kek TEXT NOT NULL, dek BLOB, body TEXT',
    envelope: [
      'version: kek',
      `dek: { column: dek, ${gcm}, layout: "nonce:12 ct tag:16", ${bound} }`,
      `value: { column: body, ${gcm}, layout: "base64(nonce:12 ct tag:16)", ${bound} }`,
    ],
    purpose: 'kek',
    work: 'rewrap',
    seal: (key, id) => {
      const row = { kek: String(key.version) }
      const wrapped = dek.wrap(key, id, row, 12)
      const parts = aes256Gcm.seal(wrapped.dek, randomBytes(12), Buffer.from(secretOf(id)), aad(id, row))
      return { ...row, dek: wrapped.cell, body: form.write(parts) }
    },
    open: (key, id, row) => {
      const opened = dek.unwrap(key, id, row, row['dek'])
      return [aes256Gcm.open(opened, form.read(row['body']), aad(id, row)).toString()]
    },
  }
})()

/** One value spread over three columns, beside a second value, both under one DEK. */
export const severalColumns: Shape = (() => {
  const dek = dekOf(aes256Gcm, base64(12))
  const second = base64(12)
  const aad = (id: number, part: string): Buffer => Buffer.from(`${part}:${id}`)
  return {
    ddl: 'dek TEXT, iv TEXT, auth_tag BLOB, body BLOB, note TEXT',
    envelope: [
      `dek: { column: dek, ${gcm}, layout: "base64(nonce:12 ct tag:16)" }`,
      'value:',
      `  - { ${gcm}, layout: { iv: "hex(nonce:12)", auth_tag: "tag:16", body: "ct" }, aad: '"body:" {id}' }`,
      `  - { column: note, ${gcm}, layout: "base64(nonce:12 ct tag:16)", aad: '"note:" {id}' }`,
    ],
    purpose: 'kek',
    work: 'rewrap',
    seal: (key, id) => {
      const wrapped = dek.wrap(key, id, {}, 12)
      const body = aes256Gcm.seal(wrapped.dek, randomBytes(12), Buffer.from(secretOf(id)), aad(id, 'body'))
      const note = Buffer.from(secretOf(id, ' note'))
      return {
        dek: wrapped.cell,
        iv: body.nonce.toString('hex'),
        auth_tag: body.tag,
        body: body.ct,
        note: second.write(aes256Gcm.seal(wrapped.dek, randomBytes(12), note, aad(id, 'note'))),
      }
    },
    open: (key, id, row) => {
      const opened = dek.unwrap(key, id, row, row['dek'])
      const parts = {
        nonce: Buffer.from(String(row['iv']), 'hex'),
        ct: bufferOf(row['body']),
        tag: bufferOf(row['auth_tag']),
      }
      return [
        aes256Gcm.open(opened, parts, aad(id, 'body')).toString(),
        aes256Gcm.open(opened, second.read(row['note']), aad(id, 'note')).toString(),
      ]
    },
  }
})()

/** Values directly under the key. A record may have none, or one that was never sealed. */
export const oneLevel: Shape = (() => {
  const form = base64(12, 'enc:')
  const aad = (id: number): Buffer => Buffer.from(`settings/${id}`)
  return {
    ddl: 'value TEXT',
    envelope: [
      'plaintext: true',
      `value: { column: value, ${gcm}, layout: '"enc:" base64(nonce:12 ct tag:16)', aad: '"settings/" {id}' }`,
    ],
    purpose: 'data',
    work: 'reencrypt',
    seal: (key, id) => ({
      value: form.write(aes256Gcm.seal(key.bytes, randomBytes(12), Buffer.from(secretOf(id)), aad(id))),
    }),
    open: (key, id, row) => [aes256Gcm.open(key, form.read(row['value']), aad(id)).toString()],
    others: (id) => [{ value: null }, { value: `never sealed ${id}` }],
  }
})()

/** Two values of one record directly under the key; the version is written in each of them and bound by its AAD. */
export const numberedValues: Shape = (() => {
  const numbered = /^vault:v(\d+):(.*)$/s
  const write = (version: number, parts: Parts): string =>
    `vault:v${version}:${String(base64(12).write(parts))}`
  const read = (cell: Cell | undefined): { version: string; parts: Parts } => {
    const match = numbered.exec(bufferOf(cell).toString())
    if (match?.[1] === undefined) throw new Error('another form')
    return { version: match[1], parts: base64(12).read(match[2] ?? '') }
  }
  const aad = (part: string, id: number, version: number | string): Buffer =>
    Buffer.from(`${part}/${id}/${version}`)
  const layout = `layout: '"vault:v" dec(version) ":" base64(nonce:12 ct tag:16)'`
  return {
    ddl: 'login TEXT, password TEXT, comment TEXT',
    envelope: [
      'value:',
      ...['login', 'password'].map(
        (column) => `  - { column: ${column}, ${gcm}, ${layout}, aad: '"${column}/" {id} "/" version' }`,
      ),
    ],
    purpose: 'data',
    work: 'reencrypt',
    seal: (key, id) => {
      const one = (part: string): string => {
        const plaintext = Buffer.from(secretOf(id, ` ${part}`))
        const parts = aes256Gcm.seal(key.bytes, randomBytes(12), plaintext, aad(part, id, key.version))
        return write(key.version, parts)
      }
      return { login: one('login'), password: one('password'), comment: `row ${id}` }
    },
    open: (key, id, row) =>
      ['login', 'password'].map((part) => {
        const { version, parts } = read(row[part])
        return aes256Gcm.open(key, parts, aad(part, id, version)).toString()
      }),
    others: () => [{ login: null, password: null, comment: 'nothing here yet' }],
  }
})()

/** Names of the columns in a definition, without `id`. */
export function columnsOf(shape: Shape): readonly string[] {
  return shape.ddl.split(',').map((column) => column.trim().split(' ')[0] ?? '')
}

export function bindable(cell: Cell | undefined): SQLInputValue {
  return cell ?? null
}
