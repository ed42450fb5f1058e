import { createHash } from 'node:crypto'
import { KvxError } from '../core/errors.ts'
import { verify } from '../core/signature.ts'
import type { AuditEntry, Head } from './entry.ts'
import { emptyHead, hashOfLine, parseLine, signedBytes } from './entry.ts'
import type { LogEnd } from './log-lines.ts'
import { readLogEnd } from './log-lines.ts'

/** What a writer must know of a log before it appends. */
export type LogTail = {
  readonly head: Head
  /** The last whole entry; undefined in an empty log. */
  readonly last: AuditEntry | undefined
  /** Bytes of a line that a crash cut short, after the last whole entry. */
  readonly torn: { readonly bytes: number; readonly sha256: string } | undefined
  /** True when the last byte is no newline, so that the next append begins with one. */
  readonly open: boolean
}

/** The raw public key that an entry names by its 16 digits; `unverified` accepts the entry without a look. */
export type KeyLookup = (key: string) => Promise<Uint8Array | 'unverified' | undefined>

const newline = 0x0a
const windows = [8, 64, 512].map((kibibytes) => kibibytes * 1024)

/**
 * Reads the end of a log: the last whole entry, its signature verified, and what a crash left behind it.
 * @throws AUDIT_BROKEN when the last line was changed or is signed by an unknown key
 */
export async function readTail(path: string, lookup: KeyLookup): Promise<LogTail> {
  for (const window of windows) {
    const end = await readLogEnd(path, window)
    const tail = findTail(end)
    if (tail === undefined) continue
    if (tail.last !== undefined) await requireSignature(tail.last, lookup)
    return tail
  }
  throw broken('its end holds no whole entry')
}

/** The last whole entry in the end of a log; undefined when it may lie further to the front. */
function findTail({ bytes, more }: LogEnd): LogTail | undefined {
  const open = bytes.length > 0 && bytes.at(-1) !== newline
  const size = open ? bytes.length : Math.max(0, bytes.length - 1)
  let end = size
  let start = lineStart(bytes, end)
  for (;;) {
    if (start === 0 && more) return undefined
    if (bytes.length === 0) return { head: emptyHead, last: undefined, torn: undefined, open }
    const line = bytes.subarray(start, end)
    const parsed = parseLine(line)
    if (parsed.ok) {
      const torn = end === size ? undefined : tornOf(bytes.subarray(end + 1, size))
      return { head: { seq: parsed.entry.seq, head: hashOfLine(line) }, last: parsed.entry, torn, open }
    }
    if (!parsed.torn) throw broken(`its last line was changed (${parsed.why})`)
    if (start === 0) return { head: emptyHead, last: undefined, torn: tornOf(bytes.subarray(0, size)), open }
    end = start - 1
    start = lineStart(bytes, end)
  }
}

function lineStart(bytes: Buffer, end: number): number {
  return end === 0 ? 0 : bytes.lastIndexOf(newline, end - 1) + 1
}

function tornOf(bytes: Buffer): { bytes: number; sha256: string } {
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

async function requireSignature(entry: AuditEntry, lookup: KeyLookup): Promise<void> {
  const publicKey = await lookup(entry.key)
  if (publicKey === 'unverified') return
  if (publicKey === undefined) throw broken(`its last entry is signed by the unknown key ${entry.key}`)
  if (!verify(publicKey, signedBytes(entry), Buffer.from(entry.sig, 'base64'))) {
    throw broken('the signature of its last entry does not fit')
  }
}

function broken(what: string): KvxError {
  return new KvxError('AUDIT_BROKEN', `the audit log takes no further entry: ${what}`, {
    hint: 'find what was changed with `kvx audit verify`, then put the log back from a copy',
  })
}
