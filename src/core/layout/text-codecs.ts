/**
 * Texts of bytes: hexadecimal and base64 (RFC 4648), decoded and encoded from buffer to buffer, so that key
 * material never becomes a JavaScript string. Decoding is canonical: what it accepts encodes to the same text.
 */

/** `at` is the offset of the first byte that is wrong; `length` when the text as a whole has a wrong length. */
export type DecodeFault = { readonly fault: 'character' | 'length' | 'padding' | 'bits'; readonly at: number }

/** 256 entries, 1 for each byte that can occur. */
export type Alphabet = Uint8Array

export type TextCodec = {
  readonly name: string
  /** What the text consists of, for messages. */
  readonly digits: string
  readonly alphabet: Alphabet
  /** Length of the text for `length` bytes. */
  encodedLength(length: number): number
  encode(bytes: Uint8Array): Uint8Array<ArrayBuffer>
  decode(text: Uint8Array): Uint8Array<ArrayBuffer> | DecodeFault
}

const none = 0xff

function codesOf(digits: string): Uint8Array {
  return new TextEncoder().encode(digits)
}

function valuesOf(...alphabets: readonly string[]): Uint8Array {
  const values = new Uint8Array(256).fill(none)
  for (const digits of alphabets) codesOf(digits).forEach((code, value) => (values[code] = value))
  return values
}

/** An alphabet of exactly these characters. */
export function alphabetOf(characters: string): Alphabet {
  const alphabet = new Uint8Array(256)
  for (const code of codesOf(characters)) alphabet[code] = 1
  return alphabet
}

function decodeHex(text: Uint8Array, values: Uint8Array): Uint8Array<ArrayBuffer> | DecodeFault {
  const bytes = new Uint8Array(text.length >> 1)
  for (let at = 0; at < text.length; at++) {
    const value = values[text[at] ?? 0] ?? none
    if (value === none) {
      bytes.fill(0)
      return { fault: 'character', at }
    }
    if (at >> 1 < bytes.length) bytes[at >> 1] = ((bytes[at >> 1] ?? 0) << 4) | value
  }
  if (text.length % 2 === 0) return bytes
  bytes.fill(0)
  return { fault: 'length', at: text.length }
}

function encodeHex(bytes: Uint8Array, digits: Uint8Array): Uint8Array<ArrayBuffer> {
  const text = new Uint8Array(bytes.length * 2)
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0
    text[2 * at] = digits[byte >> 4] ?? 0
    text[2 * at + 1] = digits[byte & 15] ?? 0
  }
  return text
}

function hexCodec(name: string, digits: string, kind: string): TextCodec {
  const codes = codesOf(digits)
  const values = valuesOf(digits)
  return {
    name,
    digits: kind,
    alphabet: alphabetOf(digits),
    encodedLength: (length) => length * 2,
    encode: (bytes) => encodeHex(bytes, codes),
    decode: (text) => decodeHex(text, values),
  }
}

const pad = 0x3d

/** The length of the digits without padding, or what is wrong with length and padding. */
function digitsIn(text: Uint8Array, padded: boolean): number | DecodeFault {
  const pads = text.at(-1) !== pad ? 0 : text.at(-2) !== pad ? 1 : 2
  const end = text.length - (padded ? pads : 0)
  const first = text.indexOf(pad)
  if (first !== -1 && first < end) return { fault: 'padding', at: first }
  if (end % 4 === 1) return { fault: 'length', at: text.length }
  const full = padded ? Math.ceil(end / 4) * 4 : end
  return text.length === full ? end : { fault: 'padding', at: end }
}

function badDigit(text: Uint8Array, values: Uint8Array): number {
  for (let at = 0; at < text.length; at++) {
    if (values[text[at] ?? 0] === none && text[at] !== pad) return at
  }
  return -1
}

function decodeBase64(
  text: Uint8Array,
  values: Uint8Array,
  padded: boolean,
): Uint8Array<ArrayBuffer> | DecodeFault {
  const bad = badDigit(text, values)
  if (bad !== -1) return { fault: 'character', at: bad }
  const end = digitsIn(text, padded)
  if (typeof end !== 'number') return end
  const bytes = new Uint8Array((end * 3) >> 2)
  let bits = 0
  let held = 0
  let to = 0
  for (let at = 0; at < end; at++) {
    held = ((held << 6) | (values[text[at] ?? 0] ?? 0)) & 0xffff
    bits += 6
    if (bits < 8) continue
    bits -= 8
    bytes[to++] = held >> bits
  }
  if ((held & ((1 << bits) - 1)) === 0) return bytes
  bytes.fill(0)
  return { fault: 'bits', at: end - 1 }
}

function encodeBase64(bytes: Uint8Array, digits: Uint8Array, padded: boolean): Uint8Array<ArrayBuffer> {
  const text = new Uint8Array(padded ? Math.ceil(bytes.length / 3) * 4 : Math.ceil((bytes.length * 4) / 3))
  if (padded) text.fill(pad, Math.max(0, text.length - 2))
  let to = 0
  for (let at = 0; at < bytes.length; at += 3) {
    const left = bytes.length - at
    const group = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0)
    text[to++] = digits[group >> 18] ?? 0
    text[to++] = digits[(group >> 12) & 63] ?? 0
    if (left > 1) text[to++] = digits[(group >> 6) & 63] ?? 0
    if (left > 2) text[to++] = digits[group & 63] ?? 0
  }
  return text
}

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

function base64Codec(name: string, last: '+/' | '-_', padded: boolean): TextCodec {
  const codes = codesOf(letters + last)
  const values = valuesOf(letters + last)
  return {
    name,
    digits: `base64 digits with ${last.split('').join(' and ')}, ${padded ? 'padded with =' : 'without ='}`,
    alphabet: alphabetOf(letters + last + (padded ? '=' : '')),
    encodedLength: (length) => (padded ? Math.ceil(length / 3) * 4 : Math.ceil((length * 4) / 3)),
    encode: (bytes) => encodeBase64(bytes, codes, padded),
    decode: (text) => decodeBase64(text, values, padded),
  }
}

const lower = '0123456789abcdef'
const upper = '0123456789ABCDEF'

export const hex = hexCodec('hex', lower, 'lower-case hex digits')
export const hexUpper = hexCodec('hexupper', upper, 'upper-case hex digits')
export const base64 = base64Codec('base64', '+/', true)
export const base64NoPad = base64Codec('base64nopad', '+/', false)
export const base64Url = base64Codec('base64url', '-_', false)
export const base64UrlPad = base64Codec('base64urlpad', '-_', true)

const eitherCase = valuesOf(lower, upper)

/** Hex in either case or both. Not canonical: only for keys, whose text is not written back. */
export function decodeHexOfAnyCase(text: Uint8Array): Uint8Array<ArrayBuffer> | DecodeFault {
  return decodeHex(text, eitherCase)
}

/** True for what a decoder answers when the text is wrong. */
export function isFault(decoded: Uint8Array | DecodeFault): decoded is DecodeFault {
  return !(decoded instanceof Uint8Array)
}
