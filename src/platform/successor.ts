import { KvxError } from '../core/errors.ts'
import { readAcls, requireSameAcl, toolFileError } from './acl.ts'
import { type ChildResult, runChild, toolFailed } from './child.ts'
import { quotedPath, shownPath } from './file-errors.ts'
import { type FileFacts, openFacts } from './file-facts.ts'
import { withOpenFiles } from './open-files.ts'
import { alone, type Company, type SharedJob } from './together.ts'

/** Gives a new file, open and not yet named, what it takes from the one whose place it gets. */
export type Finish = (fd: number) => Promise<void>

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
export function accessOf(
  old: number,
  before: FileFacts,
  { path, company = alone }: { readonly path: string; readonly company?: Company | undefined },
): Finish {
  return async (fresh) => company.share(bequeath, { old, fresh, before, path })
}

/** Descriptors of two open files, the second one in place of the first, and its name for messages. */
type Pair = { readonly old: number; readonly fresh: number; readonly path: string }
type Succession = Pair & { readonly before: FileFacts }

/** Two programs for all of them. Where that fails, two for each: then an error is about its file alone. */
const bequeath: SharedJob<Succession, void> = async (all) => {
  if (all.length > 1) {
    try {
      await keepAccess(all)
      return all.map(() => ({ status: 'fulfilled', value: undefined }))
    } catch {
      // What was done already is done again, in the same order: never wider than the end.
    }
  }
  const answers: PromiseSettledResult<void>[] = []
  for (const one of all) answers.push(...(await Promise.allSettled([keepAccess([one])])))
  return answers
}

async function keepAccess(all: readonly Succession[]): Promise<void> {
  await copyAttributes('mode,ownership,xattr', all)
  for (const { fresh, before, path } of all) {
    const after = openFacts(fresh)
    if (after.uid !== before.uid || after.gid !== before.gid) throw notKept('UNSAFE_OWNER', 'owner', path)
    if (after.mode !== before.mode) throw notKept('UNSAFE_MODE', 'mode', path)
  }
  const acls = await readAcls(
    all.flatMap(({ old, fresh }) => [old, fresh]),
    all[0]?.path,
  )
  for (let at = 0; at < acls.length; at += 2) {
    const [wanted, found] = acls.slice(at, at + 2)
    if (wanted === undefined || found === undefined) throw new TypeError('each file has its list')
    requireSameAcl(found, wanted)
  }
}

/**
 * `cp` between open files: it drops inherited entries, changes the owner, then sets mode and ACL in one call; never
 * by path, never wider than the end. Nothing else that is installed everywhere does that.
 */
export async function copyAttributes(
  what: 'mode,ownership,xattr' | 'xattr',
  pairs: readonly Pair[],
): Promise<void> {
  const options = ['--attributes-only', `--preserve=${what}`, '--'] as const
  const [first] = pairs
  if (first === undefined) return
  const result =
    pairs.length === 1
      ? await copyOne(options, first)
      : await copyMany(options, new Map(pairs.map(({ old, fresh }) => [old, fresh])))
  if (result.exitCode === 0) return
  throw (
    toolFileError(result, 'keep the access of', first.path) ??
    toolFailed('cp', result.exitCode, `kept the access of ${shownPath(first.path)}`)
  )
}

async function copyOne(options: readonly string[], { old, fresh }: Pair): Promise<ChildResult> {
  const files = ['/proc/self/fd/3', '/proc/self/fd/4']
  return await runChild('cp', [...options, ...files], { fds: [old, fresh], ownSession: true })
}

/**
 * Several sources go into a directory, each under its own name there. Here the names are numbers of descriptors:
 * `cp` finds the old file in our table of open files, which it gets as an open directory, and the new one under the
 * same number in its own. So nothing lies on a disk for it, and it ends in an error when we have ended.
 * @param numbers the descriptors of the new files by those of the old ones
 */
async function copyMany(
  options: readonly string[],
  numbers: ReadonlyMap<number, number>,
): Promise<ChildResult> {
  return await withOpenFiles(async (table) => {
    const old = [...numbers.keys()].map((number) => `/proc/self/fd/${table}/${number}`)
    const fds = new Map([...numbers, [table, table]])
    return await runChild('cp', [...options, ...old, '/proc/self/fd/'], { fds, ownSession: true })
  })
}

function notKept(code: 'UNSAFE_OWNER' | 'UNSAFE_MODE', what: string, path: string): KvxError {
  return new KvxError(code, `cannot replace ${shownPath(path)}: its ${what} could not be kept`)
}
