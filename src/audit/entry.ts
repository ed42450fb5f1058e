import { createHash } from 'node:crypto'
import { canonicalJson } from '../core/canonical-json.ts'
import { KvxError } from '../core/errors.ts'
import { requireSafeEntry } from './entry-guard.ts'
import type { Signer } from './signer.ts'

/** A fact that may stand in the log: listed one by one by the caller, flat, never key material. */
export type Fact = string | number | boolean | readonly string[]
export type Facts = Readonly<Record<string, Fact>>

export type Phase = 'intent' | 'result' | 'note'

/** One line of `log.jsonl`. */
export type AuditEntry = {
  /** 1, 2, 3, … without gaps. */
  readonly seq: number
  /** UTC, `2026-01-01T00:00:00Z`. */
  readonly at: string
  readonly actor: string
  readonly action: string
  readonly phase: Phase
  readonly run?: string
  readonly subject?: string
  readonly data: Facts
  readonly exit?: number
  /** SHA-256 of the previous line (without its newline) as hex; 64 zeros in the first entry. */
  readonly prev: string
  /** The first 16 hex digits of the fingerprint of the key that signed. */
  readonly key: string
  /** Ed25519 over the canonical bytes of the entry without this field, in base64. */
  readonly sig: string
}

/** What the caller says; the log adds number, time, actor, chain and signature. */
export type EntryDraft = Pick<AuditEntry, 'action' | 'phase' | 'run' | 'subject' | 'exit'> & {
  readonly data?: Facts
}

/** The last entry of a log: its number and the SHA-256 of its line as hex. Number 0 and zeros when empty. */
export type Head = { readonly seq: number; readonly head: string }

export const emptyHead: Head = { seq: 0, head: '0'.repeat(64) }

/** Bytes of a line at most, without its newline. */
export const maxLineBytes = 16 * 1024

/** The action of the note that a torn line was found: `data` has `tornBytes` and `tornSha256`. */
export const recoverAction = 'audit.recover'
/** Signed by the old key: names the new one. */
export const endorseAction = 'audit.key.endorse'
/** The first entry of a new key: names the old and the new one. */
export const replaceAction = 'audit.key.replace'

/** The line (without newline) that follows `head`, and the head that it makes. */
export function makeLine(
  head: Head,
  stamp: { readonly signer: Signer; readonly at: string; readonly actor: string },
  draft: EntryDraft,
): { readonly line: Buffer; readonly head: Head } {
  const { signer, at, actor } = stamp
  const { data = {}, ...rest } = draft
  const named = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined))
  const unsigned = {
    ...named,
    seq: head.seq + 1,
    at,
    actor,
    data,
    prev: head.head,
    key: shortKey(signer.publicKeyFingerprint),
  }
  requireSafeEntry({ ...draft, data, actor })
  const sig = signer.sign(canonicalJson(unsigned)).toString('base64')
  const line = canonicalJson({ ...unsigned, sig })
  const parsed = parseLine(line)
  if (!parsed.ok) throw new KvxError('BUG', `an audit entry was refused: ${parsed.why}`)
  return { line, head: { seq: unsigned.seq, head: hashOfLine(line) } }
}

/** The bytes that `sig` is over. */
export function signedBytes(entry: AuditEntry): Buffer {
  const { sig: _, ...unsigned } = entry
  return canonicalJson(unsigned)
}

export function hashOfLine(line: Uint8Array): string {
  return createHash('sha256').update(line).digest('hex')
}

/** How an entry names the key that signed it. */
export function shortKey(publicKeyFingerprint: string): string {
  return publicKeyFingerprint.slice(0, 16)
}

export type ParsedLine =
  | { readonly ok: true; readonly entry: AuditEntry }
  /** `torn`: the line begins like an entry and ends too early, as a crash leaves it. */
  | { readonly ok: false; readonly why: string; readonly torn: boolean }

/**
 * Reads a line that is not trusted. Takes the canonical bytes alone: another spelling of the same JSON is
 * refused, so that each byte of a line counts. The signature is not checked here.
 */
export function parseLine(line: Uint8Array): ParsedLine {
  if (line.length > maxLineBytes) return { ok: false, why: `more than ${maxLineBytes} bytes`, torn: false }
  const value = parseJson(line)
  if (value === undefined) return { ok: false, why: 'not JSON', torn: isTorn(line) }
  if (!isEntry(value)) return { ok: false, why: 'not the fields of an entry', torn: false }
  if (!sameBytes(value, line)) return { ok: false, why: 'not in canonical form', torn: false }
  return { ok: true, entry: value }
}

function parseJson(line: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line))
  } catch {
    return undefined
  }
}

function sameBytes(value: unknown, line: Uint8Array): boolean {
  try {
    return canonicalJson(value).equals(line)
  } catch {
    return false
  }
}

/**
 * True for what a crash leaves: nothing, a beginning of zero bytes (a block that never reached the disk), or an
 * object that is not closed. A whole object with something behind it is no such thing.
 */
function isTorn(line: Uint8Array): boolean {
  if (line.length === 0 || line[0] === 0) return true
  if (line[0] !== 0x7b) return false
  let depth = 0
  let inString = false
  for (let at = 0; at < line.length; at += 1) {
    const sign = line[at]
    if (inString) {
      if (sign === 0x5c) at += 1
      else if (sign === 0x22) inString = false
    } else if (sign === 0x22) inString = true
    else if (sign === 0x7b || sign === 0x5b) depth += 1
    else if (sign === 0x7d || sign === 0x5d) depth -= 1
    if (depth === 0) return false
  }
  return true
}

const required = ['action', 'actor', 'at', 'data', 'key', 'phase', 'prev', 'seq', 'sig']
const optional = ['exit', 'run', 'subject']
const forms: Readonly<Record<string, RegExp>> = {
  action: /^[a-z][a-z0-9.-]{0,63}$/,
  at: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
  key: /^[0-9a-f]{16}$/,
  phase: /^(?:intent|result|note)$/,
  prev: /^[0-9a-f]{64}$/,
  sig: /^[A-Za-z0-9+/]{85}[AQgw]==$/, // 64 bytes: the last sign has four bits that must be zero
}

function isEntry(value: unknown): value is AuditEntry {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const fields: Readonly<Record<string, unknown>> = { ...value }
  const names = Object.keys(fields)
  return (
    required.every((name) => names.includes(name)) &&
    names.every((name) => (required.includes(name) || optional.includes(name)) && isField(name, fields[name]))
  )
}

function isField(name: string, value: unknown): boolean {
  if (name === 'seq') return Number.isSafeInteger(value) && Number(value) >= 1
  if (name === 'exit') return Number.isSafeInteger(value)
  if (name === 'data') return isFacts(value)
  return typeof value === 'string' && (forms[name]?.test(value) ?? true)
}

function isFacts(value: unknown): value is Facts {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.values(value).every(isFact)
}

function isFact(value: unknown): value is Fact {
  if (Array.isArray(value)) return value.every((item) => typeof item === 'string')
  return typeof value === 'string' || typeof value === 'boolean' || Number.isSafeInteger(value)
}
