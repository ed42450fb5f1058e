import { KvxError } from '../../core/errors.ts'
import type { RecordId, RecordSet } from '../store.ts'
import { type DirectoryTarget, fileShapeError, shapeError } from './directory-errors.ts'
import type { FileRecord, RecordFormat } from './format.ts'

/** How a file of fixed-size records is cut: bytes that are no record at its start, and the size of each record. */
export type RecordSizes = { readonly recordSize: number; readonly headerSize: number }

const content = 'content'

/**
 * Consecutive records of one size, e.g. the pages of a storage engine. The column `content` is a record's bytes,
 * the id its number from 0, with `path` where there are several files.
 */
export function fixedRecords(sizes: RecordSizes): RecordFormat {
  return {
    whole: content,
    isShared: true,
    isOpaque: false,
    sizes,
    check: checkSet,
    *records({ target, path, bytes }, set) {
      const count = countRecords(target, { path, size: bytes.length }, sizes)
      for (let index = 0; index < count; index++) {
        const start = startOf(index, sizes)
        const own = bytes.subarray(start, start + sizes.recordSize)
        yield fixedRecord({ path, index, bytes: own }, set, sizes)
      }
    },
  }
}

function checkSet(target: DirectoryTarget, set: RecordSet, isOneFile: boolean): void {
  const id = set.id.toSorted().join()
  if (id !== 'index,path' && !(isOneFile && id === 'index')) {
    throw shapeError(target, `the id of fixed-size records is path and index, not ${set.id.join(', ')}`, {
      hint: 'say `id: [path, index]` in kvx.yaml, or leave `id` out; `id: index` is for a pattern that names one file',
    })
  }
  const stranger = set.columns.find((column) => column !== content)
  if (stranger === undefined) return
  throw shapeError(target, `a fixed-size record has no column ${stranger}`, {
    hint: 'a record is one value: say `column: content`, or leave `column` out',
  })
}

export function startOf(index: number, { recordSize, headerSize }: RecordSizes): number {
  return headerSize + index * recordSize
}

/** @throws STORE_SHAPE with the size of a file that the records do not fill */
export function countRecords(
  target: DirectoryTarget,
  { path, size }: { readonly path: string; readonly size: number },
  { recordSize, headerSize }: RecordSizes,
): number {
  const rest = size - headerSize
  if (rest >= 0 && rest % recordSize === 0) return rest / recordSize
  const header = headerSize === 0 ? '' : `a header of ${headerSize} bytes and `
  throw fileShapeError(
    target,
    path,
    `has ${size} bytes, which is not ${header}whole records of ${recordSize} bytes`,
  )
}

type Own = { readonly path: string; readonly index: number; readonly bytes: Uint8Array }

/** A record from its own bytes. */
export function fixedRecord({ path, index, bytes }: Own, set: RecordSet, sizes: RecordSizes): FileRecord {
  const start = startOf(index, sizes)
  const end = start + sizes.recordSize
  return {
    id: set.id.map((column) => (column === 'path' ? path : BigInt(index))),
    cells: Object.fromEntries(set.columns.map((column) => [column, bytes])),
    start,
    end,
    edits: (change) => {
      const next = change[content]
      if (next === undefined) return []
      if (!(next instanceof Uint8Array)) throw new KvxError('BUG', 'the content of a record is bytes')
      if (next.length === sizes.recordSize) return [{ start, end, bytes: next }]
      throw new KvxError(
        'STORE_SHAPE',
        `record ${index} would have ${next.length} bytes instead of ${sizes.recordSize}`,
        { hint: 'A record of fixed size keeps its size: another AEAD or nonce length has no room there.' },
      )
    },
  }
}

/** The number of a record in its file, undefined for an id that no record can have. */
export function indexOf(set: RecordSet, id: RecordId): number | undefined {
  const index = id[set.id.indexOf('index')]
  if (typeof index !== 'bigint' || index < 0n || index > BigInt(Number.MAX_SAFE_INTEGER)) return undefined
  return Number(index)
}
