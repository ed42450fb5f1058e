import { readFileSync } from 'node:fs'
import { join } from 'node:path'

// A reader of the vectors that shares nothing with kvx: it follows the description in the vector file itself
// (`layout.wrap`, `layout.data`). `vector-ciphers.ts` opens what it takes apart.

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

export function part(row: JsonObject, rule: JsonObject): Buffer {
  let bytes = bytesOfCell(row[textOf(rule['from'])])
  for (const encoding of (rule['decode'] ?? []) as readonly Json[]) bytes = decoded(bytes, encoding)
  if (typeof rule['json'] === 'string') {
    bytes = bytesOfCell(at(JSON.parse(bytes.toString()) as Json, rule['json']))
  }
  if (rule['proto'] !== undefined && rule['enc'] !== undefined) bytes = decoded(bytes, rule['enc'])
  if (rule['proto'] !== undefined) return protoField(bytes, rule['proto'] as readonly number[])
  if (typeof rule['prefix'] === 'string') bytes = bytes.subarray(rule['prefix'].length)
  if (typeof rule['delim'] === 'string') {
    bytes = Buffer.from(bytes.toString().split(rule['delim'])[Number(rule['index'])] ?? '')
  }
  if (typeof rule['regex'] === 'string')
    bytes = Buffer.from(new RegExp(rule['regex']).exec(String(bytes))?.[1] ?? '')
  bytes = decoded(bytes, rule['enc'])
  for (const encoding of (rule['then'] ?? []) as readonly Json[]) bytes = decoded(bytes, encoding)
  const [start, end] = (rule['slice'] ?? []) as readonly (number | null)[]
  return bytes.subarray(start ?? 0, end ?? bytes.length)
}

/** @param key what `$key` stands for */
export function associated(row: JsonObject, rules: Json | undefined, key?: Buffer): Buffer {
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
      rule['lit'] === undefined ? columnOf(row, textOf(rule['col']), key) : Buffer.from(textOf(rule['lit']))
    if (rule['as'] === 'uuid') bytes = Buffer.from(bytes.toString().replaceAll('-', ''), 'hex')
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    if (rule['lp16'] === true) return Buffer.concat([length.subarray(2), bytes])
    return rule['lp32'] === true ? Buffer.concat([length, bytes]) : bytes
  })
  return Buffer.concat(pieces)
}

function columnOf(row: JsonObject, name: string, key: Buffer | undefined): Buffer {
  return name === '$key' && key !== undefined ? key : bytesOfCell(row[name])
}

/** The content of a field of protobuf, at a path of numbers. Knows short lengths and tags only. */
function protoField(message: Buffer, [number, ...rest]: readonly number[]): Buffer {
  for (let at = 0; at < message.length; ) {
    const tag = message[at++] ?? 0
    const start = at
    while ((message[at++] ?? 0) >= 0x80);
    const length = (tag & 7) === 2 ? (message[start] ?? 0) : 0
    const content = message.subarray(at, at + length)
    if (tag >> 3 === number) return rest.length === 0 ? content : protoField(content, rest)
    at += length
  }
  throw new TypeError('no such field')
}
