import { createHash } from 'node:crypto'
import type { PublicKey } from './audit-key.ts'
import type { AuditEntry, Head } from './entry.ts'
import { emptyHead, hashOfLine, parseLine, recoverAction, replaceAction } from './entry.ts'
import type { KeyVerdict, UsedKey } from './log-keys.ts'
import { LogKeys } from './log-keys.ts'
import type { LogLine } from './log-lines.ts'

export type ProblemCode =
  | KeyVerdict['code']
  | 'NOT_AN_ENTRY'
  | 'ENTRIES_MISSING'
  | 'OUT_OF_ORDER'
  | 'CHAIN_BROKEN'
  | 'TORN_BYTES_DIFFER'
  | 'HEAD_NOT_FOUND'
  | 'LOG_MISSING'
  | 'DOCUMENT_CHANGED'
  | 'DOCUMENT_FOREIGN'
  | 'DOCUMENT_MISSING'
  | 'DOCUMENT_UNCHAINED'
  | 'NO_PUBLIC_KEY'

/** What is wrong, and where: `line` counts from 1; `seq` is the number the entry has or should have. */
export type Problem = {
  readonly line: number
  readonly seq: number
  readonly code: ProblemCode
  readonly message: string
  /** The signed document that it is about, where it is not the log. */
  readonly document?: string
}

export type Warning = { readonly code: string; readonly message: string }

/** Lines that are no entries, and may turn out to be what a crash left. */
type Doubtful = {
  readonly line: number
  readonly problems: Problem[]
  readonly hash: ReturnType<typeof createHash>
  bytes: number
  mayBeTorn: boolean
  terminated: boolean
}

const maxProblems = 1000

/** Takes the lines of a log one by one and remembers no more of them than the end of the chain. */
export class LogChain {
  readonly problems: Problem[] = []
  readonly warnings: Warning[] = []
  entries = 0
  problemCount = 0
  #head: Head = emptyHead
  #lines = 0
  #at = ''
  #clockBack = 0
  #doubtful: Doubtful | undefined
  readonly #keys: LogKeys

  readonly #onEntry: ((entry: AuditEntry, head: Head) => void) | undefined

  /** @param onEntry told of each entry that stands in its place and that a known key signed */
  constructor(trusted: readonly PublicKey[], onEntry?: (entry: AuditEntry, head: Head) => void) {
    this.#keys = new LogKeys(trusted)
    this.#onEntry = onEntry
  }

  get head(): Head {
    return this.#head
  }

  get lines(): number {
    return this.#lines
  }

  /** Checks the next line; gives its head back when it is an entry that a known key signed. */
  take(line: LogLine): Head | undefined {
    this.#lines += 1
    const parsed = parseLine(line.bytes)
    if (!parsed.ok) {
      this.#doubt(line, parsed.torn, { code: 'NOT_AN_ENTRY', message: `no audit entry: ${parsed.why}` })
      return undefined
    }
    const verdict = this.#keys.check(parsed.entry)
    if (verdict?.code === 'BAD_SIGNATURE' || verdict?.code === 'UNKNOWN_KEY') {
      this.#doubt(line, false, verdict)
      return undefined
    }
    if (verdict !== undefined) this.#report(parsed.entry.seq, verdict)
    const head = { seq: parsed.entry.seq, head: hashOfLine(line.bytes) }
    this.#place(parsed.entry, head)
    return head
  }

  /** Ends the log: what is doubtful now is a torn last line, or wrong. */
  end(): readonly UsedKey[] {
    const doubtful = this.#doubtful
    if (doubtful?.mayBeTorn === true && doubtful.problems.length === 1 && !doubtful.terminated) {
      const message = `line ${doubtful.line}: the log ends in ${doubtful.bytes} bytes of a line that a crash cut short; the next command that writes to the log notes them`
      this.warnings.push({ code: 'TORN_LAST_LINE', message })
    } else this.#settle()
    if (this.#clockBack > 0) {
      const message = `${this.#clockBack} entries are older than the one before them: a clock was set back`
      this.warnings.push({ code: 'CLOCK_SET_BACK', message })
    }
    return this.#keys.used()
  }

  report(problem: Problem): void {
    this.problemCount += 1
    if (this.problems.length < maxProblems) this.problems.push(problem)
  }

  #report(seq: number, { code, message }: { code: ProblemCode; message: string }): void {
    this.report({ line: this.#lines, seq, code, message })
  }

  #doubt(line: LogLine, torn: boolean, why: { code: ProblemCode; message: string }): void {
    const held = this.#doubtful
    const doubtful = held ?? {
      line: this.#lines,
      problems: [],
      hash: createHash('sha256'),
      bytes: 0,
      mayBeTorn: true,
      terminated: true,
    }
    if (held !== undefined) {
      doubtful.hash.update('\n')
      doubtful.bytes += 1
    }
    doubtful.hash.update(line.bytes)
    doubtful.bytes += line.bytes.length
    doubtful.mayBeTorn &&= torn && !line.cut
    doubtful.terminated = line.terminated
    const seq = this.#head.seq + 1 + (this.#lines - doubtful.line)
    if (doubtful.problems.length < maxProblems) doubtful.problems.push({ line: this.#lines, seq, ...why })
    else this.problemCount += 1
    this.#doubtful = doubtful
  }

  /** The doubtful lines are wrong. */
  #settle(): number {
    const doubtful = this.#doubtful
    this.#doubtful = undefined
    for (const problem of doubtful?.problems ?? []) this.report(problem)
    return doubtful?.problems.length ?? 0
  }

  #place(entry: AuditEntry, head: Head): void {
    const before = this.#head
    const wrong = entry.action === recoverAction ? this.#recover(entry) : this.#settle()
    this.entries += 1
    if (entry.seq <= before.seq) {
      // An old line once more, or too late: the chain goes on from where it was.
      this.#report(entry.seq, {
        code: 'OUT_OF_ORDER',
        message: `entry ${entry.seq} stands behind ${before.seq}`,
      })
      return
    }
    this.#link(entry, before, wrong)
    this.#head = head
    this.#onEntry?.(entry, head)
    if (entry.at < this.#at) this.#clockBack += 1
    this.#at = entry.at
    if (entry.action === replaceAction) {
      const message = `line ${this.#lines}: from entry ${entry.seq} on the log is signed by the key ${String(entry.data['newPublicKeyFingerprint'])}; compare it with the recovery kit`
      this.warnings.push({ code: 'KEY_REPLACED', message })
    }
  }

  /** @param wrong how many lines before this one are wrong: each may have been an entry, or put in */
  #link(entry: AuditEntry, before: Head, wrong: number): void {
    const next = before.seq + 1
    if (entry.seq > next + wrong) {
      const first = next + wrong
      const missing =
        entry.seq === first + 1 ? `entry ${first} is` : `entries ${first} to ${entry.seq - 1} are`
      this.#report(entry.seq, { code: 'ENTRIES_MISSING', message: `${missing} missing before this line` })
    } else if (entry.prev !== before.head && wrong === 0) {
      const message = 'the entry does not follow from the line before it'
      this.#report(entry.seq, { code: 'CHAIN_BROKEN', message })
    }
  }

  /** A note that a torn line was found proves those bytes, and nothing else. */
  #recover(entry: AuditEntry): number {
    const doubtful = this.#doubtful
    const { tornBytes, tornSha256 } = entry.data
    if (doubtful?.mayBeTorn !== true) {
      const wrong = this.#settle()
      if (wrong > 0) return wrong
      const message = `the ${String(tornBytes)} torn bytes that this entry notes are missing before it`
      this.#report(entry.seq, { code: 'TORN_BYTES_DIFFER', message })
      return 0
    }
    const fits = doubtful.bytes === tornBytes && doubtful.hash.digest('hex') === tornSha256
    this.#doubtful = undefined
    const line = doubtful.line
    if (fits) {
      const message = `line ${line}: ${doubtful.bytes} bytes of a line that a crash cut short, noted by entry ${entry.seq}`
      this.warnings.push({ code: 'TORN_LINE_NOTED', message })
      return 0
    }
    const message = `the torn bytes are not those that entry ${entry.seq} notes`
    this.report({ line, seq: entry.seq, code: 'TORN_BYTES_DIFFER', message })
    return 0
  }
}
