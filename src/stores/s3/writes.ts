import { setTimeout as sleep } from 'node:timers/promises'
import { isKvxError, KvxError } from '../../core/errors.ts'
import { applyEdits, type Edit, type FileRecord } from '../directory/format.ts'
import { sameCell } from '../directory/json-member.ts'
import { sideBySide } from '../side-by-side.ts'
import type { Cells, ReadBack, RecordSet, StoredRecord, Swap, SwapOutcome } from '../store.ts'
import { pauseMs, tries } from './client.ts'
import type { Spelling } from './conditions.ts'
import { type Put, putObject, readObject, readTags, type S3Object } from './objects.ts'
import { type Bucket, globsOf, headersCell, keyOf, recordOf, sameBytes, shapeError } from './bucket.ts'

/** So many objects are read or written side by side. */
export const atOnce = 8

export type SwapBatch = {
  readonly set: RecordSet
  readonly swaps: readonly Swap[]
  readonly readBack: ReadBack
}

/** An object that the batch wrote, or began to write. */
type Written = {
  readonly key: string
  readonly before: S3Object
  readonly tags: Readonly<Record<string, string>>
  readonly after: Buffer
  readonly index: number
}

/**
 * The `swap` of the store contract. Each object is written under the condition that it is still the one that was
 * compared. There is no transaction: when one fails, or `readBack` refuses, those before get their old bytes back
 * under the same condition, newest first.
 */
export async function swapObjects(
  bucket: Bucket,
  { set, swaps, readBack }: SwapBatch,
): Promise<readonly SwapOutcome[]> {
  const globs = globsOf(bucket, set)
  for (const swap of swaps) requireWritable(set, swap)
  if (swaps.length === 0) return []
  const spelling = await bucket.spelling()
  const written: Written[] = []
  try {
    const outcomes = [
      ...(await sideBySide(swaps, atOnce, async (swap, index): Promise<SwapOutcome> => {
        const key = keyOf(bucket, globs, swap.id)
        return key === undefined ? 'gone' : swapOne(bucket, key, { set, swap, index, spelling, written })
      })),
    ]
    const records: StoredRecord[] = []
    const inTurn = written.toSorted((one, other) => one.index - other.index)
    const reads = await sideBySide(inTurn, atOnce, async (one) => readWritten(bucket, set, one))
    for (const [at, one] of inTurn.entries()) {
      const read = reads[at]
      const swap = swaps[one.index]
      if (read === undefined || swap === undefined) outcomes[one.index] = 'gone'
      else if (!holds(read, swap.change)) outcomes[one.index] = 'lost'
      else records.push({ id: swap.id, cells: read.cells })
    }
    if (records.length > 0) readBack(records)
    return outcomes
  } catch (error) {
    await putBack(bucket, newestFirst(written), { spelling, error })
    throw error
  }
}

function newestFirst(written: readonly Written[]): readonly Written[] {
  return written.toSorted((one, other) => other.index - one.index)
}

function requireWritable(set: RecordSet, { id, expected, change }: Swap): void {
  const declared = new Set(set.columns)
  const changed = Object.keys(change)
  const isKnown = [...Object.keys(expected), ...changed].every((column) => declared.has(column))
  if (isKnown && changed.length > 0 && id.length === set.id.length) return
  throw new KvxError('BUG', 'a swap names its id and changes columns of its record set')
}

type One = {
  readonly set: RecordSet
  readonly swap: Swap
  readonly index: number
  readonly spelling: Spelling
  readonly written: Written[]
}

async function swapOne(bucket: Bucket, key: string, work: One): Promise<SwapOutcome> {
  const { set, swap, index, spelling, written } = work
  const { client, prefix } = bucket
  const before = await readObject(client, key)
  if (before === undefined) return 'gone'
  const record = recordOf(bucket, set, key.slice(prefix.length), before.bytes)
  if (!holds(record, swap.expected)) return 'lost'
  const edits: readonly Edit[] = record.edits(swap.change)
  const tags = await readTags(client, key)
  const one: Written = { key, before, tags, after: applyEdits(before.bytes, edits), index }
  written.push(one)
  const put = await replace(bucket, key, { from: before, bytes: one.after, tags, spelling })
  if (put === 'written') return 'changed'
  written.splice(written.indexOf(one), 1)
  return (await readObject(client, key)) === undefined ? 'gone' : 'lost'
}

type Replacement = {
  readonly from: S3Object
  readonly bytes: Buffer
  readonly tags: Readonly<Record<string, string>>
  readonly spelling: Spelling
}

/**
 * An answer that was lost on its way, or that reports a fault, tells nothing: then the object itself is asked. Ceph 16
 * reports a fault where another program's write came between.
 */
async function replace(
  { client }: Bucket,
  key: string,
  { from, bytes, tags, spelling }: Replacement,
): Promise<Put> {
  const write = { bytes, kept: { ...from.kept, ...tags }, condition: { 'if-match': spelling(from.etag) } }
  for (let attempt = 1; ; attempt++) {
    let put: Put | KvxError
    try {
      put = await putObject(client, key, write)
    } catch (error) {
      if (!isKvxError(error, 'STORE_UNAVAILABLE')) throw error
      put = error
    }
    if (put === 'written' || (put === 'refused' && attempt === 1)) return put
    const now = await readObject(client, key)
    if (now !== undefined && sameBytes(now, bytes)) return 'written'
    if (put === 'refused' || now?.etag !== from.etag) return 'refused'
    if (attempt === tries) throw put
    await sleep(pauseMs * 2 ** attempt)
  }
}

function holds(record: FileRecord, cells: Cells): boolean {
  return Object.entries(cells).every(([column, cell]) => sameCell(record.cells[column] ?? null, cell))
}

async function readWritten(
  bucket: Bucket,
  set: RecordSet,
  { key }: Written,
): Promise<FileRecord | undefined> {
  const now = await readObject(bucket.client, key)
  return now && recordOf(bucket, set, key.slice(bucket.prefix.length), now.bytes)
}

/** @throws instead of the first error, when an object keeps its new bytes: an operator must know of it */
async function putBack(
  bucket: Bucket,
  written: readonly Written[],
  { spelling, error: first }: { readonly spelling: Spelling; readonly error: unknown },
): Promise<void> {
  let failed = 0
  for (const { key, before, tags, after } of written) {
    try {
      const now = await readObject(bucket.client, key)
      // What another program wrote since is its own.
      if (now === undefined || !sameBytes(now, after)) continue
      await replace(bucket, key, { from: { ...now, kept: before.kept }, bytes: before.bytes, tags, spelling })
    } catch {
      failed++
    }
  }
  if (failed === 0) return
  const known = isKvxError(first) ? first : new KvxError('STORE_UNAVAILABLE', 'the batch failed')
  throw new KvxError(
    known.code,
    `${known.message}; ${failed} objects of the batch could not get their old bytes back`,
    {
      hint: 'mend the cause, then go on with `kvx run resume`, or bring the old bytes back with `kvx run restore`',
    },
  )
}

/** The `insertMissing` of the store contract: an object is made only where none is, with type and metadata. */
export async function insertMissingObjects(
  bucket: Bucket,
  set: RecordSet,
  records: readonly StoredRecord[],
): Promise<readonly ('inserted' | 'present')[]> {
  const globs = globsOf(bucket, set)
  if (records.length === 0) return []
  await bucket.spelling()
  return await sideBySide(records, atOnce, async (record) => {
    const key = keyOf(bucket, globs, record.id)
    if (key === undefined)
      throw shapeError(bucket.client, 'a record to bring back lies outside of the pattern')
    return insertOne(bucket, key, wholeOf(bucket, set, record))
  })
}

/** A server that is busy says so and has done nothing; of any other fault only the object itself tells. */
async function insertOne({ client }: Bucket, key: string, whole: Whole): Promise<'inserted' | 'present'> {
  const write = { ...whole, condition: { 'if-none-match': '*' } }
  for (let attempt = 1; ; attempt++) {
    try {
      return (await putObject(client, key, write)) === 'written' ? 'inserted' : 'present'
    } catch (error) {
      if (!isKvxError(error, 'STORE_UNAVAILABLE')) throw error
      const now = await readObject(client, key)
      if (now !== undefined) return sameBytes(now, whole.bytes) ? 'inserted' : 'present'
      if (attempt === tries) throw error
    }
    await sleep(pauseMs * 2 ** attempt)
  }
}

type Whole = { readonly bytes: Buffer; readonly kept: Readonly<Record<string, string>> }

/** The record's own bytes: those that were fetched, with the columns that a run looked at a moment later. */
function wholeOf(bucket: Bucket, set: RecordSet, { id, cells }: StoredRecord): Whole {
  const whole = cells[bucket.format.whole]
  const headers = cells[headersCell]
  if (!(whole instanceof Uint8Array)) throw new KvxError('BUG', 'a record to bring back is whole')
  const bytes = Buffer.from(whole)
  const columns = set.columns.filter((column) => cells[column] !== undefined)
  const change = Object.fromEntries(columns.map((column) => [column, cells[column] ?? null]))
  const edits = recordOf(bucket, set, String(id[0]), bytes).edits(change)
  const kept = typeof headers === 'string' ? (JSON.parse(headers) as Record<string, string>) : {}
  return { bytes: applyEdits(bytes, edits), kept }
}
