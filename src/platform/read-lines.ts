import { open } from 'node:fs/promises'
import { fileError } from './file-errors.ts'

const newline = 0x0a

/**
 * The lines of a file, without their newline, a chunk of the file in memory at a time. A last line without a
 * newline is given as `complete: false`: it may be the torn end of a write that a crash cut off.
 * @param path a file of kvx's own
 * @throws KvxError FILE_NOT_FOUND, IO_ERROR
 */
export async function* readLines(
  path: string,
): AsyncGenerator<{ readonly line: Buffer; readonly complete: boolean }> {
  let rest: Buffer = Buffer.alloc(0)
  try {
    const handle = await open(path, 'r')
    try {
      for (;;) {
        const chunk = Buffer.allocUnsafe(262_144)
        const { bytesRead } = await handle.read(chunk, 0, chunk.length, null)
        if (bytesRead === 0) break
        rest = Buffer.concat([rest, chunk.subarray(0, bytesRead)])
        for (let end = rest.indexOf(newline); end !== -1; end = rest.indexOf(newline)) {
          yield { line: rest.subarray(0, end), complete: true }
          rest = rest.subarray(end + 1)
        }
      }
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw fileError(error, 'read', path)
  }
  if (rest.length > 0) yield { line: rest, complete: false }
}
