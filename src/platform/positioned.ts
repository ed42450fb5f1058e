import { readSync, writeSync } from 'node:fs'
import { KvxError } from '../core/errors.ts'

/**
 * Fills a buffer from a place of an open file. It waits: for threads that have nothing else to do.
 * @throws the error of the system, or KvxError IO_ERROR where the file ends before
 */
export function readAllAt(fd: number, into: Uint8Array, position: number): void {
  for (let done = 0; done < into.length; ) {
    const bytes = readSync(fd, into, done, into.length - done, position + done)
    if (bytes === 0) throw new KvxError('IO_ERROR', 'the file is shorter than it was')
    done += bytes
  }
}

/** Writes all of a buffer to a place of an open file, likewise. */
export function writeAllAt(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    const written = writeSync(fd, bytes, done, bytes.length - done, position + done)
    if (written === 0) throw new KvxError('IO_ERROR', 'the system writes no more bytes')
    done += written
  }
}
