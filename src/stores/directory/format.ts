import type { Cells, RecordId, RecordSet } from '../store.ts'
import { type DirectoryTarget, shapeError } from './directory-errors.ts'
import type { RecordSizes } from './fixed-records.ts'

/** One file of the store as it was read; `path` is relative to the store's directory. */
export type StoredFile = { readonly target: DirectoryTarget; readonly path: string; readonly bytes: Buffer }

/** New bytes for `start` to `end` of a file. */
export type Edit = { readonly start: number; readonly end: number; readonly bytes: Uint8Array }

/** One record as it lies in a file. */
export type FileRecord = {
  readonly id: RecordId
  /** The columns of the record set. */
  readonly cells: Cells
  /** The record's own bytes in the file. */
  readonly start: number
  readonly end: number
  /** @throws STORE_SHAPE when the file has no place for a column */
  edits(change: Cells): readonly Edit[]
}

/** A member that is a column; `kind` is a word for people. Objects are columns too, their JSON being the cell. */
export type Member = {
  readonly column: string
  readonly kind: 'text' | 'number' | 'null' | 'truth' | 'object'
}

/** What a file holds: one value, one document of JSON, a document a line, or records of one size. */
export type RecordFormat = {
  /** Under this name a whole record's bytes stand among the fetched cells. */
  readonly whole: string
  /** Whether a file holds several records, so that one that was missing is appended to it. */
  readonly isShared: boolean
  /** Whether a file needs no look inside to be one record. */
  readonly isOpaque: boolean
  /** Of fixed-size records: where each one lies follows from its number. */
  readonly sizes?: RecordSizes
  /** Of documents: the members of one, in its order. */
  membersOf?(document: Buffer): readonly Member[]
  /**
   * @param isOneFile whether the pattern can match a single file only
   * @throws STORE_SHAPE for ids and columns that such records cannot have
   */
  check(target: DirectoryTarget, set: RecordSet, isOneFile: boolean): void
  /**
   * The records of a file in their order.
   * @throws STORE_SHAPE with the offset of what is no record, or of an id that is none or stands twice
   */
  records(file: StoredFile, set: RecordSet): Iterable<FileRecord>
}

/** The bytes of a file with these places replaced; everything between them stays as it is. */
export function applyEdits(bytes: Buffer, edits: readonly Edit[]): Buffer {
  const parts: Uint8Array[] = []
  let at = 0
  for (const edit of edits.toSorted((one, other) => one.start - other.start)) {
    parts.push(bytes.subarray(at, edit.start), edit.bytes)
    at = edit.end
  }
  return Buffer.concat([...parts, bytes.subarray(at)])
}

/** A file that is one record, named by its path. @throws STORE_SHAPE for another id */
export function requirePathId(target: DirectoryTarget, set: RecordSet): void {
  if (set.id.length === 1 && set.id[0] === 'path') return
  throw shapeError(target, `the id of its records is the path of their file, not ${set.id.join(', ')}`, {
    hint: 'say `id: path` in kvx.yaml, or leave `id` out',
  })
}

/** An id as a key of a map. */
export function idKey(id: RecordId): string {
  return JSON.stringify(id.map((cell) => (typeof cell === 'bigint' ? [String(cell)] : cell)))
}
