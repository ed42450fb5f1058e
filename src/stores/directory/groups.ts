import { join } from 'node:path'
import { sizeNow } from '../../platform/files.ts'
import { openFilesLimit } from '../../platform/open-files.ts'
import type { Directory } from './record-files.ts'

/** So many files are replaced together at most: two short programs and one sync of their directory for all of them. */
const most = 512
/** Where each file needs programs of its own, so many of them run at once. */
const mostAlone = 4
/** Memory holds the old and the new bytes of a group. */
const groupBytes = 4 * 1_048_576
const smallBytes = 1_048_576

/** Each file of a group has two or three descriptors; the rest is for the process and the programs that it starts. */
const openPerFile = 3
const openBesides = 64

/** The files of a batch in the groups in which they are replaced: small ones together, each other one alone. */
export function groupsOf(
  directory: Directory,
  paths: readonly (string | undefined)[],
): readonly (readonly string[])[] {
  const atOnce = filesAtOnce(directory)
  const groups: string[][] = []
  const large: string[][] = []
  let [count, bytes] = [atOnce, 0]
  for (const path of paths) {
    if (path === undefined) continue
    const size = sizeNow(join(directory.target.path, path))
    if (size > smallBytes) {
      large.push([path])
      continue
    }
    if (count === atOnce || bytes + size > groupBytes) {
      groups.push([])
      ;[count, bytes] = [0, 0]
    }
    groups.at(-1)?.push(path)
    count++
    bytes += size
  }
  return [...groups, ...large]
}

function filesAtOnce({ isOnline, isStreamed }: Directory): number {
  if (isOnline || isStreamed) return mostAlone
  return Math.max(1, Math.min(most, Math.floor((openFilesLimit() - openBesides) / openPerFile)))
}
