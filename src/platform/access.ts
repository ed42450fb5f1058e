import { fchmodSync, fchownSync } from 'node:fs'
import { KvxError } from '../core/errors.ts'
import { type AccountName, groupId, userId } from './accounts.ts'
import { type Acl, applyAcl, expectedAcl, isModeAlone, modeOfAcl, readAcl } from './acl.ts'
import { shownPath } from './file-errors.ts'
import { modeText, openFacts } from './file-facts.ts'

/** Who may do what with a file. */
export type Access = {
  /** Permission bits of owner, owning group and others; no set-id or sticky bits. */
  readonly mode: number
  /** Name or number; the process's own, or the old file's when one is replaced. */
  readonly owner?: AccountName
  readonly group?: AccountName
  /** Groups that read through an ACL entry `group:GROUP:r--`. */
  readonly readers?: readonly AccountName[]
  /** A whole ACL instead of `mode` and `readers`. */
  readonly acl?: Acl
}

/** Access in numbers. */
export type NumericAccess = { readonly uid: number; readonly gid: number; readonly acl: Acl }

/**
 * Looks up the names and refuses what this process cannot give, before anything is written.
 * @param kept owner and group where the access names none
 * @throws KvxError USAGE (unknown name, impossible mode), UNSAFE_OWNER (not root)
 */
export async function resolveAccess(
  path: string,
  access: Access,
  kept: { readonly uid: number; readonly gid: number } | undefined,
): Promise<NumericAccess> {
  if (!Number.isInteger(access.mode) || (access.mode & ~0o777) !== 0) {
    throw new KvxError('USAGE', `${modeText(access.mode)} is not a mode of three octal digits for a file`)
  }
  const uid = access.owner === undefined ? (kept?.uid ?? effectiveUid()) : await userId(access.owner)
  const gid = access.group === undefined ? (kept?.gid ?? effectiveGid()) : await groupId(access.group)
  requireGivable(path, uid, gid)
  const readers: number[] = []
  for (const reader of access.readers ?? []) readers.push(await groupId(reader))
  return { uid, gid, acl: access.acl ?? expectedAcl({ mode: access.mode, readers }) }
}

/**
 * Refuses, before anything is written, a file whose owner and group this process could not restore.
 * @throws KvxError UNSAFE_OWNER
 */
export function requireGivable(path: string, uid: number, gid: number): void {
  const own = effectiveUid()
  if (own === 0) return
  const groups = new Set([effectiveGid(), ...(process.getgroups?.() ?? [])])
  if (uid === own && groups.has(gid)) return
  throw new KvxError(
    'UNSAFE_OWNER',
    `cannot write ${shownPath(path)} for owner ${uid} and group ${gid}: this process is uid ${own}`,
    {
      hint:
        uid === own
          ? 'run the same command with `sudo`'
          : `run the same command with \`sudo -u '#${uid}'\` or as root`,
      details: { path: shownPath(path), uid, gid, ownUid: own },
    },
  )
}

/**
 * Gives an open file its owner, group and ACL in an order that is never wider than the end: the owner's own
 * bits first and nobody else's, then the owner, then mode and ACL in one call. Then all of it is read back.
 * @throws KvxError ACL_UNSUPPORTED, ACL_DIFFERS, UNSAFE_OWNER, UNSAFE_MODE
 */
export async function applyAccess(fd: number, path: string, wanted: NumericAccess): Promise<void> {
  fchmodSync(fd, (wanted.acl.owner << 6) & 0o600)
  const before = openFacts(fd)
  if (before.uid !== wanted.uid || before.gid !== wanted.gid) fchownSync(fd, wanted.uid, wanted.gid)
  await giveAcl(fd, path, wanted.acl)
  const after = openFacts(fd)
  if (after.uid !== wanted.uid || after.gid !== wanted.gid) {
    throw new KvxError(
      'UNSAFE_OWNER',
      `${shownPath(path)} did not take the owner ${wanted.uid}:${wanted.gid}`,
    )
  }
  if (after.mode !== modeOfAcl(wanted.acl)) {
    throw new KvxError(
      'UNSAFE_MODE',
      `${shownPath(path)} did not take the mode ${modeText(modeOfAcl(wanted.acl))}`,
    )
  }
}

/**
 * A file that inherited no entries takes a plain mode in one call of this process. Entries have to go first, and in
 * the same step, since the mode would let them count: `setfacl` does that.
 */
async function giveAcl(fd: number, path: string, wanted: Acl): Promise<void> {
  if (isModeAlone(wanted) && isModeAlone(await readAcl(fd, path))) fchmodSync(fd, modeOfAcl(wanted))
  else await applyAcl(fd, wanted, path)
}

function effectiveUid(): number {
  return process.geteuid?.() ?? -1
}

function effectiveGid(): number {
  return process.getegid?.() ?? -1
}
