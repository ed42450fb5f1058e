/** A place in a text where a key lies open. Nothing here makes a string of the key. */
export type Hit = {
  readonly what: 'key' | 'private-key' | 'age-key' | 'share'
  /** What the text calls it: a variable, a member, a label. */
  readonly name: string
  /** Where the value lies, in bytes. */
  readonly start: number
  readonly end: number
}

/** How many first bytes decide whether a file is text. */
const textProbe = 8000

/** All places in one file, in their order. A binary file has none. */
export function findHits(bytes: Buffer): readonly Hit[] {
  if (bytes.subarray(0, textProbe).includes(0)) return []
  const hits = [...namedKeys(bytes), ...privateKeys(bytes), ...ageKeys(bytes), ...shares(bytes)]
  return hits.length < 2 ? hits : hits.sort((one, other) => one.start - other.start)
}

const alphabet = classOf('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_')
const nameSigns = classOf('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-')
const between = classOf(' \t"\'`:=>(,')
const assigns = classOf(':=(,')
const equals = 0x3d

function classOf(signs: string): Uint8Array {
  const table = new Uint8Array(256)
  for (const sign of signs) table[sign.charCodeAt(0)] = 1
  return table
}

/** Lengths in characters, without padding, of 32, 64 and 16 bytes in base64 and hex, with 0x, and encoded twice. */
const lengths = new Set([22, 32, 34, 43, 59, 60, 64, 66, 80, 86, 87, 128])

/** Runs of the characters that keys are written in, of a length that a key has, and with a name that says key. */
function namedKeys(bytes: Buffer): readonly Hit[] {
  const hits: Hit[] = []
  let start = -1
  for (let at = 0; at <= bytes.length; at++) {
    if (at < bytes.length && alphabet[bytes[at] ?? 0] === 1) {
      if (start === -1) start = at
      continue
    }
    if (start === -1) continue
    if (lengths.has(at - start)) {
      let end = at
      while (bytes[end] === equals && end < at + 2) end++
      const name = hasLook(bytes, start, { at, end }) ? nameBefore(bytes, start) : ''
      if (isKeyName(name)) hits.push({ what: 'key', name, start, end })
    }
    start = -1
  }
  return hits
}

/** Digits, small and capital letters, as 22 random characters or more have them: no path and no identifier. */
function hasLook(bytes: Buffer, start: number, { at, end }: { at: number; end: number }): boolean {
  let digits = 0
  let small = 0
  let capital = 0
  let others = 0
  for (let index = start; index < at; index++) {
    const code = bytes[index] ?? 0
    if (code >= 0x30 && code <= 0x39) digits++
    else if ((code >= 0x41 && code <= 0x46) || (code >= 0x61 && code <= 0x66)) {
      if (code < 0x61) capital++
      else small++
    } else others++
    if (code > 0x46 && code <= 0x5a) capital++
    else if (code > 0x66 && code <= 0x7a) small++
  }
  const length = at - start
  const isHex = others === 0 || (others === 1 && bytes[start + 1] === 0x78)
  if (isHex) return end === at && digits > 0 && [32, 34, 64, 66, 128].includes(length)
  if (digits === 0 || small === 0 || capital === 0) return false
  // Sixteen bytes in base64 are told from an identifier by their padding alone.
  return length === 22 ? end === at + 2 : ![32, 34, 66].includes(length)
}

const prefixes = ['base64:', 'base64url:', 'hex:']

/** `NAME=`, `NAME: "`, `"name": "`, `name(`: what stands before a value on its line, or nothing. */
function nameBefore(bytes: Buffer, start: number): string {
  let at = start
  for (const prefix of prefixes) {
    if (bytes.toString('latin1', Math.max(0, at - prefix.length), at) === prefix) at -= prefix.length
  }
  const end = at
  let isAssigned = false
  while (at > 0 && end - at < 12 && between[bytes[at - 1] ?? 0] === 1) {
    at--
    if (assigns[bytes[at] ?? 0] === 1) isAssigned = true
  }
  if (!isAssigned) return ''
  const nameEnd = at
  while (at > 0 && nameEnd - at < 64 && nameSigns[bytes[at - 1] ?? 0] === 1) at--
  return bytes.toString('latin1', at, nameEnd)
}

const wanted = /kek|key|secret|passphrase|master|seed|(^|[_.-])dek/i
const unwanted =
  /pub|finger|digest|hash|sha\d|checksum|check.?value|key.?id|kid$|integrity|thumb|nonce|salt|cipher|wrapped|sealed|encrypted|signature|etag|cache|lock|version|commit|rev/i

function isKeyName(name: string): boolean {
  return wanted.test(name) && !unwanted.test(name)
}

const begin = Buffer.from('-----BEGIN ')
const minBodyLength = 40

/** PEM and OpenPGP. The words alone, as in a program that looks for them, are no key: a body must follow. */
function* privateKeys(bytes: Buffer): Generator<Hit> {
  for (let at = bytes.indexOf(begin); at !== -1; at = bytes.indexOf(begin, at + 1)) {
    const head = bytes.toString('latin1', at, at + 80)
    const label = /^-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?)-----/.exec(head)?.[1]
    if (label === undefined || label.startsWith('ENCRYPTED')) continue
    const body = at + 16 + label.length
    const end = bytes.indexOf('-----END', body)
    const until = Math.min(end === -1 ? bytes.length : end, body + 600)
    if (longestRun(bytes, body, until) < minBodyLength) continue
    if (bytes.subarray(body, until).includes('Proc-Type: 4,ENCRYPTED')) continue
    yield { what: 'private-key', name: label.toLowerCase(), start: at, end: body }
  }
}

function longestRun(bytes: Buffer, start: number, end: number): number {
  let longest = 0
  let run = 0
  for (let at = start; at < end; at++) {
    run = alphabet[bytes[at] ?? 0] === 1 ? run + 1 : 0
    if (run > longest) longest = run
  }
  return longest
}

const ageBegin = Buffer.from('AGE-SECRET-KEY-1')
const ageLength = 74

function* ageKeys(bytes: Buffer): Generator<Hit> {
  for (let at = bytes.indexOf(ageBegin); at !== -1; at = bytes.indexOf(ageBegin, at + 1)) {
    if (longestRun(bytes, at, at + ageLength) < ageLength) continue
    yield { what: 'age-key', name: 'age secret key', start: at, end: at + ageLength }
  }
}

const shareBegins = [Buffer.from('kvx1'), Buffer.from('KVX1')]
const shareDigits = classOf('qpzry9x8gf2tvdw0s3jn54khce6mua7lQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L')
const shareLength = 88
const shareGaps = classOf('-.: ')

function shares(bytes: Buffer): readonly Hit[] {
  const hits: Hit[] = []
  for (const begin of shareBegins) {
    for (let at = bytes.indexOf(begin); at !== -1; at = bytes.indexOf(begin, at + 1)) {
      const end = shareEnd(bytes, at)
      if (end !== undefined) hits.push({ what: 'share', name: 'share of a key', start: at, end })
    }
  }
  return hits
}

function shareEnd(bytes: Buffer, start: number): number | undefined {
  let digits = 4
  for (let at = start + 4; at < start + 2 * shareLength; at++) {
    const code = bytes[at] ?? 0
    if (shareDigits[code] === 1) digits++
    else if (shareGaps[code] !== 1) return undefined
    if (digits === shareLength) return at + 1
  }
  return undefined
}
