import { KvxError, isKvxError } from '../core/errors.ts'
import { currentActor } from '../platform/actor.ts'
import { appendDurable } from '../platform/append-file.ts'
import { isoNow } from '../platform/clock.ts'
import { whileLocked } from '../platform/lingering-lock.ts'
import { readPublicKeys } from './audit-key.ts'
import type { EntryDraft, Facts, Head } from './entry.ts'
import { makeLine, recoverAction, replaceAction, shortKey } from './entry.ts'
import { logPath } from './log-lines.ts'
import type { KeyLookup, LogTail } from './log-tail.ts'
import { readTail } from './log-tail.ts'
import type { Signer } from './signer.ts'
import type { Sink } from './sink.ts'

export type AuditOptions = {
  readonly signer: Signer
  /** UTC to the second, `2026-01-01T00:00:00Z`. */
  readonly now?: () => string
  readonly actor?: string
  /** Where entries go besides. */
  readonly sink?: Sink | undefined
}

export type LogState = Head & {
  /** The time of the last entry; undefined in an empty log. */
  readonly at: string | undefined
  readonly publicKeyFingerprint: string
}

/** The audit log of a home, open for writing. Several processes may have it open. */
export type Audit = {
  /**
   * Appends one entry durably, under the log's lock. What a crash left of an earlier append is noted by an
   * entry of its own before it.
   * @throws AUDIT_UNWRITABLE, AUDIT_BROKEN when the end of the log was changed, LOCKED when another process
   * holds the log for longer than an append takes, BUG for a value that looks like a key
   */
  append(draft: EntryDraft): Promise<Head>
  /** The last entry, for reports and cards: only a head kept elsewhere shows that a tail was cut off. */
  head(): Promise<LogState>
}

/** The log in `directory` (the home's `audit/`, or wherever else a log shall go). A missing log is empty. */
export function openAudit(directory: string, options: AuditOptions): Audit {
  const writer = writerOf(directory, options)
  // One after the other within a process: the lock is between processes.
  let queue: Promise<unknown> = Promise.resolve()
  return {
    append(draft) {
      const turn = queue.then(() => withLogLock(directory, () => appendLocked(writer, draft)))
      queue = turn.catch(() => undefined)
      void turn.then(() => options.sink?.notify()).catch(() => undefined)
      return turn
    },
    async head() {
      const tail = await readTail(logPath(directory), lookupOf(writer))
      return { ...tail.head, at: tail.last?.at, publicKeyFingerprint: options.signer.publicKeyFingerprint }
    },
  }
}

export type LogWriter = Required<Omit<AuditOptions, 'sink'>> & {
  readonly directory: string
  /** True while a lost key is replaced and its public key is lost too. */
  readonly acceptUnknownKey?: boolean
}

export function writerOf(directory: string, options: AuditOptions): LogWriter {
  return {
    directory,
    signer: options.signer,
    now: options.now ?? isoNow,
    actor: options.actor ?? currentActor(),
  }
}

/**
 * Appends under a lock that the caller holds. Without a draft only what is due is written: the note of a torn
 * line, the first entry of a new key.
 */
export async function appendLocked(writer: LogWriter, draft: EntryDraft | undefined): Promise<Head> {
  try {
    const path = logPath(writer.directory)
    const tail = await readTail(path, lookupOf(writer))
    const drafts = [...dueNotes(tail), ...(await dueReplacement(writer, tail)), ...(draft ? [draft] : [])]
    let head = tail.head
    let bytes = Buffer.from(tail.open ? '\n' : '')
    for (const each of drafts) {
      const made = makeLine(head, { ...writer, at: writer.now() }, each)
      head = made.head
      bytes = Buffer.concat([bytes, made.line, Buffer.from('\n')])
    }
    if (drafts.length > 0) await appendDurable(path, bytes)
    return head
  } catch (error) {
    throw unwritable(error)
  }
}

function dueNotes({ torn }: LogTail): readonly EntryDraft[] {
  if (torn === undefined) return []
  return [{ action: recoverAction, phase: 'note', data: { tornBytes: torn.bytes, tornSha256: torn.sha256 } }]
}

/** A log goes on under another key only when the first entry of that key says so. */
async function dueReplacement(writer: LogWriter, { last }: LogTail): Promise<readonly EntryDraft[]> {
  const { publicKeyFingerprint, publicKeyPem } = writer.signer
  if (last === undefined || last.key === shortKey(publicKeyFingerprint)) return []
  const known = await readPublicKeys(writer.directory)
  if (!known.some(({ fingerprint }) => fingerprint === publicKeyFingerprint)) {
    throw new KvxError('AUDIT_BROKEN', `the audit log is signed by the key ${last.key}, not by this one`, {
      hint: 'put back the `audit.key` and `audit.pub` that belong to the log from a copy',
    })
  }
  const old = known.find(({ fingerprint }) => shortKey(fingerprint) === last.key)
  const data: Facts = {
    oldPublicKeyFingerprint: old?.fingerprint ?? last.key,
    newPublicKeyFingerprint: publicKeyFingerprint,
    newPublicKey: publicKeyPem.split('\n')[1] ?? '', // SPKI in base64
  }
  return [{ action: replaceAction, phase: 'note', data }]
}

function lookupOf({ directory, signer, acceptUnknownKey }: LogWriter): KeyLookup {
  return async (key) => {
    if (key === shortKey(signer.publicKeyFingerprint)) return signer.publicKey
    const known = (await readPublicKeys(directory)).find(({ fingerprint }) => shortKey(fingerprint) === key)
    return known?.raw ?? (acceptUnknownKey === true ? 'unverified' : undefined)
  }
}

function unwritable(error: unknown): unknown {
  if (!isKvxError(error) || error.code === 'AUDIT_BROKEN' || error.code === 'BUG') return error
  return new KvxError('AUDIT_UNWRITABLE', `the audit log can't be written: ${error.message}`, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    details: { ...error.details, cause: error.code },
  })
}

const lockPatienceMs = 30_000

/** Holds the log's lock for `work`; waits for the appends of other processes. */
export async function withLogLock<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const lock = { what: `the audit log in ${directory}`, waitMs: lockPatienceMs }
  let isHeld = false
  try {
    return await whileLocked(directory, lock, async () => {
      isHeld = true
      return await work()
    })
  } catch (error) {
    throw isHeld || isKvxError(error, 'LOCKED') ? error : unwritable(error)
  }
}
