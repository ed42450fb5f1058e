import { createHash } from 'node:crypto'
import { dirname, join } from 'node:path'
import { isKvxError } from '../../core/errors.ts'
import { openStreamReader, type StreamReader, writeStreamed } from '../../platform/stream-file.ts'
import type { RecordSet } from '../store.ts'
import type { Body } from './body.ts'
import { countRecords, fixedRecord, indexOf, type RecordSizes, startOf } from './fixed-records.ts'
import { type Edit, type FileRecord, idKey } from './format.ts'
import type { Reached } from './held-folders.ts'
import { type Directory, replacing } from './record-files.ts'

/** Pieces in which a file is copied; records are read so many bytes at a time, one at least. */
const pieceBytes = 1_048_576

/** A file of fixed-size records of any size: memory holds one piece of it, and what a batch changes. */
export async function openStreamed(
  directory: Directory,
  path: string,
  sizes: RecordSizes,
): Promise<Body | undefined> {
  const opened = await open(directory, path)
  if (opened === undefined) return undefined
  const { reached, reader } = opened
  const { facts } = reader
  const { target } = directory
  const count = (): number => countRecords(target, { path, size: facts.size }, sizes)
  return {
    path,
    facts,
    records: (set) => recordsIn(reader, set, { path, sizes, count: count() }),
    find: async (set, ids) => {
      const found = new Map<string, FileRecord>()
      for (const id of ids) {
        const index = indexOf(set, id)
        if (index === undefined || index >= count()) continue
        const bytes = await reader.read(startOf(index, sizes), sizes.recordSize)
        found.set(idKey(id), fixedRecord({ path, index, bytes }, set, sizes))
      }
      return found
    },
    slice: async (start, end) => reader.read(start, end - start),
    digest: async () => digestOf(reader),
    replace: async (edits, announce) => {
      directory.touched.add(dirname(join(directory.target.path, path)))
      return await replacing(reached.path, facts, async () =>
        writeStreamed(reached.path, {
          expected: facts,
          access: { mode: 0o600 }, // of a new file; an existing one keeps its own
          fill: async ({ write }) => {
            announce(await copyWith(reader, edits, write))
            await reader.requireUnchanged()
          },
        }),
      )
    },
    close: async () => {
      await reader.close()
      reached.release()
    },
  }
}

type Opened = { readonly reached: Reached; readonly reader: StreamReader }

async function open({ folders }: Directory, path: string): Promise<Opened | undefined> {
  let reached: Reached | undefined
  try {
    reached = folders.reach(path)
    return { reached, reader: await openStreamReader(reached.path) }
  } catch (error) {
    reached?.release()
    if (isKvxError(error, 'FILE_NOT_FOUND')) return undefined
    throw error
  }
}

type Cut = { readonly path: string; readonly sizes: RecordSizes; readonly count: number }

async function* recordsIn(
  reader: StreamReader,
  set: RecordSet,
  { path, sizes, count }: Cut,
): AsyncGenerator<FileRecord> {
  const { recordSize } = sizes
  const each = Math.max(1, Math.floor(pieceBytes / recordSize))
  for (let first = 0; first < count; first += each) {
    const here = Math.min(each, count - first)
    const piece = await reader.read(startOf(first, sizes), here * recordSize)
    for (let at = 0; at < here; at++) {
      const bytes = piece.subarray(at * recordSize, (at + 1) * recordSize)
      yield fixedRecord({ path, index: first + at, bytes }, set, sizes)
    }
  }
}

async function digestOf(reader: StreamReader): Promise<string> {
  return await copyWith(reader, [], async () => {})
}

/** The file with these places replaced, a piece at a time. @returns the digest of what was written */
async function copyWith(
  reader: StreamReader,
  edits: readonly Edit[],
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<string> {
  const hash = createHash('sha256')
  const give = async (bytes: Uint8Array): Promise<void> => {
    hash.update(bytes)
    await write(bytes)
  }
  const piece = Buffer.allocUnsafeSlow(pieceBytes)
  let at = 0
  const copyTo = async (end: number): Promise<void> => {
    while (at < end) {
      const length = Math.min(pieceBytes, end - at)
      await give(await reader.read(at, length, piece))
      at += length
    }
  }
  for (const { start, end, bytes } of edits.toSorted((one, other) => one.start - other.start)) {
    await copyTo(start)
    await give(bytes)
    at = end
  }
  await copyTo(reader.facts.size)
  return hash.digest('hex')
}
