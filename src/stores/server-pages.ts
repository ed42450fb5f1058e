import { KvxError } from '../core/errors.ts'
import type { StoredRecord } from './store.ts'

type Row = readonly (string | Buffer | null)[]

/** A page is cut where the last ones say that it would hold more than this. */
const pageBytes = 32 * 1_048_576
const firstPage = 100

export type ReadPage<Cursor> = {
  readonly rows: readonly Row[]
  readonly records: readonly StoredRecord[]
  /** The place of the last row. */
  readonly cursor: Cursor | undefined
}

/** The `scan` of the store contract: each page is a statement of its own that goes on behind the last id. */
export async function* pagesBehind<Cursor>(
  pageSize: number,
  read: (limit: number, cursor: Cursor | undefined) => Promise<ReadPage<Cursor>>,
): AsyncGenerator<readonly StoredRecord[]> {
  if (!Number.isSafeInteger(pageSize) || pageSize < 1)
    throw new KvxError('BUG', 'a page holds at least one record')
  let cursor: Cursor | undefined
  let limit = Math.min(pageSize, firstPage)
  // By itself, so that nothing holds the rows while somebody works on their records.
  const next = async (): Promise<{ readonly records: readonly StoredRecord[]; readonly isLast: boolean }> => {
    const page = await read(limit, cursor)
    const isLast = page.rows.length < limit
    cursor = page.cursor
    limit = nextLimit(page.rows, pageSize)
    return { records: page.records, isLast }
  }
  for (;;) {
    const { records, isLast } = await next()
    if (records.length > 0) yield records
    if (isLast) return
  }
}

/** How many rows like these an answer may have. */
export function nextLimit(rows: readonly Row[], pageSize: number, most = pageBytes): number {
  const bytes = rows.reduce((sum, row) => row.reduce((all, cell) => all + (cell?.length ?? 0), sum), 1)
  const each = Math.ceil(bytes / Math.max(rows.length, 1))
  return Math.max(1, Math.min(pageSize, Math.floor(most / each)))
}
