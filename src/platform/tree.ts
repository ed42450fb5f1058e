import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, shownPath } from './file-errors.ts'

/** A file below a directory, by its way from there; links are told and never followed. */
export type TreeEntry = { readonly name: string; readonly isLink: boolean }

export type Tree = {
  readonly entries: readonly TreeEntry[]
  /** Directories that could not be listed, and names that no string reaches. */
  readonly unread: readonly string[]
}

/** Everything below a directory in a fixed order, without the folders of these names. */
export function listTree(directory: string, leaveOut: ReadonlySet<string>): Tree {
  const entries: TreeEntry[] = []
  const unread: string[] = []
  const visit = (folder: string): void => {
    for (const entry of namesIn(directory, folder, unread)) {
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (entry.name.includes('\ufffd')) unread.push(shownPath(join(directory, name)))
      else if (entry.isDirectory()) {
        if (!leaveOut.has(entry.name)) visit(name)
      } else if (entry.isFile() || entry.isSymbolicLink()) {
        entries.push({ name, isLink: entry.isSymbolicLink() })
      }
    }
  }
  visit('')
  return { entries, unread }
}

function namesIn(directory: string, folder: string, unread: string[]) {
  try {
    const found = readdirSync(join(directory, folder), { withFileTypes: true })
    return found.sort((one, other) => (one.name < other.name ? -1 : 1))
  } catch (error) {
    if (folder === '') throw fileError(error, 'list', directory)
    unread.push(shownPath(join(directory, folder)))
    return []
  }
}

const readFlags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW

/**
 * Reads a regular file into a buffer that is used again for the next one: for looks at many small files, which
 * wait for one system call after the other anyway.
 * @returns its size; undefined for what is no regular file, has more bytes than fit, or cannot be read
 */
export function readInto(path: string, buffer: Buffer): number | undefined {
  let descriptor: number
  try {
    descriptor = openSync(path, readFlags)
  } catch {
    return undefined
  }
  try {
    const facts = fstatSync(descriptor)
    if (!facts.isFile() || facts.size > buffer.length) return undefined
    let length = 0
    for (let read = 1; read > 0 && length < buffer.length; length += read) {
      read = readSync(descriptor, buffer, length, buffer.length - length, null)
    }
    return length
  } catch {
    return undefined
  } finally {
    closeSync(descriptor)
  }
}
