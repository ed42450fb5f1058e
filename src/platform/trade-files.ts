import type { FileHandle } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { readAcls, requireSameAcl } from './acl.ts'
import { canExchange, exchangeNames } from './exchange-names.ts'
import { shownPath } from './file-errors.ts'
import { factsOf } from './file-facts.ts'
import { fsyncAfterChange, openForReading } from './files.ts'

/**
 * Two files take each other's names in one step, durably: at every instant both are there, whole, one under each
 * name. Only where they are open to the very same people, for access goes with a file and not with its name.
 * @returns false where it cannot be done here, or may not; then nothing was changed
 * @throws KvxError DURABILITY_UNKNOWN: they have traded, but a power cut may still undo it
 */
export async function tradeFiles(one: string, other: string): Promise<boolean> {
  const [first, second] = [resolve(one), resolve(other)]
  if (!(await canExchange()) || !(await sameAccess(first, second))) return false
  try {
    if (!(await exchangeNames(first, second))) return false
  } catch {
    return false // refused as a whole: two directories of different file systems, or one that knows no exchange
  }
  for (const directory of new Set([dirname(first), dirname(second)]))
    await fsyncAfterChange(directory, `${shownPath(one)} and ${shownPath(other)} have changed places`)
  return true
}

async function sameAccess(one: string, other: string): Promise<boolean> {
  const handles: FileHandle[] = []
  try {
    for (const path of [one, other]) handles.push(await openForReading(path))
    const [first, second] = await Promise.all(
      handles.map(async (handle) => factsOf(await handle.stat({ bigint: true }))),
    )
    if (first === undefined || second === undefined) return false
    if (first.nlink !== 1 || second.nlink !== 1 || first.mode !== second.mode) return false
    if (first.uid !== second.uid || first.gid !== second.gid) return false
    const [acl, otherAcl] = await readAcls(handles.map(({ fd }) => fd))
    if (acl === undefined || otherAcl === undefined) return false
    requireSameAcl(acl, otherAcl)
    return true
  } catch {
    return false // what stands in the way is told by whoever writes them one after the other
  } finally {
    for (const handle of handles) await handle.close().catch(() => undefined)
  }
}
