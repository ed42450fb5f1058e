import { KvxError } from './errors.ts'
import {
  carriageReturn,
  consistsOf,
  hexDigits,
  holds,
  isPrintable,
  malformed,
  matches,
  newline,
  refuseCharacters,
  refuseDocument,
  refuseEmpty,
  refuseMark,
  refuseOtherFiles,
  refuseSpace,
} from './key-faults.ts'
import {
  base64,
  base64Url,
  base64UrlPad,
  decodeHexOfAnyCase,
  hex,
  isFault,
  type TextCodec,
} from './layout/text-codecs.ts'
import { Secret } from './secret.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** How an application writes a key: the bytes, a text of them, or printable characters that are the key. */
export type KeyEncoding = 'raw' | 'base64' | 'base64url' | 'hex' | 'ascii'

export const keyEncodings: readonly KeyEncoding[] = ['raw', 'base64', 'base64url', 'hex', 'ascii']

/** The length of a key in bytes: exactly one, or a range with both ends. */
export type ExpectedLength = number | { readonly min: number; readonly max: number }

export type KeyOptions = { readonly expectLength?: ExpectedLength }

export type KeyWarning = {
  readonly code: 'KEY_CRLF' | 'KEY_BASE64URL_PADDED' | 'KEY_LOOKS_ENCODED'
  readonly message: string
}

export type DecodedKey = { readonly material: Secret; readonly warnings: readonly KeyWarning[] }

/** True for hex, also with one wrong or missing digit. No text of random bytes in base64 looks like that. */
function looksLikeHex(text: Uint8Array): boolean {
  const digits = Buffer.from(hexDigits)
  const others = text.reduce((count, code) => count + (digits.includes(code) ? 0 : 1), 0)
  return text.length >= 31 && others <= text.length / 16
}

function fits(length: number, expected: ExpectedLength): boolean {
  return typeof expected === 'number' ? length === expected : length >= expected.min && length <= expected.max
}

function lengthFault(length: number, expected: ExpectedLength, what = 'the key has'): KvxError {
  const wanted =
    typeof expected === 'number'
      ? `${expected} are expected`
      : `${expected.min} to ${expected.max} are allowed`
  return malformed('length', `${what} ${length} bytes, ${wanted}`, undefined, { length })
}

/** The text without its one line break. */
function lineOf(bytes: Uint8Array, encoding: KeyEncoding): { text: Uint8Array; warnings: KeyWarning[] } {
  refuseEmpty(bytes)
  refuseMark(bytes)
  refuseDocument(bytes)
  const warnings: KeyWarning[] = []
  let end = bytes.length
  if (bytes[end - 1] === newline) {
    end--
    if (bytes[end - 1] === carriageReturn) {
      end--
      warnings.push({ code: 'KEY_CRLF', message: 'the line ends as on Windows (CR LF)' })
    }
  }
  const text = bytes.subarray(0, end)
  if (encoding !== 'ascii') refuseOtherFiles(text)
  refuseSpace(text)
  refuseCharacters(text)
  return { text, warnings }
}

function otherEncoding(found: string, declared: string): KvxError {
  const hint = `if the application reads ${found}, declare \`--encoding ${found}\``
  return malformed('other-encoding', `the key is written in ${found}, not in ${declared}`, hint, { found })
}

function decodeHexKey(text: Uint8Array): Uint8Array {
  if (matches(text, '0x') || matches(text, '0X') || matches(text, '\\x')) {
    throw malformed('prefix', 'the key begins with 0x or \\x', 'leave the prefix out')
  }
  const separators = ' :-,'
  if (holds(text, separators) && consistsOf(text, hexDigits + separators)) {
    throw malformed('separators', 'the hex digits have separators between them', 'leave the separators out')
  }
  const decoded = decodeHexOfAnyCase(text)
  if (!isFault(decoded)) return decoded
  if (decoded.fault === 'length') {
    throw malformed('odd-digits', `the key has ${text.length} hex digits, an odd number: one is missing`)
  }
  const other = looksLikeHex(text) ? undefined : [base64, base64Url].find((codec) => isTextOfKey(text, codec))
  if (other !== undefined) throw otherEncoding(other.name, 'hex')
  throw badCharacter(decoded.at, 'hex digit')
}

function badCharacter(at: number, what: string): KvxError {
  const message = `character ${at + 1} of the key is no ${what}`
  return malformed('character', message, undefined, { position: at + 1 })
}

/** True when the text decodes to a usual length of keys. Leaves no copy behind. */
function isTextOfKey(text: Uint8Array, codec: Pick<TextCodec, 'decode'>): boolean {
  const decoded = codec.decode(text)
  if (isFault(decoded)) return false
  decoded.fill(0)
  return [16, 24, 32, 48, 64].includes(decoded.length)
}

function decodeBase64Key(text: Uint8Array, encoding: 'base64' | 'base64url'): Uint8Array {
  if (looksLikeHex(text)) throw otherEncoding('hex', encoding)
  const standard = holds(text, '+/')
  const url = holds(text, '-_')
  if (standard && url) {
    throw malformed('mixed-alphabets', 'the key mixes the two alphabets of base64 (+ / with - _)')
  }
  const codec = encoding === 'base64' ? base64 : text.at(-1) === 0x3d ? base64UrlPad : base64Url
  const decoded = codec.decode(text)
  if (!isFault(decoded)) return decoded
  if (decoded.fault === 'character') {
    const other = [base64, base64Url, base64UrlPad].find((each) => isTextOfKey(text, each))
    throw other === undefined
      ? badCharacter(decoded.at, `digit of ${encoding}`)
      : otherEncoding(encoding === 'base64' ? 'base64url' : 'base64', encoding)
  }
  if (decoded.fault === 'bits') {
    throw malformed('spare-bits', 'the last digit of the key has bits that no encoder writes: it was changed')
  }
  if (text[decoded.at] === 0x3d && text.subarray(decoded.at).some((code) => code !== 0x3d)) {
    const message = `character ${decoded.at + 1} of the key is padding and digits follow it`
    throw malformed('after-padding', message, undefined, { position: decoded.at + 1 })
  }
  throw malformed('no-padding', `the padding (=) of the ${text.length} characters is missing or wrong`)
}

function refuseTwice(decoded: Uint8Array, encoding: KeyEncoding): void {
  const end = decoded.at(-1) === newline ? decoded.length - 1 : decoded.length
  const inner = decoded.subarray(0, end)
  const found = [{ name: 'hex', decode: decodeHexOfAnyCase }, base64, base64Url, base64UrlPad].find(
    (codec) => inner.length >= 22 && isTextOfKey(inner, codec),
  )
  if (found === undefined) return
  const hint = `decode it once (Kubernetes shows Secrets in base64) and declare what is left`
  throw malformed('encoded-twice', `the key is encoded twice: ${encoding} around ${found.name}`, hint)
}

function decodeRaw(bytes: Uint8Array, expected: ExpectedLength): Uint8Array {
  refuseEmpty(bytes)
  const line = bytes.at(-1) === newline ? bytes.subarray(0, -1) : bytes
  const text = line.at(-1) === carriageReturn ? line.subarray(0, -1) : line
  if (text.every((code) => isPrintable(code) || code === newline)) throw textAsRaw(bytes, text, expected)
  if (bytes.subarray(3).every((code) => isPrintable(code) || code < 0x20)) refuseMark(bytes)
  if (fits(bytes.length, expected)) return new Uint8Array(bytes)
  refuseMark(bytes)
  if (line.length < bytes.length && fits(line.length, expected)) {
    throw malformed('line-breaks', 'the raw key ends in a line break, which would be a part of it')
  }
  throw lengthFault(bytes.length, expected)
}

/** What a text is that was declared to be raw bytes. */
function textAsRaw(bytes: Uint8Array, text: Uint8Array, expected: ExpectedLength): KvxError {
  refuseDocument(bytes)
  if (looksLikeHex(text)) return otherEncoding('hex', 'raw bytes')
  const found = [base64, base64Url, base64UrlPad].find((codec) => isTextOfKey(text, codec))
  const passphrase = fits(text.length, expected)
  if (found !== undefined && !(passphrase && text.length === 32)) {
    return otherEncoding(found === base64 ? 'base64' : 'base64url', 'raw bytes')
  }
  if (!passphrase) return lengthFault(bytes.length, expected)
  const hint = 'if the application really uses these characters as its key, declare `--encoding ascii`'
  const message = `the raw key is ${text.length} printable characters: it looks like a passphrase`
  return malformed('passphrase', message, hint)
}

function decodeText(bytes: Uint8Array, encoding: KeyEncoding, warnings: KeyWarning[]): Uint8Array {
  const line = lineOf(bytes, encoding)
  warnings.push(...line.warnings)
  if (encoding === 'hex') return decodeHexKey(line.text)
  if (encoding === 'base64') return decodeBase64Key(line.text, 'base64')
  if (encoding === 'base64url') {
    if (line.text.at(-1) === 0x3d) {
      const message = 'the key is padded with =; kvx writes base64url without'
      warnings.push({ code: 'KEY_BASE64URL_PADDED', message })
    }
    return decodeBase64Key(line.text, 'base64url')
  }
  if (
    looksLikeHex(line.text) ||
    [base64, base64Url, base64UrlPad].some((codec) => isTextOfKey(line.text, codec))
  ) {
    const message =
      'the characters look like hex or base64; make sure that the application does not decode them'
    warnings.push({ code: 'KEY_LOOKS_ENCODED', message })
  }
  return new Uint8Array(line.text)
}

/**
 * Key material from what an application stores. Strict: one spelling is accepted for each key, except that hex
 * may be in either case and a text may end in one line break.
 *
 * The input stays the caller's, who wipes it. Copies made on the way are wiped.
 * @param options.expectLength 32 bytes where nothing else is said; `{ min: 16, max: 1024 }` for imports
 * @throws INPUT_EMPTY; KEY_MALFORMED with a `KeyFault` in `details.fault`, never a byte of the key
 */
export function decodeKey(bytes: Uint8Array, encoding: KeyEncoding, options: KeyOptions = {}): DecodedKey {
  const expected = options.expectLength ?? 32
  const warnings: KeyWarning[] = []
  if (encoding === 'raw') return { material: Secret.take(decodeRaw(bytes, expected)), warnings }
  const decoded = decodeText(bytes, encoding, warnings)
  try {
    if (encoding !== 'ascii') refuseTwice(decoded, encoding)
    if (!fits(decoded.length, expected)) throw lengthFault(decoded.length, expected)
    return { material: Secret.copy(decoded), warnings }
  } finally {
    decoded.fill(0)
  }
}

/** Random bytes are no UTF-8: what is wrong with them is told as of a raw key. */
function isText(bytes: Uint8Array): boolean {
  try {
    utf8.decode(bytes)
    return true
  } catch {
    return false
  }
}

function isControl(code: number): boolean {
  return code < 0x20 && code !== 9 && code !== newline && code !== carriageReturn
}

const codecs = { hex, base64, base64url: base64Url }

/**
 * The text of a key as an application reads it, without a line break. The caller wipes it.
 * @throws KEY_MALFORMED for `ascii` when the material is not printable
 */
export function encodeKey(material: Secret, encoding: KeyEncoding): Uint8Array {
  return material.lend((bytes) => {
    if (encoding === 'raw') return new Uint8Array(bytes)
    if (encoding !== 'ascii') return codecs[encoding].encode(bytes)
    refuseCharacters(bytes)
    return new Uint8Array(bytes)
  })
}

/**
 * Which encoding a key is written in. A text that is printable is never taken for raw bytes.
 * @throws as {@link decodeKey} does, with the fault that explains most
 */
export function detectEncoding(bytes: Uint8Array, options: KeyOptions = {}): Exclude<KeyEncoding, 'ascii'> {
  const faultOf = (encoding: KeyEncoding): unknown => {
    try {
      decodeKey(bytes, encoding, options).material.wipe()
      return undefined
    } catch (error) {
      return error
    }
  }
  const raw = faultOf('raw')
  if (raw === undefined) return 'raw'
  const faults = (['hex', 'base64', 'base64url'] as const).map((encoding) => ({
    encoding,
    fault: faultOf(encoding),
  }))
  const found = faults.find((each) => each.fault === undefined)
  if (found !== undefined) return found.encoding
  const text = bytes.filter((code) => isPrintable(code))
  const hexLike = matches(text, '0x') || looksLikeHex(text) || consistsOf(text, `${hexDigits} :-,`)
  const passphrase = raw instanceof KvxError && raw.details['fault'] === 'passphrase' && !hexLike
  if (passphrase || bytes.some(isControl) || !isText(bytes)) throw raw
  throw faults[hexLike ? 0 : holds(text, '-_') ? 2 : 1]?.fault
}
