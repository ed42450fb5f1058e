import { realpathSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { fileError, quotedPath, shownPath } from './file-errors.ts'
import { type FileFacts, modeText } from './file-facts.ts'
import { lstatFacts } from './files.ts'

export type TrustOptions = {
  /** A uid that may own directories beside root and the process. */
  readonly owner?: number
}

/**
 * Refuses a directory in which somebody else could put another file in place: `safe_path` of OpenSSH (misc.c)
 * on the canonical path. The directory and all its ancestors belong to root, to the process or to the given
 * owner, and nobody else may write in them; an ACL that lets others write shows in the group bits too. A sticky
 * directory of root's, such as /tmp, is accepted as an ancestor, never as the directory itself.
 * @param path the directory that holds, or will hold, the file
 * @returns the canonical path that was checked: write through it, since a link on the way may be swapped meanwhile
 * @throws KvxError FILE_NOT_FOUND, UNSAFE_DIRECTORY that names the directory and the command that mends it
 */
export async function checkDirectoryTrust(path: string, options: TrustOptions = {}): Promise<string> {
  const canonical = canonicalPath(path)
  for (let directory = canonical; ; directory = dirname(directory)) {
    const facts = await lstatFacts(directory)
    if (facts === undefined) throw fileError({ code: 'ENOENT' }, 'use the directory', directory)
    requireTrusted(directory, facts, options.owner, directory === canonical)
    if (directory === '/') return canonical
  }
}

/** At once: for one look Node would load its promises of files and start four threads. */
function canonicalPath(path: string): string {
  try {
    return realpathSync.native(resolve(path))
  } catch (error) {
    throw fileError(error, 'use the directory', path)
  }
}

function requireTrusted(
  directory: string,
  facts: FileFacts,
  owner: number | undefined,
  isImmediate: boolean,
): void {
  const shown = shownPath(directory)
  if (facts.type !== 'directory') {
    throw new KvxError('UNSAFE_DIRECTORY', `${shown} is not a directory`, { details: { directory: shown } })
  }
  const own = process.geteuid?.() ?? -1
  if (facts.uid !== 0 && facts.uid !== own && facts.uid !== owner) {
    throw new KvxError(
      'UNSAFE_DIRECTORY',
      `the directory ${shown} belongs to uid ${facts.uid}, who can put other files in place of those in it`,
      {
        hint: `give it to root: \`chown root ${quotedPath(directory)}\``,
        details: { directory: shown, uid: facts.uid },
      },
    )
  }
  if ((facts.mode & 0o022) === 0) return
  const isSticky = facts.uid === 0 && (facts.mode & 0o1000) !== 0
  if (isSticky && !isImmediate) return
  throw new KvxError(
    'UNSAFE_DIRECTORY',
    `others can write in the directory ${shown} (mode ${modeText(facts.mode)})`,
    {
      hint: isSticky
        ? `use a directory of its own: \`install -d -m 0700 ${quotedPath(`${directory}/kvx`)}\``
        : `take the right away: \`chmod go-w ${quotedPath(directory)}\``,
      details: { directory: shown, mode: modeText(facts.mode) },
    },
  )
}
