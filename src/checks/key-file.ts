import { isKvxError, type KvxError } from '../core/errors.ts'
import { groupName, userName } from '../platform/accounts.ts'
import { type Acl, type AclEntry, effectiveAcl, maskedEntries } from '../platform/acl.ts'
import { quotedPath, shownPath } from '../platform/file-errors.ts'
import { type FileFacts, modeText, typeNames } from '../platform/file-facts.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'
import type { Finding, RuleId, Severity } from './rules.ts'

export type FileOptions = {
  /** The uid that may own keys and their directories beside root and the process. */
  readonly owner: number | undefined
  /** Groups that may read. Undefined where nobody said. */
  readonly readers: readonly number[] | undefined
}

/** A key file is never larger; a file that is gets no look inside. */
export const maxKeyBytes = 65_536

type Add = (rule: RuleId, severity: Severity, message: string, remedy: string) => void

function collector(path: string): { readonly findings: Finding[]; readonly add: Add } {
  const findings: Finding[] = []
  const add: Add = (rule, severity, message, remedy) => {
    findings.push({ rule, severity, path: shownPath(path), message, remedy })
  }
  return { findings, add }
}

/** A finding where there is something else than a file of a key's size, which must not be opened. */
export function typeFinding(path: string, facts: FileFacts): Finding | undefined {
  const { findings, add } = collector(path)
  const look = `name the key file itself: look with \`ls -ld ${quotedPath(path)}\``
  if (facts.type !== 'file') add('FILE_TYPE', 'error', `it is ${typeNames[facts.type]}, not a key file`, look)
  else if (facts.size > maxKeyBytes) {
    add(
      'FILE_TYPE',
      'error',
      `it has ${facts.size} bytes, too many for a key: its content was not read`,
      look,
    )
  }
  return findings[0]
}

export function linkFinding(path: string): Finding {
  const quoted = quotedPath(path)
  return {
    rule: 'SYMLINK',
    severity: 'error',
    path: shownPath(path),
    message: 'it is a symbolic link: whoever changes the link changes the key',
    remedy: `check what it points to: \`kvx check "$(readlink -f ${quoted})"\`, and name that file to the application`,
  }
}

export function unreadableFinding(path: string): Finding {
  return {
    rule: 'FILE_UNREADABLE',
    severity: 'error',
    path: shownPath(path),
    message: `uid ${process.geteuid?.() ?? '?'} may not read it: the key in it was not checked`,
    remedy: `run the same command as root or as its owner: \`sudo kvx check ${quotedPath(path)}\``,
  }
}

/** The rules about a regular file: owner, mode, ACL and names. */
export async function checkKeyFile(
  path: string,
  facts: FileFacts,
  acl: Acl,
  options: FileOptions,
): Promise<readonly Finding[]> {
  const { findings, add } = collector(path)
  await checkOwner(path, facts, options, add)
  checkMode(path, facts, acl, add)
  await checkEntries(path, facts, acl, { options, add })
  const masked = maskedEntries(acl)
  if (masked.length > 0) {
    const message = `readers lost access: the mask ${letters(acl.mask ?? 0)} cuts ${await namedEntries(masked)}`
    const remedy = `let the mask pass reading: \`setfacl -m m::r-- ${quotedPath(path)}\`, or take the entries away: \`setfacl -b ${quotedPath(path)}\``
    add('FILE_ACL', 'warning', message, remedy)
  }
  if (facts.nlink > 1) {
    const remedy = `find the other: \`find / -xdev -samefile ${quotedPath(path)}\`, and remove it with \`rm\``
    add(
      'HARD_LINK',
      'warning',
      `the file has ${facts.nlink} names: a new key reaches only one of them`,
      remedy,
    )
  }
  return findings
}

async function checkOwner(path: string, facts: FileFacts, options: FileOptions, add: Add): Promise<void> {
  const { owner } = options
  const allowed = owner === undefined ? [0, process.geteuid?.() ?? -1] : [owner]
  if (allowed.includes(facts.uid)) return
  const is = (await userName(facts.uid)) ?? String(facts.uid)
  const should = owner === undefined ? 'root' : ((await userName(owner)) ?? String(owner))
  const meant = owner === undefined ? `, or say that it is meant: \`--owner ${is}\`` : ''
  const message = `it belongs to ${is}, who can replace the key, not to ${should}`
  add('FILE_OWNER', 'error', message, `\`chown ${should} ${quotedPath(path)}\`${meant}`)
}

function checkMode(path: string, facts: FileFacts, acl: Acl, add: Add): void {
  const quoted = quotedPath(path)
  const effective = effectiveAcl(acl)
  const shown = modeText(facts.mode)
  if (acl.other !== 0) {
    add(
      'FILE_MODE',
      'error',
      `every user can ${verbs(acl.other)} it (mode ${shown})`,
      `\`chmod o= ${quoted}\``,
    )
  }
  if ((effective.group & 2) !== 0) {
    // With an ACL, chmod g-w would change the mask alone.
    const mend = acl.mask === undefined ? `chmod g-w ${quoted}` : `setfacl -m g::r-- ${quoted}`
    add('FILE_MODE', 'error', `its group can write it (mode ${shown})`, `\`${mend}\``)
  }
  const execute = ((acl.owner | effective.group) & 1) !== 0
  if (execute || (facts.mode & 0o7000) !== 0) {
    const message = `it has execute, set-id or sticky bits, which no key needs (mode ${shown})`
    add('FILE_MODE', 'warning', message, `\`chmod a-x,u-s,g-s,-t ${quoted}\``)
  }
}

type Rules = { readonly options: FileOptions; readonly add: Add }

/** Named entries count by what the mask leaves of them. */
async function checkEntries(path: string, facts: FileFacts, acl: Acl, rules: Rules): Promise<void> {
  const { options, add } = rules
  const effective = effectiveAcl(acl)
  const quoted = quotedPath(path)
  for (const { id, rights } of effective.users.filter((entry) => entry.rights !== 0)) {
    const name = (await userName(id)) ?? String(id)
    const remedy = `\`setfacl -x u:${name} ${quoted}\`; give reading to a group: \`setfacl -m g:GROUP:r ${quoted}\``
    add('FILE_ACL', 'error', `the user ${name} can ${verbs(rights)} it by an ACL entry`, remedy)
  }
  const owning: AclEntry[] = options.readers === undefined ? [] : owningGroup(facts, effective)
  for (const { id, rights } of [...owning, ...effective.groups].filter((entry) => entry.rights !== 0)) {
    const isAllowed = options.readers?.includes(id) === true
    if (isAllowed && rights === 4) continue
    const name = (await groupName(id)) ?? String(id)
    const isReading = rights === 4
    const message = `the group ${name} can ${verbs(rights)} it${isReading && options.readers !== undefined ? ' and is not allowed to' : ''}`
    const narrow = isAllowed ? `setfacl -m g:${name}:r ${quoted}` : `setfacl -x g:${name} ${quoted}`
    const command = owning.some((entry) => entry.id === id) ? `chgrp root ${quoted}` : narrow
    const meant = isReading ? `, or say that it is meant: \`--allow-reader ${name}\`` : ''
    const severity = isReading && options.readers === undefined ? 'warning' : 'error'
    add('FILE_ACL', severity, message, `\`${command}\`${meant}`)
  }
}

/** The owning group reads too, unless it is root's or the process's own. Its writing is a matter of the mode. */
function owningGroup(facts: FileFacts, effective: Acl): AclEntry[] {
  const isOwn = facts.gid === 0 || facts.gid === process.getegid?.()
  return isOwn ? [] : [{ id: facts.gid, rights: effective.group & 4 }]
}

function verbs(rights: number): string {
  const words = [
    [4, 'read'],
    [2, 'write'],
    [1, 'execute'],
  ] as const
  return words
    .filter(([right]) => (rights & right) !== 0)
    .map(([, word]) => word)
    .join(' and ')
}

function letters(rights: number): string {
  return `${rights & 4 ? 'r' : '-'}${rights & 2 ? 'w' : '-'}${rights & 1 ? 'x' : '-'}`
}

/** `group:1001:r--` with the name of the account where there is one. */
async function namedEntries(entries: readonly string[]): Promise<string> {
  const named = entries.map(async (entry) => {
    const [tag = '', id = '', rights = ''] = entry.split(':')
    const name = id === '' ? '' : await (tag === 'user' ? userName(Number(id)) : groupName(Number(id)))
    return `${tag}:${name ?? id}:${rights}`
  })
  return (await Promise.all(named)).join(', ')
}

/** The directory of a key and its parents, as `checkDirectoryTrust` sees them. */
export async function checkParent(
  directory: string,
  owner: number | undefined,
): Promise<Finding | undefined> {
  try {
    await checkDirectoryTrust(directory, owner === undefined ? {} : { owner })
    return undefined
  } catch (error) {
    if (!isKvxError(error, 'UNSAFE_DIRECTORY')) throw error
    return fileFinding('PARENT_WRITABLE', directory, error)
  }
}

/** An error of the platform about a file or directory as a finding. */
export function fileFinding(rule: RuleId, path: string, error: KvxError): Finding {
  return {
    rule,
    severity: 'error',
    path: shownPath(path),
    message: error.message,
    remedy: error.hint ?? `look with \`ls -la ${quotedPath(path)}\``,
  }
}
