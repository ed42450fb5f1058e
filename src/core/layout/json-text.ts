import { isUtf8 } from './coded-fields.ts'
import { mismatch } from './values.ts'

/** How a document writes characters that need no escape, or could have another: `/` as `\/`, `+` as `\u002B`. */
export type Escapes = ReadonlyMap<string, string>

const escape = /\\(?:u[0-9A-Fa-f]{4}|.)/g

/** The escapes that a document of valid JSON uses for ASCII characters. */
export function escapesIn(document: Uint8Array): Escapes {
  if (!document.includes(0x5c)) return new Map()
  const escapes = new Map<string, string>()
  for (const [text] of new TextDecoder('latin1').decode(document).matchAll(escape)) {
    const character: unknown = JSON.parse(`"${text}"`)
    if (typeof character === 'string' && character < '\u0080') escapes.set(character, text)
  }
  return escapes
}

const encoder = new TextEncoder()
const special = /[^\u0020-\u007e]|["\\]/

/** A string of JSON with these characters, escaped where it must be and where the document does it. */
export function quotedJson(place: string, bytes: Uint8Array, escapes: Escapes = new Map()): Uint8Array {
  if (!isUtf8(bytes)) throw mismatch(`the new bytes of ${place} are not UTF-8, so JSON can't hold them`)
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
  if (escapes.size === 0) return encoder.encode(special.test(text) ? JSON.stringify(text) : `"${text}"`)
  const written = Array.from(
    text,
    (character) => escapes.get(character) ?? JSON.stringify(character).slice(1, -1),
  )
  return encoder.encode(`"${written.join('')}"`)
}
