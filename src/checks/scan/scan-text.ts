import { basename } from 'node:path'
import { checkValueOf } from '../../core/fingerprint.ts'
import { base64, isFault } from '../../core/layout/text-codecs.ts'
import { shownPath } from '../../platform/file-errors.ts'
import { checkKeyFormat, type FormatResult, type Subject } from '../key-format.ts'
import type { SeenKey } from '../reuse.ts'
import type { Finding, RuleId } from '../rules.ts'
import { findHits, type Hit } from './hits.ts'

export type Scanned = { readonly findings: readonly Finding[]; readonly keys: readonly SeenKey[] }

const nothing: Scanned = { findings: [], keys: [] }

/** Keys that lie open in one text. The buffer stays the caller's. */
export function scanText(path: string, bytes: Buffer): Scanned {
  const hits = findHits(bytes)
  if (hits.length === 0) return nothing
  const kind = kindOf(path, bytes)
  const found = hits.map((hit) => lookAt(hit, { path, bytes, kind }))
  return { findings: found.flatMap(({ findings }) => findings), keys: found.flatMap(({ keys }) => keys) }
}

type Kind = 'env' | 'secret' | 'manifest' | 'other'
type Text = { readonly path: string; readonly bytes: Buffer; readonly kind: Kind }

function kindOf(path: string, bytes: Buffer): Kind {
  const name = basename(path).toLowerCase()
  if (/^\.env($|\.)|\.env$/.test(name)) return 'env'
  if (!/\.(ya?ml|json)$/.test(name)) return 'other'
  if (/^(docker-)?compose[\w.-]*\.ya?ml$/.test(name)) return 'manifest'
  if (isSecret(bytes)) return 'secret'
  return bytes.includes('apiVersion') ? 'manifest' : 'other'
}

/** A Secret of Kubernetes, whose `data` is base64 around what the application gets. */
function isSecret(bytes: Buffer): boolean {
  for (let at = bytes.indexOf('kind'); at !== -1; at = bytes.indexOf('kind', at + 1)) {
    if (/^kind"?\s*:\s*["']?Secret["']?\s*[,#\r\n}]/.test(bytes.toString('latin1', at, at + 40))) return true
  }
  return false
}

const rulesOf: Readonly<Record<Kind, RuleId>> = {
  env: 'SECRET_IN_ENV',
  secret: 'SECRET_IN_MANIFEST',
  manifest: 'SECRET_IN_MANIFEST',
  other: 'SECRET_IN_FILE',
}

const replace =
  'who reads the file has it: let another key seal (`kvx rotate NAME`), then take it out of the file and of its history'

function lookAt(hit: Hit, text: Text): Scanned {
  const path = shownPath(text.path)
  const line = lineAt(text.bytes, hit.start)
  if (hit.what !== 'key') {
    const message = `a ${hit.name} lies in the clear`
    return {
      findings: [{ rule: 'PRIVATE_KEY', severity: 'error', path, line, message, remedy: replace }],
      keys: [],
    }
  }
  const subject = { shown: path, again: '`kvx keygen NAME --dir DIR`' }
  const { findings, key } = decode(subject, hit, text)
  const own = findings.filter(({ rule }) => rule === 'KEY_WEAK' || rule === 'KEY_DOUBLE_ENCODED')
  const marked = own.map((finding) => ({ ...finding, line, message: `${hit.name}: ${finding.message}` }))
  const isWeak = own.some(({ rule }) => rule === 'KEY_WEAK')
  if (key === undefined || isWeak) return { findings: marked, keys: [] }
  const facts = `${key.bytes} bytes, check value ${checkValueOf(key.fingerprint)}`
  const secret: Finding = {
    rule: rulesOf[text.kind],
    severity: 'error',
    path,
    line,
    message: `${hit.name} is a key in the clear (${facts})`,
    remedy: replace,
  }
  const seen = { subject, fingerprint: key.fingerprint, same: path, line }
  return { findings: [secret, ...marked], keys: [seen] }
}

function lineAt(bytes: Buffer, offset: number): number {
  let line = 1
  for (let at = bytes.indexOf(0x0a); at !== -1 && at < offset; at = bytes.indexOf(0x0a, at + 1)) line++
  return line
}

/** How many bytes of key so many characters can be. */
const lengths: Readonly<Record<number, number>> = { 22: 16, 24: 16, 32: 16, 86: 64, 88: 64, 128: 64 }

/** Every copy of the value is wiped. */
function decode(subject: Subject, hit: Hit, text: Text): FormatResult {
  const { bytes, kind } = text
  const hasPrefix = bytes[hit.start] === 0x30 && bytes[hit.start + 1] === 0x78
  const isUnpadded = hit.end - hit.start === 43
  const value = Buffer.alloc(hit.end - hit.start - (hasPrefix ? 2 : 0) + (isUnpadded ? 1 : 0), '=')
  bytes.copy(value, 0, hit.start + (hasPrefix ? 2 : 0), hit.end)
  const inner = kind === 'secret' && isData(bytes, hit.start) ? unwrapped(value) : undefined
  try {
    const once = inner === undefined ? undefined : format(subject, inner)
    if (once?.key !== undefined || once?.findings.some(({ rule }) => rule === 'KEY_DOUBLE_ENCODED'))
      return once
    return format(subject, value)
  } finally {
    value.fill(0)
    inner?.fill(0)
  }
}

function format(subject: Subject, value: Uint8Array): FormatResult {
  const length = lengths[value.length] ?? 32
  return checkKeyFormat(subject, value, { encoding: undefined, length, expectFingerprint: undefined })
}

/** Of `data` and `stringData` the one that stands last before a value holds it. */
function isData(bytes: Buffer, offset: number): boolean {
  return bytes.lastIndexOf('data', offset) > bytes.lastIndexOf('stringData', offset)
}

/** What a container gets of a member of `data`, where that is base64. */
function unwrapped(value: Buffer): Uint8Array | undefined {
  const inner = base64.decode(value)
  return isFault(inner) ? undefined : inner
}
