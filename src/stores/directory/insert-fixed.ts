import { KvxError } from '../../core/errors.ts'
import { shownPath } from '../../platform/file-errors.ts'
import type { RecordSet, StoredRecord } from '../store.ts'
import { type Body, withBody } from './body.ts'
import { describeTarget, fileShapeError } from './directory-errors.ts'
import { countRecords, indexOf } from './fixed-records.ts'
import { idKey } from './format.ts'
import type { Directory } from './record-files.ts'

/** `none`: there is no file, and the record may be the first of a new one. `again`: another program was faster. */
type Outcome = 'inserted' | 'present' | 'none' | 'again'

type Missing = { readonly record: StoredRecord; readonly path: string }

/**
 * Brings a fixed-size record back at the end of its file: what was cut off there returns in the order of the
 * numbers. A record has no other place, since its number says where it lies.
 */
export async function insertFixed(directory: Directory, set: RecordSet, missing: Missing): Promise<Outcome> {
  const outcome = await withBody(directory, missing.path, async (body) => {
    if (body !== undefined) return await append(directory, set, { ...missing, body })
    requireNext(directory, set, { ...missing, count: 0, hasHeader: false })
    return 'none'
  })
  if (outcome === 'inserted') await requireThere(directory, set, missing)
  return outcome
}

async function append(
  directory: Directory,
  set: RecordSet,
  { record, path, body }: Missing & { readonly body: Body },
): Promise<Outcome> {
  const { sizes } = directory.format
  if (sizes === undefined) throw new KvxError('BUG', 'only records of one size have numbers')
  if ((await body.find(set, [record.id])).size > 0) return 'present'
  const { size } = body.facts
  const count = countRecords(directory.target, { path, size }, sizes)
  requireNext(directory, set, { record, path, count, hasHeader: true })
  const { outcome } = await body.replace([{ start: size, end: size, bytes: contentOf(record) }], () => {})
  return outcome === 'changed' ? 'inserted' : 'again'
}

type Position = Missing & { readonly count: number; readonly hasHeader: boolean }

function requireNext(directory: Directory, set: RecordSet, position: Position): void {
  const { record, path, count, hasHeader } = position
  const { sizes } = directory.format
  const bytes = contentOf(record)
  if (bytes.length !== sizes?.recordSize) {
    throw fileShapeError(directory.target, path, `a record to bring back has ${bytes.length} bytes`)
  }
  if (!hasHeader && sizes.headerSize > 0) {
    throw fileShapeError(directory.target, path, 'is missing, and nobody knows the header that it had')
  }
  const index = indexOf(set, record.id)
  if (index === count) return
  throw fileShapeError(
    directory.target,
    path,
    `record ${String(index)} cannot come back: only ${count} records are there, and those between are missing`,
  )
}

/** The bytes of a record that is brought back. */
export function contentOf({ cells }: StoredRecord): Buffer {
  const { content } = cells
  if (content instanceof Uint8Array) return Buffer.from(content)
  throw new KvxError('BUG', 'a record to bring back is whole')
}

/** Reads the record through a fresh open. @throws READ_BACK_FAILED */
async function requireThere(directory: Directory, set: RecordSet, { record, path }: Missing): Promise<void> {
  const bytes = contentOf(record)
  await withBody(directory, path, async (body) => {
    const found = (await body?.find(set, [record.id]))?.get(idKey(record.id))
    if (found !== undefined && bytes.equals((await body?.slice(found.start, found.end)) ?? Buffer.alloc(0)))
      return
    throw new KvxError(
      'READ_BACK_FAILED',
      `${describeTarget(directory.target)}: a record that was brought back is not in ${shownPath(path)}`,
      { hint: 'look at the disk, and for a program that writes there' },
    )
  })
}
