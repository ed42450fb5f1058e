import { KvxError } from '../core/errors.ts'
import { parsePublicKeysPem } from '../core/signature.ts'
import { lstatFacts } from '../platform/files.ts'
import type { PublicKey } from './audit-key.ts'
import { DocumentCheck } from './document-check.ts'
import { type EvidenceDocument, isDocumentLine } from './documents.ts'
import { asPublicKey, readPublicKeys } from './audit-key.ts'
import type { Head } from './entry.ts'
import type { UsedKey } from './log-keys.ts'
import type { Problem, Warning } from './log-chain.ts'
import { LogChain } from './log-chain.ts'
import type { LogLine } from './log-lines.ts'
import { logPath, readLogLines, splitLines } from './log-lines.ts'

export type VerifyOptions = {
  /** Raw keys of 32 bytes or PEM texts. Without them the directory's `audit.pub` counts. */
  readonly publicKeys?: readonly (Uint8Array | string)[]
  /** A head that was kept elsewhere: `SEQ:HEX`, the 64 hex digits alone, or both as they are. */
  readonly expectedHead?: string | Head
  /** Signed documents that belong to the log. */
  readonly documents?: readonly EvidenceDocument[]
}

export type AuditVerdict = {
  readonly entries: number
  readonly head: Head
  readonly keys: readonly UsedKey[]
  /** In the order of the lines; at most 1,000. The log is whole when there is none. */
  readonly problems: readonly Problem[]
  /** How many there are in all. */
  readonly problemCount: number
  readonly warnings: readonly Warning[]
  /** Signed documents that were held against the log, and how many the log names. */
  readonly documents: { readonly checked: number; readonly named: number }
}

/** The directory of a log, its bytes, or a file that holds it: a copy of `log.jsonl`, or an export. */
export type LogSource = string | Uint8Array | { readonly file: string }

/**
 * Checks every line of a log: its form, number, chain and signature, in flat memory. A cut-off tail can be
 * noticed only with `expectedHead`; without it a warning says so.
 * @param log without a directory, `publicKeys` are needed
 * @throws USAGE for an expected head that is none, KEY_MALFORMED, and what reading throws; never for what is
 * wrong in the log: that is in `problems`
 */
export async function verifyAudit(log: LogSource, options: VerifyOptions = {}): Promise<AuditVerdict> {
  const expected = options.expectedHead === undefined ? undefined : parseHead(options.expectedHead)
  const trusted = await trustedKeys(log, options.publicKeys)
  const documents = new DocumentCheck(options.documents ?? [], trusted)
  const chain = new LogChain(trusted, (entry, head) => documents.entry(entry, head))
  let found = expected?.seq === 0 // the empty head is the beginning of every log
  for await (const line of linesOf(log)) {
    const head = chain.take(line)
    found ||= head !== undefined && head.head === expected?.head && (expected.seq ?? head.seq) === head.seq
  }
  const keys = chain.end()
  documents.end(keys)
  for (const problem of documents.problems) chain.report(problem)
  chain.warnings.push(...documents.warnings)
  if (trusted.length === 0 && chain.lines > 0) chain.report(noPublicKey)
  if (expected === undefined) chain.warnings.push(tailUnproven)
  else if (!found) chain.report(headNotFound(chain, expected))
  if (typeof log === 'string' && (await lstatFacts(logPath(log))) === undefined) {
    chain.report({ line: 0, seq: 0, code: 'LOG_MISSING', message: 'log.jsonl does not exist' })
  }
  chain.problems.sort((one, other) => one.line - other.line)
  const { entries, head, problems, problemCount, warnings } = chain
  return { entries, head, keys, problems, problemCount, warnings, documents: documents.counts }
}

/** A head as people keep it: `42:` and 64 hex digits. */
export function formatHead({ seq, head }: Head): string {
  return `${seq}:${head}`
}

type Expected = { readonly seq: number | undefined; readonly head: string }

function parseHead(text: string | Head): Expected {
  const match = /^(?:(\d{1,15}):)?([0-9a-f]{64})$/i.exec(
    typeof text === 'string' ? text.trim() : formatHead(text),
  )
  if (match === null) {
    throw new KvxError('USAGE', 'the expected head is not a number, a colon and 64 hex digits', {
      hint: 'copy it whole from the report or the card: `42:` and 64 hex digits',
    })
  }
  return { seq: match[1] === undefined ? undefined : Number(match[1]), head: (match[2] ?? '').toLowerCase() }
}

const noPublicKey: Problem = {
  line: 0,
  seq: 0,
  code: 'NO_PUBLIC_KEY',
  message: 'there is no public key (audit.pub) to verify the signatures with',
}

const tailUnproven: Warning = {
  code: 'TAIL_UNPROVEN',
  message:
    'without a head that was kept elsewhere (on a report, a card, a manifest) a cut-off end can’t be noticed',
}

function headNotFound(chain: LogChain, expected: Expected): Problem {
  const { head, lines } = chain
  const isCut = expected.seq !== undefined && expected.seq > head.seq
  const message = isCut
    ? `the log ends at entry ${head.seq}, but entry ${expected.seq} was there: its end was cut off`
    : `the log does not hold the expected head: entries up to it were cut off or replaced; it ends at ${head.seq}`
  const seq = expected.seq ?? head.seq + 1
  return { line: lines + 1, seq, code: 'HEAD_NOT_FOUND', message }
}

async function trustedKeys(
  log: LogSource,
  given: readonly (Uint8Array | string)[] | undefined,
): Promise<readonly PublicKey[]> {
  if (given !== undefined) {
    const raw = given.flatMap<Uint8Array>((key) => (typeof key === 'string' ? parsePublicKeysPem(key) : key))
    return raw.map((key) => asPublicKey(key))
  }
  return typeof log === 'string' ? await readPublicKeys(log) : []
}

function linesOf(log: LogSource): AsyncGenerator<LogLine> {
  if (typeof log === 'string') return readLogLines(logPath(log))
  return 'file' in log ? exportedLines(log.file) : splitLines([Buffer.from(log)])
}

/** Behind the entries of an export stand documents. */
async function* exportedLines(file: string): AsyncGenerator<LogLine> {
  let isBehind = false
  for await (const line of readLogLines(file)) {
    const isDocument = isDocumentLine(line.bytes)
    isBehind ||= isDocument
    if (!isDocument) yield isBehind ? { ...line, bytes: Buffer.from('an entry behind the documents') } : line
  }
}
