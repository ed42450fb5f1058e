import { closeSync, constants, openSync, readlinkSync, readSync } from 'node:fs'
import { KvxError } from '../core/errors.ts'
import { fileError, showInPlaceOf, shownPath } from './file-errors.ts'
import { type FileFacts, openFacts } from './file-facts.ts'
import { closeQuietly, type ReadFile, requireRegular } from './files.ts'
import { pathOnly } from './open-files.ts'

const readFlags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW

/** Small files share a buffer: one for each is more work for the collector than reading it. */
const sharedBytes = 131_072
const largestShared = sharedBytes / 4

/** Room for what is read, of one who reads several files. */
export class Room {
  #free = Buffer.alloc(0)
  #isFirst = true

  take(size: number): Buffer {
    // Who reads one file alone needs no more.
    if (this.#isFirst || size > largestShared) {
      this.#isFirst = false
      return Buffer.allocUnsafeSlow(size)
    }
    if (size > this.#free.length) this.#free = Buffer.allocUnsafeSlow(sharedBytes)
    const room = this.#free.subarray(0, size)
    this.#free = this.#free.subarray(size)
    return room
  }
}

export type HeldReading = {
  /** For messages. */
  readonly path: () => string
  /** Refuses by what was opened, before anything of it is read. */
  readonly require: (facts: FileFacts) => void
  readonly room: Room
}

/**
 * A folder that is held open: what is read through it lies in that very folder, whatever is put in its place or in
 * that of a folder above meanwhile. One question to the kernel says by which path it is reached without a link.
 */
export class HeldFolder {
  readonly #fd: number
  readonly #path: string
  #forget: (() => void) | undefined

  /** @throws KvxError FILE_NOT_FOUND, IO_ERROR */
  constructor(path: string) {
    try {
      this.#fd = openSync(path, pathOnly | constants.O_DIRECTORY)
      this.#path = path
    } catch (error) {
      throw fileError(error, 'read', path)
    }
  }

  /** The canonical path of the folder at this moment. */
  canonicalPath(): string {
    return readlinkSync(this.#reached)
  }

  get #reached(): string {
    return `/proc/self/fd/${this.#fd}`
  }

  /** A path by which a file of the folder is reached until `close`; messages show it by the name of the folder. */
  reach(name: string): string {
    this.#forget ??= showInPlaceOf(this.#reached, this.#path)
    return `${this.#reached}/${name}`
  }

  /**
   * Reads a whole regular file of the folder, which is refused by what was opened.
   * @throws KvxError FILE_NOT_FOUND, UNSAFE_FILE_TYPE (type, link), IO_ERROR (changed while it was read)
   */
  readFile(name: string, { path, require, room }: HeldReading): ReadFile {
    let fd: number | undefined
    try {
      fd = openSync(`${this.#reached}/${name}`, readFlags)
      const facts = openFacts(fd)
      if (facts.type !== 'file') requireRegular(path(), facts, 'read')
      require(facts)
      return { bytes: readExactly(fd, path, room.take(facts.size + 1)), facts }
    } catch (error) {
      throw fileError(error, 'read', path())
    } finally {
      if (fd !== undefined) closeQuietly(fd)
    }
  }

  close(): void {
    this.#forget?.()
    closeSync(this.#fd)
  }
}

/** The same paths for another program, which gets the descriptors of the held folders among them in this order. */
export function reachedByChild(paths: readonly string[]): {
  readonly fds: readonly number[]
  readonly paths: readonly string[]
} {
  const fds: number[] = []
  const reached = paths.map((path) => {
    const [, number, rest] = /^\/proc\/self\/fd\/(\d+)(\/.*)$/s.exec(path) ?? []
    if (number === undefined) return path
    if (!fds.includes(Number(number))) fds.push(Number(number))
    return `/proc/self/fd/${3 + fds.indexOf(Number(number))}${rest}`
  })
  return { fds, paths: reached }
}

/** @param bytes have room for one more, which shows whether the file grew */
function readExactly(fd: number, path: () => string, bytes: Buffer): Buffer {
  const size = bytes.length - 1
  let length = 0
  while (length <= size) {
    const bytesRead = readSync(fd, bytes, length, size + 1 - length, length)
    length += bytesRead
    // A regular file gives less than was asked for where it ends.
    if (bytesRead === 0 || length === size) break
  }
  if (length === size) return bytes.subarray(0, size)
  bytes.fill(0)
  throw new KvxError('IO_ERROR', `cannot read ${shownPath(path())}: it changed while it was read`, {
    hint: 'run the command again when nothing else writes the file',
  })
}
