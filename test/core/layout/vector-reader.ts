import { createDecipheriv, hkdfSync, pbkdf2Sync, scryptSync, type CipherGCMTypes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { secretbox } from '@noble/ciphers/salsa.js'

// A reader of the vectors that shares nothing with kvx: it follows the description in the vector file itself
// (`layout.wrap`, `layout.data`), and opens with plain node:crypto and noble.

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }

export type JsonObject = { readonly [name: string]: Json }

export function objectOf(value: Json | undefined): JsonObject {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw new TypeError('not an object')
  return value as JsonObject
}

export function textOf(value: Json | undefined): string {
  if (typeof value !== 'string') throw new TypeError('not a text')
  return value
}

export function vectorNamed(file: string): JsonObject {
  const path = join(import.meta.dirname, '../../vectors/layouts', `${file}.json`)
  return objectOf(JSON.parse(readFileSync(path, 'utf8')) as Json)
}

/** The member at a path of names with dots. */
export function at(value: Json | undefined, path: string): Json | undefined {
  return path.split('.').reduce<Json | undefined>((inner, name) => objectOf(inner)[name], value)
}

/** A cell of a row as bytes: `{hex}` or text. */
export function bytesOfCell(cell: Json | undefined): Buffer {
  if (typeof cell === 'string') return Buffer.from(cell)
  if (typeof cell === 'number') return Buffer.from(String(cell))
  const { hex, utf8 } = objectOf(cell)
  if (typeof hex === 'string') return Buffer.from(hex, 'hex')
  return typeof utf8 === 'string' ? Buffer.from(utf8) : Buffer.from(JSON.stringify(cell))
}

function decoded(text: Buffer, encoding: Json | undefined): Buffer {
  if (encoding === undefined || encoding === 'utf8') return text
  return Buffer.from(text.toString('latin1'), textOf(encoding) as BufferEncoding)
}

function part(row: JsonObject, rule: JsonObject): Buffer {
  let bytes = bytesOfCell(row[textOf(rule['from'])])
  for (const encoding of (rule['decode'] ?? []) as readonly Json[]) bytes = decoded(bytes, encoding)
  if (typeof rule['json'] === 'string') {
    bytes = bytesOfCell(at(JSON.parse(bytes.toString()) as Json, rule['json']))
  }
  if (typeof rule['prefix'] === 'string') bytes = bytes.subarray(rule['prefix'].length)
  if (typeof rule['delim'] === 'string') {
    bytes = Buffer.from(bytes.toString().split(rule['delim'])[Number(rule['index'])] ?? '')
  }
  if (typeof rule['regex'] === 'string')
    bytes = Buffer.from(new RegExp(rule['regex']).exec(String(bytes))?.[1] ?? '')
  bytes = decoded(bytes, rule['enc'])
  const [start, end] = (rule['slice'] ?? []) as readonly (number | null)[]
  return bytes.subarray(start ?? 0, end ?? bytes.length)
}

function associated(row: JsonObject, rules: Json | undefined): Buffer {
  const pieces = ((rules ?? []) as readonly JsonObject[]).map((rule) => {
    const names = rule['json_sorted'] as readonly string[] | undefined
    if (names !== undefined) {
      const blob = objectOf(JSON.parse(String(bytesOfCell(row[textOf(rule['from'])]))) as Json)
      return Buffer.from(
        JSON.stringify(Object.fromEntries(names.toSorted().map((name) => [name, blob[name]]))),
      )
    }
    if (rule['part'] !== undefined) return part(row, objectOf(rule['part']))
    if (rule['hex'] !== undefined) return Buffer.from(textOf(rule['hex']), 'hex')
    let bytes =
      rule['lit'] === undefined ? bytesOfCell(row[textOf(rule['col'])]) : Buffer.from(textOf(rule['lit']))
    if (rule['as'] === 'uuid') bytes = Buffer.from(bytes.toString().replaceAll('-', ''), 'hex')
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    return rule['lp32'] === true ? Buffer.concat([length, bytes]) : bytes
  })
  return Buffer.concat(pieces)
}

/** The key of a level as its application derives it from what is configured. */
export function derivedKey(level: JsonObject, row: JsonObject, key: Buffer): Buffer {
  if (level['kdf'] === undefined) return key
  const kdf = objectOf(level['kdf'])
  const hash = typeof kdf['hash'] === 'string' ? kdf['hash'] : 'sha256'
  const saltPart =
    typeof kdf['salt_part'] === 'string' ? objectOf(level['parts'])[kdf['salt_part']] : undefined
  const salt =
    saltPart === undefined ? Buffer.from(textOf(kdf['salt_utf8'] ?? '')) : part(row, objectOf(saltPart))
  if (kdf['name'] === 'hkdf') return Buffer.from(hkdfSync(hash, key, salt, textOf(kdf['info'] ?? ''), 32))
  if (kdf['name'] === 'pbkdf2') return pbkdf2Sync(key, salt, Number(kdf['iterations']), 32, hash)
  if (kdf['name'] !== 'scrypt') throw new TypeError('a derivation that this reader does not know')
  const cost = { N: Number(kdf['N']), r: Number(kdf['r']), p: Number(kdf['p']), maxmem: 2 ** 30 }
  return scryptSync(key, associated(row, kdf['salt']), 32, cost)
}

/** Opens a level of a row. Throws when the value does not authenticate. */
export function openAsDescribed(level: JsonObject, row: JsonObject, key: Buffer): Buffer {
  const rules = objectOf(level['parts'])
  const get = (name: string): Buffer =>
    rules[name] === undefined ? Buffer.alloc(0) : part(row, objectOf(rules[name]))
  const sealed = rules['ctag'] === undefined ? Buffer.concat([get('ct'), get('tag')]) : get('ctag')
  const aad = associated(row, level['aad'])
  const algorithm = textOf(level['alg'])
  if (algorithm === 'nacl-secretbox') return Buffer.from(secretbox(key, get('iv')).open(get('ct')))
  if (algorithm === 'xchacha20-poly1305')
    return Buffer.from(xchacha20poly1305(key, get('iv'), aad).decrypt(sealed))
  const decipher = createDecipheriv(algorithm as CipherGCMTypes, key, get('iv'), { authTagLength: 16 })
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
}
