import { isUtf8 } from 'node:buffer'
import { checkValueOf, fingerprintOf } from '../core/fingerprint.ts'
import { decodeKey, detectEncoding, type KeyEncoding } from '../core/key-encoding.ts'
import { weaknessOf } from '../core/key-strength.ts'
import { newline } from '../core/key-faults.ts'
import { shareLook } from './share-look.ts'
import { base64, base64Url, base64UrlPad, decodeHexOfAnyCase, isFault } from '../core/layout/text-codecs.ts'

/** Facts that may be printed: names of formats, numbers, public ids. Never a part of the content. */
export type Facts = Readonly<Record<string, string | number | boolean | readonly string[]>>

export type Sniffed = { readonly kind: string; readonly facts: Facts }

/** Tells what contents are, or undefined when they are something else. */
export type Look = (bytes: Buffer) => Sniffed | undefined

/** Looks of other parts of kvx, handed in since checks depend on none of them. */
export type ForeignLooks = {
  /** Tells OpenPGP messages; sees whole files only. */
  readonly openPgp: Look
  /** Tells vaults of kvx by their header. */
  readonly vault: Look
}

/**
 * What the content of a file is, told without any key. The caller wipes the bytes.
 * @param isWhole false when the bytes are only the beginning of the file
 */
export function sniff(bytes: Buffer, isWhole: boolean, { openPgp, vault }: ForeignLooks): Sniffed {
  if (bytes.length === 0) return { kind: 'empty', facts: {} }
  // Keys and shares come first: what looks after them may make a string of what it reads.
  const secrets: readonly Look[] = isWhole ? [keyLook, shareLook] : []
  const whole: readonly Look[] = isWhole ? [openPgp, jsonLook, encodedLook, envLook] : []
  const looks: readonly Look[] = [
    databaseLook,
    vault,
    ...secrets,
    ageLook,
    pemLook,
    ...whole,
    configLook,
    textLook,
  ]
  for (const look of looks) {
    const found = look(bytes)
    if (found !== undefined) return found
  }
  return { kind: 'binary', facts: { entropyBitsPerByte: entropyOf(bytes) } }
}

/** Shannon entropy of single bytes in bits, 0 to 8, rounded to a tenth. Short random texts stay well below 8. */
export function entropyOf(bytes: Uint8Array): number {
  const counts = new Map<number, number>()
  for (const byte of bytes) counts.set(byte, (counts.get(byte) ?? 0) + 1)
  let bits = 0
  for (const count of counts.values()) bits -= (count / bytes.length) * Math.log2(count / bytes.length)
  return Math.round(bits * 10) / 10
}

function startsWith(bytes: Buffer, text: string): boolean {
  return bytes.subarray(0, text.length).equals(Buffer.from(text, 'latin1'))
}

function databaseLook(bytes: Buffer): Sniffed | undefined {
  if (!startsWith(bytes, 'SQLite format 3\0') || bytes.length < 100) return undefined
  // https://www.sqlite.org/fileformat.html, section 1.3
  const pageSize = bytes.readUInt16BE(16)
  return {
    kind: 'sqlite',
    facts: {
      pageSize: pageSize === 1 ? 65_536 : pageSize,
      pages: bytes.readUInt32BE(28),
      journal: bytes[18] === 2 ? 'wal' : 'rollback',
      userVersion: bytes.readInt32BE(60),
    },
  }
}

function ageLook(bytes: Buffer): Sniffed | undefined {
  if (startsWith(bytes, 'age-encryption.org/')) return { kind: 'age-message', facts: {} }
  if (startsWith(bytes, '-----BEGIN AGE ENCRYPTED FILE-----'))
    return { kind: 'age-message', facts: { armored: true } }
  return startsWith(bytes, 'AGE-SECRET-KEY-') ? { kind: 'age-secret-key', facts: {} } : undefined
}

const pemLabel = /^-----BEGIN ([A-Z0-9 ]{1,60})-----/m

function pemLook(bytes: Buffer): Sniffed | undefined {
  const label = pemLabel.exec(bytes.subarray(0, 4096).toString('latin1'))?.[1]
  if (label === undefined) {
    const ssh = ['ssh-ed25519 ', 'ssh-rsa ', 'ecdsa-sha2-', 'PuTTY-User-Key-File'].some((start) =>
      startsWith(bytes, start),
    )
    return ssh ? { kind: 'ssh-key', facts: {} } : undefined
  }
  if (label === 'PGP MESSAGE') return undefined
  return {
    kind: label.startsWith('PGP ') ? 'openpgp' : 'pem',
    facts: { label, secret: label.includes('PRIVATE') },
  }
}

// A text of 48 or 64 bytes can be a sealed value, and raw bytes of another size than 32 anything.
const keySizes = [32, 16, 24]

function keyLook(bytes: Buffer): Sniffed | undefined {
  for (const size of keySizes) {
    const encoding = encodingOf(bytes, size)
    if (encoding === undefined || (encoding === 'raw' && size !== 32)) continue
    const { material, warnings } = decodeKey(bytes, encoding, { expectLength: size })
    try {
      const fingerprint = fingerprintOf(material)
      const weakness = weaknessOf(material)
      const notes = [
        ...warnings.map(({ message }) => message),
        ...(weakness === undefined ? [] : [weakness.message]),
      ]
      return {
        kind: 'key',
        facts: { encoding, bytes: size, checkValue: checkValueOf(fingerprint), fingerprint, notes },
      }
    } finally {
      material.wipe()
    }
  }
  return undefined
}

function encodingOf(bytes: Buffer, size: number): KeyEncoding | undefined {
  try {
    return detectEncoding(bytes, { expectLength: size })
  } catch {
    return undefined
  }
}

function jsonLook(bytes: Buffer): Sniffed | undefined {
  const first = bytes.find((code) => code > 0x20)
  if (first !== 0x7b && first !== 0x5b) return undefined
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return undefined
  }
  if (Array.isArray(value)) return { kind: 'json', facts: { top: 'array', members: value.length } }
  return objectLook(value as Record<string, unknown>)
}

const kvxSchemas: Readonly<Record<string, string>> = {
  'kvx.keyring/1': 'kvx-keyring',
  'kvx.backup.manifest/1': 'kvx-backup-manifest',
}

const publicWord = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/

function objectLook(object: Record<string, unknown>): Sniffed {
  const word = (name: string): Record<string, string | number> => {
    const value = object[name]
    if (typeof value === 'number') return { [name]: value }
    return typeof value === 'string' && publicWord.test(value) ? { [name]: value } : {}
  }
  const kind = kvxSchemas[typeof object['schema'] === 'string' ? object['schema'] : '']
  if (kind === 'kvx-keyring') {
    const keys = Object.entries((object['keys'] ?? {}) as Record<string, { versions?: object } | null>)
    const names = keys.filter(([name]) => publicWord.test(name)).map(([name]) => name)
    return { kind, facts: { ...word('generation'), keys: names } }
  }
  if (kind !== undefined) {
    const fields = ['id', 'name', 'version', 'purpose', 'checkValue', 'file', 'state'].map(word)
    return { kind, facts: Object.assign({}, ...fields) as Facts }
  }
  if (typeof object['kty'] === 'string') {
    const secret = 'k' in object || 'd' in object
    return { kind: 'jwk', facts: { ...word('kty'), ...word('crv'), secret } }
  }
  return { kind: 'json', facts: { top: 'object', members: Object.keys(object).length } }
}

/** One line of hex or base64 that is no key: most likely something sealed. */
function encodedLook(bytes: Buffer): Sniffed | undefined {
  const text = bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes
  if (text.length < 16) return undefined
  const codecs = [{ name: 'hex', decode: decodeHexOfAnyCase }, base64, base64Url, base64UrlPad]
  for (const codec of codecs) {
    const decoded = codec.decode(text)
    if (isFault(decoded)) continue
    const entropy = entropyOf(decoded)
    const size = decoded.length
    decoded.fill(0)
    return {
      kind: 'encoded-value',
      facts: {
        alphabet: codec.name,
        characters: text.length,
        bytes: size,
        entropyBitsPerByte: entropy,
        // Random bytes have nearly log2 of their number, less where values meet; texts stay far below.
        looksSealed: size >= 28 && entropy > 0.85 * Math.min(8, Math.log2(size)),
        ...(size === 60 ? { note: 'as long as a wrapped key of 32 bytes: nonce 12, key 32, tag 16' } : {}),
      },
    }
  }
  return undefined
}

/** A text without signs that steer a terminal. */
function isText(bytes: Buffer): boolean {
  return isUtf8(bytes) && bytes.every((code) => code >= 0x20 || [9, newline, 0x0d].includes(code))
}

function linesOf(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = []
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(newline, start)
    lines.push(bytes.subarray(start, end === -1 ? bytes.length : end))
    start = end === -1 ? bytes.length : end + 1
  }
  return lines
}

/** `NAME=`: the value stays bytes. */
function isAssignment(line: Buffer): boolean {
  const name = line.subarray(0, Math.max(line.indexOf(0x3d), 0)).toString('latin1')
  return /^(export )?[A-Za-z_][A-Za-z0-9_]*$/.test(name)
}

function envLook(bytes: Buffer): Sniffed | undefined {
  if (!isText(bytes)) return undefined
  const lines = linesOf(bytes).filter((line) => line.some((code) => code > 0x20) && line[0] !== 0x23)
  if (lines.length === 0 || !lines.every(isAssignment)) return undefined
  return { kind: 'env-file', facts: { variables: lines.length } }
}

function configLook(bytes: Buffer): Sniffed | undefined {
  const isConfig = linesOf(bytes).some((line) =>
    /^kvx:[ \t]*\d/.test(line.subarray(0, 16).toString('latin1')),
  )
  return isConfig ? { kind: 'kvx-config', facts: {} } : undefined
}

function textLook(bytes: Buffer): Sniffed | undefined {
  return isText(bytes) ? { kind: 'text', facts: { lines: linesOf(bytes).length } } : undefined
}
