import { KvxError } from '../../core/errors.ts'
import type { Cell, RecordId, RecordSet } from '../store.ts'
import { type DirectoryTarget, fileShapeError, shapeError } from './directory-errors.ts'
import {
  type FileRecord,
  idKey,
  type Member,
  type RecordFormat,
  requirePathId,
  type StoredFile,
} from './format.ts'
import { JsonObject, memberPath, type Refuse } from './json-member.ts'

/** The whole document, as JSONPath writes it. */
const whole = '$'

/** One document of JSON a file: columns are its members, the id is the file's path. */
export const jsonFormat: RecordFormat = {
  whole,
  isShared: false,
  isOpaque: false,
  membersOf,
  check(target, set) {
    requirePathId(target, set)
    requireMembers(target, set.columns)
  },
  *records(file, set) {
    yield recordOf(file, set, { start: 0, end: file.bytes.length, own: { path: file.path } })
  },
}

/** One object of JSON a line. The id is members of the object, or `line`; with `path` where there are several files. */
export const jsonLinesFormat: RecordFormat = {
  whole,
  isShared: true,
  isOpaque: false,
  membersOf,
  check(target, set, isOneFile) {
    requireMembers(target, [...set.id, ...set.columns])
    const hint = 'say e.g. `id: [path, MEMBER]` or `id: [path, line]` in kvx.yaml'
    if (!isOneFile && !set.id.includes('path')) {
      throw shapeError(target, 'the pattern can match several files, so the id needs path', { hint })
    }
    if (set.id.every((column) => column === 'path')) {
      throw shapeError(target, 'path names a file, not one of its lines', { hint })
    }
  },
  *records(file, set) {
    const seen = new Set<string>()
    for (const { start, end, line } of linesOf(file.bytes)) {
      const record = recordOf(file, set, { start, end, own: { path: file.path, line } })
      const key = idKey(record.id)
      if (seen.has(key)) {
        throw fileShapeError(file.target, file.path, `line ${line} has the id of an earlier one`, start)
      }
      seen.add(key)
      yield record
    }
  },
}

function requireMembers(target: DirectoryTarget, columns: readonly string[]): void {
  const wrong = columns.find((column) => column === whole || memberPath(column) === undefined)
  if (wrong === undefined) return
  throw shapeError(target, `${wrong} names no member`, {
    hint: 'a column is `member`, `member.inner`, or a JSON pointer: `/member/inner`',
  })
}

const refuseRead: Refuse = (_, reason) => {
  throw new KvxError('BUG', `a document that was read is none: ${reason}`)
}

/** Members that are named by a column; one that cannot be read is none. Columns of the record's place are pointers. */
function membersOf(document: Buffer): readonly Member[] {
  return new JsonObject(document, refuseRead).members(['path', 'line'])
}

type Line = { readonly start: number; readonly end: number; readonly line: bigint }

/** Lines that hold something, without their ends. An empty one stays where it is and is no record. */
function* linesOf(bytes: Buffer): Generator<Line> {
  let line = 1n
  for (let start = 0; start < bytes.length; line++) {
    const newline = bytes.indexOf(0x0a, start)
    const end = newline === -1 ? bytes.length : newline
    if (bytes.subarray(start, end).some((byte) => byte > 0x20)) yield { start, end, line }
    start = end + 1
  }
}

type Place = {
  readonly start: number
  readonly end: number
  /** Columns that say where a record lies; a member of the same name is reached by its pointer. */
  readonly own: Readonly<Record<string, string | bigint>>
}

function recordOf(file: StoredFile, set: RecordSet, { start, end, own }: Place): FileRecord {
  const refuse: Refuse = (at, reason) => {
    throw fileShapeError(file.target, file.path, reason, start + at)
  }
  const object = new JsonObject(file.bytes.subarray(start, end), refuse)
  const cell = (column: string): Cell => own[column] ?? object.cell(column, set.sampled)
  return {
    id: idOf(set, object, cell, refuse),
    cells: Object.fromEntries(set.columns.map((column) => [column, cell(column)])),
    start,
    end,
    edits: (change) =>
      Object.entries(change).flatMap(([column, next]) => {
        if (own[column] !== undefined) refuse(0, `${column} is no member, so it cannot change`)
        const edits = object.edit(column, next)
        return edits.map((edit) => ({ ...edit, start: start + edit.start, end: start + edit.end }))
      }),
  }
}

function idOf(set: RecordSet, object: JsonObject, cell: (column: string) => Cell, refuse: Refuse): RecordId {
  return set.id.map((column) => {
    const value = cell(column)
    if (typeof value === 'string' && value.isWellFormed()) return value
    if (typeof value === 'bigint' && BigInt.asIntN(54, value) === value) return value
    const problem =
      typeof value === 'bigint'
        ? 'is a number beyond 2^53, which other programs round'
        : 'is neither text nor an integer'
    return refuse(
      object.offset(column),
      `the id ${column} ${value === null ? 'is missing or null' : problem}`,
    )
  })
}
