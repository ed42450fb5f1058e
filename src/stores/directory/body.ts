import { hash } from 'node:crypto'
import type { Exchanged } from '../../platform/exchange-file.ts'
import type { FileFacts } from '../../platform/file-facts.ts'
import type { ReadFile } from '../../platform/files.ts'
import type { Company } from '../../platform/together.ts'
import type { RecordId, RecordSet } from '../store.ts'
import { applyEdits, type Edit, type FileRecord, idKey } from './format.ts'
import { type Directory, FileReader, readRecordFile, replaceRecordFile } from './record-files.ts'
import { openStreamed } from './streamed-body.ts'

/** A file of the store as it was opened: the same bytes however often its name is given to another. */
export type Body = {
  readonly path: string
  readonly facts: FileFacts
  /** In their order. @throws STORE_SHAPE as the format does */
  records(set: RecordSet): AsyncIterable<FileRecord>
  /** Those of these records that are there, by their {@link idKey}. */
  find(set: RecordSet, ids: readonly RecordId[]): Promise<ReadonlyMap<string, FileRecord>>
  slice(start: number, end: number): Promise<Buffer>
  /** SHA-256 of all bytes. */
  digest(): Promise<string>
  /**
   * Replaces these places in the file, which must still be as it was opened. Durable when it returns.
   * @param announce gets the digest of the new bytes before they can have the file's name
   * @param company other files that are replaced at the same time
   */
  replace(edits: readonly Edit[], announce: (digest: string) => void, company?: Company): Promise<Exchanged>
  close(): Promise<void>
}

/**
 * @param reader of one who opens several
 * @returns undefined when there is no such file
 * @throws STORE_SHAPE, UNSAFE_FILE_TYPE, IO_ERROR
 */
export async function openBody(
  directory: Directory,
  path: string,
  reader?: FileReader,
): Promise<Body | undefined> {
  const { sizes } = directory.format
  return sizes !== undefined && directory.isStreamed
    ? await openStreamed(directory, path, sizes)
    : wholeBody(directory, path, reader === undefined ? readRecordFile(directory, path) : reader.read(path))
}

/** Opens a file for the time of `use`. */
export async function withBody<T>(
  directory: Directory,
  path: string,
  use: (body: Body | undefined) => Promise<T>,
  reader?: FileReader,
): Promise<T> {
  const body = await openBody(directory, path, reader)
  try {
    return await use(body)
  } finally {
    await body?.close()
  }
}

/** The files of a group that are there, all of them opened before the first is touched. */
export async function openBodies(directory: Directory, paths: readonly string[]): Promise<readonly Body[]> {
  const bodies: Body[] = []
  const reader = new FileReader(directory)
  try {
    for (const path of paths) {
      const body = await openBody(directory, path, reader)
      if (body !== undefined) bodies.push(body)
    }
    return bodies
  } catch (error) {
    for (const body of bodies) await body.close()
    throw error
  } finally {
    reader.release()
  }
}

/** A file that was read whole. */
function wholeBody(directory: Directory, path: string, read: ReadFile | undefined): Body | undefined {
  if (read === undefined) return undefined
  const { bytes, facts } = read
  const recordsOf = (set: RecordSet): Iterable<FileRecord> =>
    directory.format.records({ target: directory.target, path, bytes }, set)
  return {
    path,
    facts,
    async *records(set) {
      yield* recordsOf(set)
    },
    async find(set, ids) {
      const keys = new Set(ids.map(idKey))
      const found = new Map<string, FileRecord>()
      for (const record of recordsOf(set)) {
        const key = idKey(record.id)
        if (keys.has(key)) found.set(key, record)
      }
      return found
    },
    slice: async (start, end) => bytes.subarray(start, end),
    digest: async () => sha256(bytes),
    replace: async (edits, announce, company) => {
      const next = applyEdits(bytes, edits)
      announce(sha256(next))
      return await replaceRecordFile(directory, { path, read, company }, next)
    },
    close: async () => {},
  }
}

function sha256(bytes: Uint8Array): string {
  return hash('sha256', bytes)
}
