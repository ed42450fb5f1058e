import { KvxError } from '../core/errors.ts'
import { weaknessOf } from '../core/key-strength.ts'
import { effectiveAcl, readAcl } from '../platform/acl.ts'
import { quotedPath, shownPath } from '../platform/file-errors.ts'
import { modeText } from '../platform/file-facts.ts'
import { exists, openForReading } from '../platform/files.ts'
import type { FoundKey } from './key-source.ts'

/**
 * Why a key that lies ready should not be taken over as it is, or undefined: its bytes are none that a random
 * source makes, or somebody else could have written them. Where data is under it all the same it is needed.
 */
export async function riskOf(found: FoundKey): Promise<KvxError | undefined> {
  return weakKey(found) ?? (await writtenByOthers(found.files))
}

function weakKey({ current, previous, encoding }: FoundKey): KvxError | undefined {
  for (const material of [current, previous]) {
    const weakness = material === undefined ? undefined : weaknessOf(material)
    // Characters are what an ascii key is made of.
    if (weakness === undefined || (weakness.rule === 'printable' && encoding === 'ascii')) continue
    return new KvxError('KEY_WEAK', weakness.message, {
      hint: `Is that the key? Look at it: \`kvx inspect FILE\`. Declare what lies under it, and it is taken as the application’s; or ${anyway}, then rotate it.`,
    })
  }
  return undefined
}

async function writtenByOthers(files: readonly string[]): Promise<KvxError | undefined> {
  for (const path of files) {
    const mode = await modeOthersWrite(path)
    if (mode === undefined) continue
    const message = `others than its owner can write ${shownPath(path)} (mode ${modeText(mode)}): the key may be theirs`
    return new KvxError('UNSAFE_MODE', message, {
      hint: `Take the right away and run it again: \`chmod go-w ${quotedPath(path)}\`. Must it stay so, ${anyway}.`,
    })
  }
  return undefined
}

const anyway = 'add `--accept-risk --reason TEXT`'

/** The mode of what a path leads to, if somebody beside its owner can write it; a slot may have no file. */
async function modeOthersWrite(path: string): Promise<number | undefined> {
  if (!(await exists(path))) return undefined
  const handle = await openForReading(path, true)
  try {
    const { mode } = await handle.stat()
    if ((mode & 0o022) === 0) return undefined
    // With an ACL the group's bits are its mask.
    const { users, group, groups, other } = effectiveAcl(await readAcl(handle.fd, path))
    const rights = [group, other, ...[...users, ...groups].map((entry) => entry.rights)]
    return rights.some((each) => (each & 2) !== 0) ? mode : undefined
  } finally {
    await handle.close()
  }
}
