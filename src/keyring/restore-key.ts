import { basename, dirname, join, resolve } from 'node:path'
import type { BackupWarning } from '../backup/errors.ts'
import { openBackup, type OpenedBackup } from '../backup/restore.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'
import { type ConfirmKey, isKeyringProven, putKeyBack, writeBareKey } from './put-key-back.ts'
import { openWorkspace, type Workspace } from './workspace.ts'

export type RestoreRequest = {
  readonly file: string
  /** A bare file instead of the home. */
  readonly out: string | undefined
  readonly expectFingerprint: string | undefined
  readonly config: string | undefined
  readonly home: string | undefined
  /** A side log for the day on which the home's log can't be written. */
  readonly auditTo: string | undefined
  readonly interactive: boolean
  readonly dryRun: boolean
  readonly confirm: ConfirmKey
}

export type RestoredKey = {
  readonly name: string
  readonly version: number
  readonly fingerprint: string
  readonly checkValue: string
  readonly path: string
  readonly proven: boolean
  readonly changed: boolean
  readonly warnings: readonly BackupWarning[]
}

/**
 * Opens an OpenPGP backup and puts the key back. Only a mismatch refuses; what is merely not proven is labelled.
 * @throws FINGERPRINT_DIFFERS, KEY_EXISTS (another live key is never overwritten), BACKUP_UNUSABLE, WRONG_KEY
 */
export async function restoreKey(request: RestoreRequest): Promise<RestoredKey> {
  return request.out === undefined ? intoHome(request) : intoFile(request, request.out)
}

async function intoFile(request: RestoreRequest, out: string): Promise<RestoredKey> {
  const path = join(await checkDirectoryTrust(dirname(resolve(out))), basename(out))
  const opened = await open(request, {})
  try {
    if (!request.dryRun) await writeBareKey(path, opened, request)
    return restored(opened, path, !request.dryRun)
  } finally {
    opened.material.wipe()
  }
}

async function intoHome(request: RestoreRequest): Promise<RestoredKey> {
  const workspace = await openWorkspace(request)
  const opened = await open(request, { verify: workspace.verify })
  try {
    const { path, changed } = await putKeyBack(workspace, opened, { ...request, source: { source: 'gpg' } })
    // It is the key that the keyring knows by its full fingerprint.
    const proven = opened.proven || (await isKeyringProven(workspace))
    return restored({ ...opened, proven }, path, changed)
  } finally {
    opened.material.wipe()
  }
}

async function open(
  request: RestoreRequest,
  known: { readonly verify?: Workspace['verify'] },
): Promise<OpenedBackup> {
  return openBackup(resolve(request.file), {
    interactive: request.interactive,
    ...(request.expectFingerprint === undefined ? {} : { expectFingerprint: request.expectFingerprint }),
    ...known,
  })
}

function restored(opened: OpenedBackup, path: string, changed: boolean): RestoredKey {
  const { name, version, fingerprint, checkValue, proven, warnings } = opened
  return { name, version, fingerprint, checkValue, path, proven, changed, warnings }
}
