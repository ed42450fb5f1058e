import { KvxError } from '../core/errors.ts'
import type { EntryDraft, Facts } from './entry.ts'

const publicName = /fingerprint|digest|sha256/i
const actionForm = /^[a-z][a-z0-9.-]{0,63}$/
const factName = /^[A-Za-z][A-Za-z0-9_]{0,63}$/
const maxText = 4096

const keyLike = [
  /(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/i, // 32 bytes in hex, wherever it stands
  /(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{43}=(?!=)/, // 32 bytes in base64 or base64url
  /^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9_-]{43}$/, // 32 bytes in base64url without padding
]

/** True for a text that holds what has the form of a 32-byte key: it must never stand in the log. */
export function looksLikeKey(text: string): boolean {
  return keyLike.some((form) => form.test(text))
}

/**
 * The last look before something is written for ever: refuses whatever has the form of a 32-byte key, except
 * in fields that are named after public values (`…fingerprint…`, `…digest…`, `…sha256…`, `head`).
 * @throws BUG naming the field, never the value
 */
export function requireSafeEntry(entry: EntryDraft & { readonly actor: string; readonly data: Facts }): void {
  if (!actionForm.test(entry.action)) throw refused('action', 'is not lower-case words with dots')
  if (entry.exit !== undefined && !Number.isSafeInteger(entry.exit))
    throw refused('exit', 'is not an integer')
  for (const name of ['actor', 'run', 'subject'] as const) {
    const value = entry[name]
    if (value !== undefined) requireSafeText(name, value)
  }
  for (const [name, value] of Object.entries(entry.data)) {
    if (!factName.test(name)) throw refused('data', 'has a name that is not one word')
    if (looksLikeKey(name)) throw refused('data', 'has a name that looks like a key')
    requireSafeFact(name, value)
  }
}

function requireSafeFact(name: string, value: unknown): void {
  if (typeof value === 'boolean' || Number.isSafeInteger(value)) return
  if (typeof value === 'string') return requireSafeText(name, value)
  if (!Array.isArray(value))
    throw refused(name, 'is not a string, an integer, a boolean or a list of strings')
  for (const item of value) {
    if (typeof item !== 'string') throw refused(name, 'is a list of something else than strings')
    requireSafeText(name, item)
  }
}

function requireSafeText(name: string, text: string): void {
  if (text.length > maxText) throw refused(name, `has more than ${maxText} characters`)
  if (!text.isWellFormed()) throw refused(name, 'is not well-formed Unicode')
  if (name === 'head' || publicName.test(name)) return
  if (looksLikeKey(text)) throw refused(name, 'looks like a key')
}

function refused(name: string, why: string): KvxError {
  return new KvxError('BUG', `an audit entry was refused: its field ${name} ${why}`)
}
