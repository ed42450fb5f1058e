import { constants } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { isKvxError, KvxError } from '../core/errors.ts'
import { type ChildResult, runChild, toolFailed } from './child.ts'
import { fileError } from './file-errors.ts'
import { pathOnly, withOpenFiles } from './open-files.ts'
import { randomId } from './random.ts'

/** Read 4, write 2, execute 1, or a sum of them. */
export type Rights = number

export type AclEntry = { readonly id: number; readonly rights: Rights }

/** A POSIX access ACL in numbers (acl(5)). Without named entries and mask it says the same as a mode. */
export type Acl = {
  readonly owner: Rights
  readonly users: readonly AclEntry[]
  readonly group: Rights
  readonly groups: readonly AclEntry[]
  /** The most that `users`, `group` and `groups` may get; it is what `stat` shows as the group's rights. */
  readonly mask: Rights | undefined
  readonly other: Rights
}

/**
 * The ACL of an open file or directory, by `getfacl`.
 * @param path for messages only
 * @throws KvxError TOOL_MISSING, TOOL_FAILED
 */
export async function readAcl(fd: number, path?: string): Promise<Acl> {
  const [acl] = await readAcls([fd], path)
  if (acl === undefined) throw noAcl()
  return acl
}

/** The ACLs of several open files by one `getfacl`, in their order. */
export async function readAcls(fds: readonly number[], path?: string): Promise<readonly Acl[]> {
  const result = await (fds.length > few ? readMany(fds) : readFew(fds))
  if (result.exitCode !== 0) throw aclToolError('getfacl', result, path)
  // An empty line ends what it says of each.
  const texts = result.stdout.toString('utf8').split('\n\n').slice(0, -1)
  const known = new Map<string, Acl | undefined>() // most files of a folder have the same
  const acls = texts.flatMap((text) => {
    if (!known.has(text)) known.set(text, parseAcl(text))
    return known.get(text) ?? []
  })
  if (acls.length !== fds.length || texts.length !== fds.length) throw noAcl()
  return acls
}

const options = ['-cpEn', '--'] as const
const few = 8

async function readFew(fds: readonly number[]): Promise<ChildResult> {
  const names = fds.map((_, index) => `/proc/self/fd/${3 + index}`)
  return await runChild('getfacl', [...options, ...names], { fds, ownSession: true })
}

/** Through our table of open files as an open directory: each descriptor that is handed over takes its time. */
async function readMany(fds: readonly number[]): Promise<ChildResult> {
  return await withOpenFiles(async (table) => {
    const names = fds.map((fd) => `/proc/self/fd/3/${fd}`)
    return await runChild('getfacl', [...options, ...names], { fds: [table], ownSession: true })
  })
}

function noAcl(): KvxError {
  return new KvxError('TOOL_FAILED', 'getfacl printed something that is not an ACL')
}

/**
 * Gives an open file exactly this ACL in one system call, then reads it back and compares, the mask included.
 * @param path for messages only
 * @throws KvxError ACL_UNSUPPORTED by the file system, ACL_DIFFERS after it was set
 */
export async function applyAcl(fd: number, acl: Acl, path?: string): Promise<void> {
  const result = await runChild('setfacl', ['--set-file=-', '--', '/proc/self/fd/3'], {
    fds: [fd],
    input: Buffer.from(renderAcl(acl)),
    ownSession: true,
  })
  if (result.exitCode !== 0) throw aclToolError('setfacl', result, path)
  requireSameAcl(await readAcl(fd, path), acl)
}

/** Removes named entries and the default ACL of an open file or directory, as far as there are any. */
export async function removeAcl(fd: number, path?: string): Promise<void> {
  const result = await runChild('setfacl', ['-bk', '--', '/proc/self/fd/3'], { fds: [fd], ownSession: true })
  if (result.exitCode === 0 || says(result, 'Operation not supported')) return
  throw aclToolError('setfacl', result, path)
}

/** @throws KvxError ACL_DIFFERS that names both. */
export function requireSameAcl(found: Acl, wanted: Acl): void {
  if (found === wanted) return
  const [is, should] = [oneLine(found), oneLine(wanted)]
  if (is === should) return
  throw new KvxError('ACL_DIFFERS', `the access list is ${is} instead of ${should}`, {
    details: { found: is, wanted: should },
  })
}

/**
 * The ACL of what has this name, of a directory too. Needs no permission to read it.
 * @throws KvxError FILE_NOT_FOUND, UNSAFE_FILE_TYPE for a symbolic link, which has no ACL
 */
export async function readAclAt(path: string): Promise<Acl> {
  const handle = await open(path, pathOnly | constants.O_NOFOLLOW).catch((error: unknown) => {
    throw fileError(error, 'read the access list of', path)
  })
  try {
    if ((await handle.stat()).isSymbolicLink())
      throw fileError({ code: 'ELOOP' }, 'read the access list of', path)
    return await readAcl(handle.fd, path)
  } finally {
    await handle.close().catch(() => undefined)
  }
}

/**
 * True when the file system of a directory keeps ACLs. Only writing one shows it: `getfacl` prints entries made
 * from the mode anywhere. A scratch file is made in the directory and removed again.
 */
export async function supportsAcl(directory: string): Promise<boolean> {
  const scratch = join(directory, `.kvx-acl-check.${randomId()}`)
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
  const handle = await open(scratch, flags, 0o600).catch((error: unknown) => {
    throw fileError(error, 'create', scratch)
  })
  try {
    await applyAcl(handle.fd, expectedAcl({ mode: 0o600, readers: [0] }))
    return true
  } catch (error) {
    if (isKvxError(error, 'ACL_UNSUPPORTED') || isKvxError(error, 'ACL_DIFFERS')) return false
    throw error
  } finally {
    await unlink(scratch).catch(() => undefined)
    await handle.close().catch(() => undefined)
  }
}

/**
 * The ACL that a mode and reading groups ask for: `group:N:r--` each, and a mask that cuts nothing. Without
 * readers it is the mode alone.
 */
export function expectedAcl(wanted: { readonly mode: number; readonly readers?: readonly number[] }): Acl {
  const group = (wanted.mode >> 3) & 7
  const ids = [...new Set(wanted.readers)].sort((one, other) => one - other)
  return {
    owner: (wanted.mode >> 6) & 7,
    users: [],
    group,
    groups: ids.map((id) => ({ id, rights: 4 })),
    mask: ids.length === 0 ? undefined : group | 4,
    other: wanted.mode & 7,
  }
}

/** The permission bits that `stat` shows for a file with this ACL: the mask stands where the group stood. */
export function modeOfAcl(acl: Acl): number {
  return (acl.owner << 6) | ((acl.mask ?? acl.group) << 3) | acl.other
}

/** Whether nothing is named and nothing cut: `chmod` alone then says who may do what. */
export function isModeAlone({ users, groups, mask }: Acl): boolean {
  return users.length === 0 && groups.length === 0 && mask === undefined
}

/** What the entries really give: named ones and the owning group are cut by the mask. */
export function effectiveAcl(acl: Acl): Acl {
  const mask = acl.mask ?? 7
  const cut = (entry: AclEntry): AclEntry => ({ id: entry.id, rights: entry.rights & mask })
  return { ...acl, users: acl.users.map(cut), group: acl.group & mask, groups: acl.groups.map(cut) }
}

/** The entries that the mask cuts: `group:1001:r--`. Somebody meant to give these rights, and they are lost. */
export function maskedEntries(acl: Acl): string[] {
  const effective = oneLine(effectiveAcl(acl)).split(',')
  return oneLine(acl)
    .split(',')
    .filter((entry, index) => entry !== effective[index])
}

/** The text form of `getfacl -cpEn`: one entry a line, in the order of acl(5), numbers for names. */
export function renderAcl(acl: Acl): string {
  const named = (tag: string, entries: readonly AclEntry[]): string[] =>
    [...entries]
      .sort((one, other) => one.id - other.id)
      .map((entry) => `${tag}:${entry.id}:${letters(entry.rights)}`)
  const lines = [
    `user::${letters(acl.owner)}`,
    ...named('user', acl.users),
    `group::${letters(acl.group)}`,
    ...named('group', acl.groups),
    ...(acl.mask === undefined ? [] : [`mask::${letters(acl.mask)}`]),
    `other::${letters(acl.other)}`,
  ]
  return `${lines.join('\n')}\n`
}

/** Reads the text of `getfacl -cpEn`; default entries of directories are left out. Undefined when it is none. */
export function parseAcl(text: string): Acl | undefined {
  const single: Partial<Record<'user' | 'group' | 'mask' | 'other', Rights>> = {}
  const named: Record<'user' | 'group', AclEntry[]> = { user: [], group: [] }
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('default:')) continue
    const match = /^(user|group|mask|other):(\d*):([r-])([w-])([x-])$/.exec(line)
    if (match === null) return undefined
    const tag = match[1] as 'user' | 'group' | 'mask' | 'other'
    const rights = (match[3] === 'r' ? 4 : 0) | (match[4] === 'w' ? 2 : 0) | (match[5] === 'x' ? 1 : 0)
    if (match[2] === '') single[tag] = rights
    else if (tag === 'user' || tag === 'group') named[tag].push({ id: Number(match[2]), rights })
    else return undefined
  }
  const { user: owner, group, mask, other } = single
  if (owner === undefined || group === undefined || other === undefined) return undefined
  return { owner, users: named.user, group, groups: named.group, mask, other }
}

function letters(rights: Rights): string {
  return `${rights & 4 ? 'r' : '-'}${rights & 2 ? 'w' : '-'}${rights & 1 ? 'x' : '-'}`
}

function oneLine(acl: Acl): string {
  return renderAcl(acl).trimEnd().replaceAll('\n', ',')
}

function says(result: ChildResult, message: string): boolean {
  return result.stderr.toString('latin1').trimEnd().endsWith(message)
}

function aclToolError(tool: string, result: ChildResult, path: string | undefined): KvxError {
  if (says(result, 'Operation not supported')) {
    return new KvxError('ACL_UNSUPPORTED', 'the file system keeps no access lists', {
      hint: 'declare owner, group and mode without readers, or see `findmnt -o TARGET,FSTYPE,OPTIONS`',
    })
  }
  const cause = toolFileError(result, 'use the access list of', path)
  return cause ?? toolFailed(tool, result.exitCode, 'worked on an access list')
}

const toolMessages: Readonly<Record<string, string>> = {
  'No space left on device': 'ENOSPC',
  'Disk quota exceeded': 'EDQUOT',
  'Read-only file system': 'EROFS',
  'Input/output error': 'EIO',
  'Operation not permitted': 'EPERM',
  'Permission denied': 'EACCES',
}

/** The cause that a tool of the system names in the C locale, as a file error; undefined for other failures. */
export function toolFileError(
  result: ChildResult,
  action: string,
  path: string | undefined,
): KvxError | undefined {
  const known = Object.entries(toolMessages).find(([message]) => says(result, message))
  if (known === undefined) return undefined
  const error = fileError({ code: known[1] }, action, path ?? 'an open file')
  return path === undefined ? new KvxError(error.code, error.message) : error
}
