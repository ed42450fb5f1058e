import type { AuditEntry } from './entry.ts'
import { parseLine } from './entry.ts'
import { logPath, readLogLines } from './log-lines.ts'

export type AuditQuery = {
  /** Only the last so many of the entries that match. */
  readonly last?: number
  /** An action, or the beginning of one up to a dot: `key` takes `key.import`. */
  readonly action?: string
  readonly run?: string
  /** Told of each line that is no entry, with its number from 1: nothing is passed over in silence. */
  readonly onUnreadable?: (line: number, why: string) => void
}

/** The entries of the log in `directory`, oldest first, in flat memory. Their signatures are not checked. */
export async function* readAudit(directory: string, query: AuditQuery = {}): AsyncGenerator<AuditEntry> {
  const { last } = query
  if (last === undefined) {
    yield* matching(directory, query)
    return
  }
  const ring: AuditEntry[] = []
  let count = 0
  for await (const entry of matching(directory, query)) {
    if (last > 0) ring[count % last] = entry
    count += 1
  }
  const start = count > last ? count % last : 0
  yield* ring.slice(start)
  yield* ring.slice(0, start)
}

async function* matching(directory: string, query: AuditQuery): AsyncGenerator<AuditEntry> {
  let line = 0
  for await (const { bytes } of readLogLines(logPath(directory))) {
    line += 1
    const parsed = parseLine(bytes)
    if (!parsed.ok) query.onUnreadable?.(line, parsed.why)
    else if (matches(parsed.entry, query)) yield parsed.entry
  }
}

function matches(entry: AuditEntry, { action, run }: AuditQuery): boolean {
  if (run !== undefined && entry.run !== run) return false
  return action === undefined || entry.action === action || entry.action.startsWith(`${action}.`)
}
