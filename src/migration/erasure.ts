import { join } from 'node:path'
import { sharesFolder } from '../backup/shares/share-sets.ts'
import { KvxError } from '../core/errors.ts'
import type { VersionRecord } from '../keyring/keyring-file.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { exists, listDirectory } from '../platform/files.ts'

/** Once the first byte of a key file may be overwritten, there is no way back. @throws STATE_TRANSITION */
export function refuseBegun(record: VersionRecord, subject: string): void {
  if (record.destruction?.begun === undefined || record.state === 'destroyed') return
  throw new KvxError(
    'STATE_TRANSITION',
    `the erasure of ${subject} began at ${record.destruction.begun} and cannot be taken back`,
    { hint: 'Finish it: `kvx destroy --due`.' },
  )
}

/** Something that kvx made and that still holds a destroyed key, in another form. */
export type RemainingCopy = {
  readonly kind: 'openpgp' | 'shares' | 'home-copy'
  readonly path: string
}

/**
 * Copies of a version that this home knows of: its encrypted backups, also one whose manifest a crash left out,
 * its share sets, finished or not, and the copy of the home, which holds the same backups.
 */
export async function remainingCopies(
  workspace: Workspace,
  subject: { readonly name: string; readonly version: number },
): Promise<readonly RemainingCopy[]> {
  const { backups } = workspace.home
  const prefix = `${subject.name}.v${subject.version}.`
  const files = (await exists(backups)) ? await listDirectory(backups) : []
  const copies: RemainingCopy[] = files
    .filter((file) => file.startsWith(prefix) && file.endsWith('.asc'))
    .map((file) => ({ kind: 'openpgp', path: join(backups, file) }))
  const shares = sharesFolder(backups)
  for (const folder of (await exists(shares)) ? await listDirectory(shares) : []) {
    // The name of a split that died begins with a dot.
    if (folder.replace(/^\./, '').startsWith(prefix))
      copies.push({ kind: 'shares', path: join(shares, folder) })
  }
  const { homeBackup } = workspace.config
  if (copies.length > 0 && homeBackup !== undefined) copies.push({ kind: 'home-copy', path: homeBackup })
  return copies
}
