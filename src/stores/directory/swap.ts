import { isKvxError, KvxError } from '../../core/errors.ts'
import { shownPath } from '../../platform/file-errors.ts'
import { type FileFacts, sameFile } from '../../platform/file-facts.ts'
import { type Company, together } from '../../platform/together.ts'
import type { Cells, ReadBack, RecordId, RecordSet, StoredRecord, Swap, SwapOutcome } from '../store.ts'
import { type Body, openBodies, withBody } from './body.ts'
import { describeTarget } from './directory-errors.ts'
import { type Edit, type FileRecord, idKey } from './format.ts'
import { groupsOf } from './groups.ts'
import { sameCell } from './json-member.ts'
import { type Directory, FileReader, pathOf, requireSet } from './record-files.ts'

export type SwapBatch = {
  readonly set: RecordSet
  readonly swaps: readonly Swap[]
  readonly readBack: ReadBack
}

/** A file that the batch wrote, or began to write. */
type Written = {
  readonly path: string
  /** What gives it its old bytes back. */
  readonly undo: readonly Edit[]
  /** Of the new bytes; undefined while they cannot have the file's name. */
  digest: string | undefined
  /** What was put in place; undefined when that may not have happened. */
  placed: FileFacts | undefined
  readonly indexes: readonly number[]
}

/**
 * The `swap` of the store contract. There is no transaction across files: they are replaced a group at a time; when
 * one fails, no other group is begun. Then, and when `readBack` refuses, the others get their old bytes back, newest
 * first, unless another program wrote them since. The caller holds the lock of the directory.
 */
export async function swapRecords(directory: Directory, batch: SwapBatch): Promise<readonly SwapOutcome[]> {
  const { set, swaps, readBack } = batch
  const globs = requireSet(directory, set)
  for (const swap of swaps) requireWritable(set, swap)
  const outcomes = swaps.map((): SwapOutcome => 'gone')
  const byPath = Map.groupBy(swaps.keys(), (index) => pathOf(set, swaps[index]?.id ?? [], globs))
  const written: Written[] = []
  try {
    for (const group of groupsOf(directory, [...byPath.keys()])) {
      const ends = await together(await openBodies(directory, group), async (body, company) =>
        swapFile(body, { ...batch, indexes: byPath.get(body.path) ?? [], outcomes, written, company }),
      )
      for (const end of ends) if (end.status === 'rejected') throw end.reason
    }
    const records = new Map<number, StoredRecord>()
    await readBackOf(directory, batch, { written, outcomes, records })
    const inOrder = [...records].sort(([one], [other]) => one - other).map(([, record]) => record)
    if (inOrder.length > 0) readBack(inOrder)
  } catch (error) {
    await putBack(directory, written.toReversed(), error)
    throw error
  }
  return outcomes
}

function requireWritable(set: RecordSet, { id, expected, change }: Swap): void {
  const declared = new Set(set.columns)
  const changed = Object.keys(change)
  const isKnown = [...Object.keys(expected), ...changed].every((column) => declared.has(column))
  if (isKnown && changed.length > 0 && id.length === set.id.length) return
  throw new KvxError('BUG', 'a swap names its id and changes columns of its record set')
}

type FileSwap = SwapBatch & {
  readonly indexes: readonly number[]
  readonly outcomes: SwapOutcome[]
  readonly written: Written[]
  readonly company: Company
}

async function swapFile(body: Body, work: FileSwap): Promise<void> {
  const { indexes, outcomes, written, company } = work
  try {
    const { edits, changing } = await compare(body, work)
    if (changing.length === 0) return
    const undo = await inverseOf(body, edits)
    const file: Written = { path: body.path, undo, digest: undefined, placed: undefined, indexes: changing }
    written.push(file)
    const announce = (digest: string): void => {
      file.digest = digest
    }
    const replaced = await body.replace(edits, announce, company)
    if (replaced.outcome === 'changed') {
      file.placed = replaced.facts
      return
    }
    written.splice(written.indexOf(file), 1)
    for (const index of indexes) outcomes[index] = replaced.outcome
  } finally {
    await body.close()
  }
}

/** Which records of the file hold what is expected, and what to write into it. */
async function compare(body: Body, work: FileSwap): Promise<{ edits: Edit[]; changing: number[] }> {
  const records = await body.find(work.set, idsOf(work))
  const edits: Edit[] = []
  const changing: number[] = []
  const done = new Set<FileRecord>()
  for (const index of work.indexes) {
    const swap = work.swaps[index]
    const record = swap && records.get(idKey(swap.id))
    if (swap === undefined || record === undefined) continue
    const isExpected = !done.has(record) && holds(record, swap.expected)
    work.outcomes[index] = isExpected ? 'changed' : 'lost'
    if (!isExpected) continue
    done.add(record)
    edits.push(...record.edits(swap.change))
    changing.push(index)
  }
  return { edits, changing }
}

function idsOf({ swaps, indexes }: Pick<FileSwap, 'swaps' | 'indexes'>): readonly RecordId[] {
  return indexes.flatMap((index) => {
    const swap = swaps[index]
    return swap === undefined ? [] : [swap.id]
  })
}

/** What turns the new bytes into the old ones: the same places, moved by what changed before them. */
async function inverseOf(body: Body, edits: readonly Edit[]): Promise<readonly Edit[]> {
  const undo: Edit[] = []
  let moved = 0
  for (const { start, end, bytes } of edits.toSorted((one, other) => one.start - other.start)) {
    const from = start + moved
    undo.push({ start: from, end: from + bytes.length, bytes: await body.slice(start, end) })
    moved += bytes.length - (end - start)
  }
  return undo
}

function holds(record: FileRecord, cells: Cells): boolean {
  return Object.entries(cells).every(([column, cell]) => sameCell(record.cells[column] ?? null, cell))
}

type ReadBackOf = {
  readonly written: readonly Written[]
  readonly outcomes: SwapOutcome[]
  readonly records: Map<number, StoredRecord>
}

async function readBackOf(
  directory: Directory,
  batch: SwapBatch,
  { written, outcomes, records }: ReadBackOf,
): Promise<void> {
  const reader = new FileReader(directory)
  try {
    for (const file of written) await readWritten(directory, batch, { file, outcomes, records, reader })
  } finally {
    reader.release()
  }
}

type Reading = Omit<ReadBackOf, 'written'> & { readonly file: Written; readonly reader: FileReader }

/**
 * Reads a written file through a fresh open. What another program changed since is its own: those records are
 * lost or gone, and the next sweep looks at them.
 */
async function readWritten(
  directory: Directory,
  { set, swaps }: SwapBatch,
  { file, outcomes, records, reader }: Reading,
): Promise<void> {
  const find = async (body: Body | undefined): Promise<ReadonlyMap<string, FileRecord> | undefined> => {
    if (body !== undefined && isOurs(file, body) && (await body.digest()) !== file.digest) {
      throw new KvxError(
        'READ_BACK_FAILED',
        `${describeTarget(directory.target)}: ${shownPath(file.path)} does not hold what was written, nothing of the batch was kept`,
        { hint: 'look at the disk and its file system with `dmesg | tail`' },
      )
    }
    return await body?.find(set, idsOf({ swaps, indexes: file.indexes }))
  }
  const found = await withBody(directory, file.path, find, reader)
  for (const index of file.indexes) {
    const swap = swaps[index]
    const record = swap && found?.get(idKey(swap.id))
    if (swap === undefined || record === undefined) outcomes[index] = 'gone'
    else if (holds(record, swap.change)) records.set(index, { id: swap.id, cells: record.cells })
    else outcomes[index] = 'lost'
  }
}

/** True while the file is the very one that was put in place. */
function isOurs({ placed }: Written, { facts }: Pick<Body, 'facts'>): boolean {
  return placed !== undefined && sameFile(placed, facts)
}

/** @throws instead of the first error, when a file keeps its new bytes: an operator must know of it */
async function putBack(directory: Directory, newestFirst: readonly Written[], first: unknown): Promise<void> {
  const failed: string[] = []
  for (const file of newestFirst) {
    try {
      await withBody(directory, file.path, async (body) => {
        if (body === undefined || !(await mayBeOurs(file, body))) return
        await body.replace(file.undo, () => {})
      })
    } catch {
      failed.push(shownPath(file.path))
    }
  }
  if (failed.length === 0) return
  const known = isKvxError(first) ? first : new KvxError('IO_ERROR', 'the batch failed')
  throw new KvxError(
    known.code,
    `${describeTarget(directory.target)}: ${known.message}; ${failed.length} files of the batch could not get their old bytes back, e.g. ${failed[0]}`,
    {
      hint: 'mend the cause, then go on with `kvx run resume`, or bring the old bytes back with `kvx run restore`',
      details: { files: failed },
    },
  )
}

async function mayBeOurs(file: Written, body: Body): Promise<boolean> {
  return file.digest !== undefined && (isOurs(file, body) || (await body.digest()) === file.digest)
}
