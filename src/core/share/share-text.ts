import { createHash } from 'node:crypto'
import { Secret } from '../secret.ts'
import { checksumOf, type SharePrefix, syndromeOf } from './bch.ts'
import { shareFault, describeGroups } from './faults.ts'
import { alphabet, valueOf } from './gf32.ts'
import {
  isOfRehearsal,
  normaliseShare,
  rehearsalLength,
  rehearsalPrefix,
  shareLength,
  sharePrefix,
  unreadable,
} from './typed-text.ts'

/** What everybody may know of a share; the same on all cards of a set but for the index. */
export type ShareHead = {
  /** How many shares rebuild the key: 2 to 32. */
  readonly threshold: number
  /** How many there are: `threshold` to 32. */
  readonly of: number
  /** The number that people use, 1 to `of`. It is not the x of the polynomial. */
  readonly index: number
  /** 6 lower-case characters of the alphabet: 30 random bits of the split. */
  readonly setId: string
  /** First 5 bytes of the key's fingerprint as 10 upper-case hex digits. */
  readonly checkValue: string
}

/** One share. `point` is `y[32] ‖ x` and the caller's to wipe. */
export type Share = ShareHead & {
  readonly point: Secret
  /** Of a rehearsal: the key protects nothing, and the text says so. */
  readonly rehearsal?: true
}

export const pointLength = 33
export const highestOf = 32
export const setIdForm = /^[02-9ac-hj-np-z]{6}$/

const setAt = 4
const checkAt = 10
const pointAt = 18
const dataLength = 71

/** The x of a share: 1 to 255. */
export function xOf(share: Pick<Share, 'point'>): number {
  return share.point.lend((bytes) => bytes[pointLength - 1] ?? 0)
}

/**
 * The text of a share, `kvx1` version 0: 88 lower-case characters; of a rehearsal `kvxtest1` and the same, 92. The
 * caller wipes it.
 *
 * Data characters: 0 version · 1 k-1 · 2 n-1 · 3 i-1 · 4-9 set · 10-17 check value · 18-70 y ‖ x and one zero
 * bit · 71-83 checksum (BIP-93's code under the prefix `kvx`).
 */
export function encodeShare(share: Share): Uint8Array {
  const data = new Uint8Array(dataLength)
  data.set([0, share.threshold - 1, share.of - 1, share.index - 1])
  data.set(Uint8Array.from(Buffer.from(share.setId), valueOf), setAt)
  packBits(Buffer.from(share.checkValue, 'hex'), data.subarray(checkAt, pointAt))
  share.point.lend((bytes) => packBits(bytes, data.subarray(pointAt)))
  const prefix = share.rehearsal === true ? rehearsalPrefix : sharePrefix
  const check = checksumOf(data, share.rehearsal === true ? 'kvxtest' : 'kvx')
  const text = new Uint8Array(prefix.length + data.length + check.length)
  text.set(prefix)
  const characters = [...data, ...check].map((value) => alphabet[value] ?? 0)
  text.set(characters, prefix.length)
  characters.fill(0)
  data.fill(0)
  return text
}

/**
 * Reads a share out of what a person entered, which stays the caller's to wipe. Rules in this order: prefix,
 * length, alphabet, checksum, version, ranges (x = 0 would choose the key), padding.
 * @throws KvxError DAMAGED with a {@link ShareFault} in `details.fault` and a place where one is known; REHEARSAL
 * before anything else is looked at
 */
export function decodeShare(typed: Uint8Array): Share {
  const text = normaliseShare(typed)
  try {
    return decodeValues(valuesOf(text), 'kvx')
  } finally {
    text.fill(0)
  }
}

/** As `decodeShare`, and takes a share of a rehearsal too, which is marked: for who checks a text, never for a key. */
export function decodeAnyShare(typed: Uint8Array): Share {
  const text = normaliseShare(typed)
  if (!isOfRehearsal(text)) {
    text.fill(0)
    return decodeShare(typed)
  }
  try {
    const rest = text.subarray(rehearsalPrefix.length)
    if (text.length !== rehearsalLength || rest.some((code) => valueOf(code) === -1)) throw damagedText()
    return { ...decodeValues(Uint8Array.from(rest, valueOf), 'kvxtest'), rehearsal: true }
  } finally {
    text.fill(0)
  }
}

/** Reads the 84 values, and wipes them. */
function decodeValues(values: Uint8Array, prefix: SharePrefix): Share {
  try {
    if (syndromeOf(values, prefix).some((value) => value !== 0)) throw damagedText()
    return readFields(values)
  } finally {
    values.fill(0)
  }
}

/** The 84 values of a normalised text. @throws REHEARSAL, PREFIX, LENGTH, CHARSET, UNREADABLE */
export function valuesOf(text: Uint8Array): Uint8Array {
  requireForm(text)
  const lost = indicesWhere(text, (code) => code === unreadable)
  if (lost.length > 0) {
    throw shareFault('UNREADABLE', `${lost.length} characters of the share are marked as unreadable`, {
      at: lost,
      hint: 'read the card once more; up to 8 of them, or 13 in a row, can be worked out at a terminal',
    })
  }
  return Uint8Array.from(text.subarray(sharePrefix.length), valueOf)
}

/** @throws REHEARSAL, PREFIX, LENGTH, CHARSET; `?` passes */
export function requireForm(text: Uint8Array): void {
  if (isOfRehearsal(text)) {
    throw shareFault('REHEARSAL', 'this is a share of a rehearsal (KVXTEST1): no key is in it', {
      hint: 'shares of a key begin with KVX1; look for the card of the ceremony itself',
    })
  }
  const isForeign = sharePrefix.some((code, at) => text[at] !== code && text[at] !== unreadable)
  if (isForeign) throw shareFault('PREFIX', 'this is no share of kvx: it does not begin with KVX1')
  if (text.length !== shareLength) throw wrongLength(text.length)
  const wrong = indicesWhere(text.subarray(sharePrefix.length), isNoCharacter).map(
    (at) => at + sharePrefix.length,
  )
  if (wrong.length > 0) throw wrongCharacters(text, wrong)
}

function isNoCharacter(code: number): boolean {
  return code !== unreadable && valueOf(code) === -1
}

function indicesWhere(text: Uint8Array, holds: (code: number) => boolean): number[] {
  return [...text.keys()].filter((at) => holds(text[at] ?? 0))
}

function wrongLength(length: number): Error {
  const missing = shareLength - length
  const what = missing > 0 ? `${missing} missing` : `${-missing} too many`
  return shareFault('LENGTH', `the share has ${length} of ${shareLength} characters: ${what}`, {
    hint: 'lines 1 to 3 have 6 groups of 4, line 4 has 4; type `?` for a character that cannot be read',
  })
}

/** What people write for a character that looks alike. The signs of the left are in no share. */
const lookAlikes: Readonly<Record<string, string>> = { b: '8', o: '0', i: 'L', '1': 'L' }

function wrongCharacters(text: Uint8Array, wrong: readonly number[]): Error {
  const signs = wrong.map((at) => String.fromCharCode(text[at] ?? 0))
  const meant = signs.flatMap((sign) => {
    const other = lookAlikes[sign]
    return other === undefined ? [] : [`${sign.toUpperCase()} is often ${other}`]
  })
  const advice = meant.length === 0 ? '' : `: ${[...new Set(meant)].join(', ')}`
  return shareFault('CHARSET', `the share has characters that no share has in ${describeGroups(wrong)}`, {
    at: wrong,
    hint: `look at the card again${advice}; type \`?\` for a character that cannot be read`,
  })
}

function damagedText(): Error {
  return shareFault('CHECKSUM', 'the share is damaged: its checksum does not fit')
}

function readFields(values: Uint8Array): Share {
  const [version = 0, k = 0, n = 0, i = 0] = values
  if (version !== 0) {
    throw shareFault('VERSION', `the share has version ${version}, which this kvx does not know`, {
      hint: 'use a newer kvx',
    })
  }
  const head = { threshold: k + 1, of: n + 1, index: i + 1 }
  if (head.threshold < 2 || head.threshold > head.of || head.index > head.of) {
    throw shareFault(
      'FIELD',
      `no split gives share ${head.index} of ${head.of} with ${head.threshold} needed`,
    )
  }
  const pad = unpackBits(values.subarray(checkAt, pointAt), 5)
  const unpacked = unpackBits(values.subarray(pointAt, dataLength), pointLength)
  const point = Secret.take(unpacked.bytes)
  const share: Share = {
    ...head,
    setId: Buffer.from(values.subarray(setAt, checkAt).map((value) => alphabet[value] ?? 0)).toString(),
    checkValue: Buffer.from(pad.bytes).toString('hex').toUpperCase(),
    point,
  }
  const fault = fieldFault(xOf(share), unpacked.rest)
  if (fault === undefined) return share
  point.wipe()
  throw fault
}

function fieldFault(x: number, rest: number): Error | undefined {
  if (x === 0)
    return shareFault('FIELD', 'the share is forged: its x is 0, with which it would choose the key')
  return rest === 0 ? undefined : shareFault('PADDING', 'the share was not made by kvx: its last bit is set')
}

/** Bytes to values of 5 bits, highest bit first; zero bits fill the last value. */
function packBits(bytes: Uint8Array, target: Uint8Array): void {
  for (let place = 0; place < target.length; place++) {
    let value = 0
    for (let bit = place * 5; bit < place * 5 + 5; bit++) {
      value = (value << 1) | (((bytes[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1)
    }
    target[place] = value
  }
}

function unpackBits(values: Uint8Array, size: number): { readonly bytes: Uint8Array; readonly rest: number } {
  const bytes = new Uint8Array(size)
  let rest = 0
  for (let bit = 0; bit < values.length * 5; bit++) {
    const one = ((values[Math.floor(bit / 5)] ?? 0) >> (4 - (bit % 5))) & 1
    if (bit < size * 8) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (one << (7 - (bit & 7)))
    else rest |= one
  }
  return { bytes, rest }
}

/** SHA-256 of `kvx/share/v1`, a zero byte and the 88 lower-case characters, as hex. A share has 256 random bits: its digest tells nothing. */
export function shareDigest(share: Share): string {
  const text = encodeShare(share)
  try {
    return createHash('sha256').update('kvx/share/v1\0').update(text).digest('hex')
  } finally {
    text.fill(0)
  }
}

/** The 4 lines of a card, each `1  KVX1 QZYQ …` and a newline: for a person's eyes or an encrypted file. The caller wipes it. */
export function encodeCardLines(share: Share): Uint8Array {
  const text = encodeShare(share)
  // Numbers of 4 lines, a space or a line break between groups of 4, a line break at the end.
  const lines = new Uint8Array(4 * 3 + text.length + text.length / 4)
  let at = 0
  for (const [index, code] of text.entries()) {
    if (index % 24 === 0) {
      if (index > 0) lines[at++] = 0x0a
      lines.set([0x31 + index / 24, 0x20, 0x20], at)
      at += 3
    } else if (index % 4 === 0) lines[at++] = 0x20
    lines[at++] = code >= 0x61 && code <= 0x7a ? code - 0x20 : code
  }
  lines[at] = 0x0a
  text.fill(0)
  return lines
}
