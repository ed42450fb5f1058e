import { join } from 'node:path'
import { isKvxError } from '../core/errors.ts'
import { factsOf } from '../platform/file-facts.ts'
import { openForReading, requireRegular } from '../platform/files.ts'
import { maxLineBytes } from './entry.ts'

export type LogLine = {
  /** Without the newline; at most `maxLineBytes` + 1 bytes of a longer line. */
  readonly bytes: Buffer
  /** False for bytes after the last newline. */
  readonly terminated: boolean
  /** True when `bytes` is not all of the line. */
  readonly cut: boolean
}

const chunkBytes = 64 * 1024
const newline = 0x0a

export function logPath(directory: string): string {
  return join(directory, 'log.jsonl')
}

/**
 * The lines of a log from its first byte, in flat memory. A log that does not exist has none. Bytes that are
 * appended meanwhile are left out.
 * @throws UNSAFE_FILE_TYPE, IO_ERROR
 */
export async function* readLogLines(path: string): AsyncGenerator<LogLine> {
  yield* splitLines(readChunks(path))
}

async function* readChunks(path: string): AsyncGenerator<Buffer> {
  const handle = await openLog(path)
  if (handle === undefined) return
  try {
    const facts = factsOf(await handle.stat({ bigint: true }))
    requireRegular(path, facts, 'read')
    for (let at = 0; at < facts.size; ) {
      const length = Math.min(chunkBytes, facts.size - at)
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(length), 0, length, at)
      if (bytesRead === 0) return
      yield buffer.subarray(0, bytesRead)
      at += bytesRead
    }
  } finally {
    await handle.close()
  }
}

/** Cuts bytes into lines; keeps no more of a line than the longest entry may have. */
export async function* splitLines(chunks: AsyncIterable<Buffer> | Iterable<Buffer>): AsyncGenerator<LogLine> {
  let parts: Buffer[] = []
  let length = 0
  const keep = (part: Buffer): void => {
    const room = maxLineBytes + 1 - length
    if (room > 0) parts.push(part.subarray(0, room))
    length += part.length
  }
  const take = (terminated: boolean): LogLine => {
    const line = { bytes: Buffer.concat(parts), terminated, cut: length > maxLineBytes + 1 }
    parts = []
    length = 0
    return line
  }
  for await (const chunk of chunks) {
    let start = 0
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      keep(chunk.subarray(start, end))
      yield take(true)
      start = end + 1
    }
    keep(chunk.subarray(start))
  }
  if (length > 0) yield take(false)
}

export type LogEnd = {
  /** The last bytes of the log, or all of them. */
  readonly bytes: Buffer
  /** True when the log has more bytes before these. */
  readonly more: boolean
}

/** The last `length` bytes of the log at most; no bytes when it does not exist. */
export async function readLogEnd(path: string, length: number): Promise<LogEnd> {
  const handle = await openLog(path)
  if (handle === undefined) return { bytes: Buffer.alloc(0), more: false }
  try {
    const facts = factsOf(await handle.stat({ bigint: true }))
    requireRegular(path, facts, 'read')
    const start = Math.max(0, facts.size - length)
    const bytes = Buffer.allocUnsafe(facts.size - start)
    let filled = 0
    while (filled < bytes.length) {
      const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled)
      if (bytesRead === 0) break
      filled += bytesRead
    }
    return { bytes: bytes.subarray(0, filled), more: start > 0 }
  } finally {
    await handle.close()
  }
}

type LogHandle = Awaited<ReturnType<typeof openForReading>>

async function openLog(path: string): Promise<LogHandle | undefined> {
  try {
    return await openForReading(path)
  } catch (error) {
    if (isKvxError(error, 'FILE_NOT_FOUND')) return undefined
    throw error
  }
}
