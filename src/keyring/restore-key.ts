import { basename, dirname, join, resolve } from 'node:path'
import { withIntent } from '../audit/with-intent.ts'
import type { BackupWarning } from '../backup/errors.ts'
import { openBackup, type OpenedBackup } from '../backup/restore.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import { checkValueOf, fingerprintOf } from '../core/fingerprint.ts'
import type { Secret } from '../core/secret.ts'
import { createFile } from '../platform/create-file.ts'
import { fsyncDirectory } from '../platform/files.ts'
import { removeLeftover } from '../platform/temp-file.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'
import { materialPath } from './home.ts'
import { readKeyring } from './keyring.ts'
import { hasMaterial, readMaterial, writeMaterial } from './material.ts'
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
  /** Asked before anything is written into a home, with `NAME@VERSION`. */
  readonly confirm: (subject: string) => Promise<void>
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
    if (!request.dryRun) await writeBare(path, opened.material)
    return restored(opened, path, !request.dryRun)
  } finally {
    opened.material.wipe()
  }
}

async function writeBare(path: string, material: Secret): Promise<void> {
  const bytes = material.lend((lent) => Buffer.from(new Uint8Array(lent)))
  try {
    await createFile(path, bytes, { mode: 0o600 })
  } finally {
    bytes.fill(0)
  }
}

async function intoHome(request: RestoreRequest): Promise<RestoredKey> {
  const workspace = await openWorkspace({ ...request, auditTo: request.auditTo })
  const opened = await open(request, { verify: workspace.verify })
  try {
    const { name, version } = opened
    const subject = `${name}@${version}`
    const path = materialPath(workspace.home, name, version)
    await refuseOther(workspace, opened)
    // The keyring knows this key by its full fingerprint.
    const proven = { ...opened, proven: true }
    if (await hasMaterial(workspace.home, name, version)) {
      // What died between link and unlink left a second name of the key, and a name that is not durable yet.
      if (!request.dryRun) {
        await removeLeftover(path)
        await fsyncDirectory(workspace.home.keys)
      }
      return restored(proven, path, false)
    }
    if (request.dryRun) return restored(proven, path, false)
    await request.confirm(subject)
    await logged(request, async () =>
      withIntent(workspace.audit, { action: 'key.restore', subject, data: { source: 'gpg' } }, async () =>
        writeMaterial(workspace.home, name, version, opened.material),
      ),
    )
    return restored(proven, path, true)
  } finally {
    opened.material.wipe()
  }
}

/** The worst day is not held up by a log that can't be written. */
async function logged(request: RestoreRequest, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!isKvxError(error, 'AUDIT_UNWRITABLE') || request.auditTo !== undefined) throw error
    throw new KvxError(error.code, error.message, {
      hint: 'Log elsewhere for now: add `--audit-to FILE`; `kvx audit adopt FILE` takes it in later.',
      details: error.details,
    })
  }
}

/** The keyring says which key belongs there, and a file that is there already is never replaced. */
async function refuseOther(workspace: Workspace, opened: OpenedBackup): Promise<void> {
  const { name, version } = opened
  const subject = `${name}@${version}`
  const record = (await readKeyring(workspace.home)).keys[name]?.versions[String(version)]
  if (record?.fingerprint == null) {
    throw new KvxError('VERSION_UNKNOWN', `the keyring does not know ${subject}`, {
      hint: `Write it to a file with \`--out FILE\`, then take it over: \`kvx key import ${name} --from file:FILE --encoding raw --version ${version}\`.`,
    })
  }
  if (record.state === 'destroyed') {
    throw new KvxError(
      'STATE_TRANSITION',
      `${subject} is destroyed; its key does not go back into the home`,
      {
        hint: 'Where it is needed once more, write it to a file: `--out FILE`.',
      },
    )
  }
  if (record.fingerprint !== opened.fingerprint) {
    throw new KvxError(
      'FINGERPRINT_DIFFERS',
      `the backup holds another key than ${subject}: check value ${opened.checkValue}, the keyring has ${checkValueOf(record.fingerprint)}`,
      {
        hint: `\`kvx backup list ${name}\` shows the backups of the right one. Nothing was written.`,
      },
    )
  }
  if (!(await hasMaterial(workspace.home, name, version))) return
  const live = await readMaterial(workspace.home, name, version)
  const same = fingerprintOf(live) === opened.fingerprint
  live.wipe()
  if (same) return
  throw new KvxError('KEY_EXISTS', `the home has another key in the place of ${subject}`, {
    hint: `It is not overwritten. Look at it with \`kvx inspect ${materialPath(workspace.home, name, version)}\`, move it away, then restore again.`,
  })
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
