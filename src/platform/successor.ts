import type { FileHandle } from 'node:fs/promises'
import { KvxError } from '../core/errors.ts'
import { readAcls, requireSameAcl, toolFileError } from './acl.ts'
import { runChild, toolFailed } from './child.ts'
import { quotedPath, shownPath } from './file-errors.ts'
import { type FileFacts, factsOf } from './file-facts.ts'

/** Gives a new file, open and not yet named, what it takes from the one whose place it gets. */
export type Finish = (handle: FileHandle) => Promise<void>

/** A file with several names is not replaced: only one of them would get the new content. */
export function requireSoleName(target: string, facts: FileFacts): void {
  if (facts.nlink === 1) return
  const path = shownPath(target)
  throw new KvxError(
    'UNSAFE_FILE_TYPE',
    `cannot replace ${path}: it has ${facts.nlink} names, the others would keep the old content`,
    {
      hint: `find and remove the other names: \`find / -xdev -samefile ${quotedPath(target)}\``,
      details: { path, links: facts.nlink },
    },
  )
}

/**
 * Owner, group, mode, ACL and user xattrs of the old file, compared afterwards, before the new one gets its name.
 * @throws KvxError UNSAFE_OWNER, UNSAFE_MODE, ACL_DIFFERS (from what it returns) where one could not be kept
 */
export function accessOf(old: FileHandle, before: FileFacts, path: string): Finish {
  return async (handle) => {
    await copyAttributes('mode,ownership,xattr', old, handle, path)
    const after = factsOf(await handle.stat({ bigint: true }))
    if (after.uid !== before.uid || after.gid !== before.gid) throw notKept('UNSAFE_OWNER', 'owner', path)
    if (after.mode !== before.mode) throw notKept('UNSAFE_MODE', 'mode', path)
    const [wanted, found] = await readAcls([old.fd, handle.fd], path)
    if (wanted === undefined || found === undefined) throw new TypeError('each file has its list')
    requireSameAcl(found, wanted)
  }
}

/**
 * `cp` between two open files: it drops inherited entries, changes the owner, then sets mode and ACL in one
 * call; never by path, never wider than the end. Nothing else that is installed everywhere does that.
 */
export async function copyAttributes(
  what: 'mode,ownership,xattr' | 'xattr',
  from: FileHandle,
  to: FileHandle,
  path: string,
): Promise<void> {
  const args = ['--attributes-only', `--preserve=${what}`, '--', '/proc/self/fd/3', '/proc/self/fd/4']
  const result = await runChild('cp', args, { fds: [from.fd, to.fd], ownSession: true })
  if (result.exitCode === 0) return
  throw (
    toolFileError(result, 'keep the access of', path) ??
    toolFailed('cp', result.exitCode, `kept the access of ${shownPath(path)}`)
  )
}

function notKept(code: 'UNSAFE_OWNER' | 'UNSAFE_MODE', what: string, path: string): KvxError {
  return new KvxError(code, `cannot replace ${shownPath(path)}: its ${what} could not be kept`)
}
