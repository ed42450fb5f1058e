import { isFromUnprovenCopy } from '../audit/home-origin.ts'
import { withIntent } from '../audit/with-intent.ts'
import type { Facts } from '../audit/entry.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import { checkValueOf, fingerprintOf } from '../core/fingerprint.ts'
import type { Secret } from '../core/secret.ts'
import { fsyncDirectory } from '../platform/files.ts'
import { removeLeftover } from '../platform/temp-file.ts'
import { materialPath } from './home.ts'
import { readKeyring } from './keyring.ts'
import { hasMaterial, readMaterial, writeBareMaterial, writeMaterial } from './material.ts'
import type { Workspace } from './workspace.ts'

/** A key that came out of a backup or of shares. The material is lent. */
export type RecoveredKey = {
  readonly name: string
  readonly version: number
  readonly fingerprint: string
  readonly material: Secret
}

export type PutBackOptions = {
  /** For the log: where the key came from. */
  readonly source: Facts
  readonly dryRun: boolean
  /** A side log for the day on which the home's log can't be written. */
  readonly auditTo: string | undefined
  readonly confirm: ConfirmKey
}

/**
 * Asked before a key that came back is written anywhere. A rejection writes nothing.
 * @param key.subject `NAME@VERSION`; undefined for a bare file
 */
export type ConfirmKey = (key: {
  readonly subject: string | undefined
  readonly fingerprint: string
}) => Promise<void>

export type PutBack = { readonly path: string; readonly changed: boolean }

/**
 * Puts a recovered key into its place in the home. The keyring says which key belongs there, and a file that is
 * there already is never replaced.
 * @throws VERSION_UNKNOWN, STATE_TRANSITION for a destroyed version, FINGERPRINT_DIFFERS, KEY_EXISTS
 */
export async function putKeyBack(
  workspace: Workspace,
  key: RecoveredKey,
  options: PutBackOptions,
): Promise<PutBack> {
  const { name, version } = key
  const { home } = workspace
  const subject = `${name}@${version}`
  const path = materialPath(home, name, version)
  await refuseOtherRecord(workspace, key)
  if (await hasMaterial(home, name, version)) {
    await refuseOtherFile(workspace, key)
    // What died between link and unlink left a second name of the key, and a name that is not durable yet.
    if (!options.dryRun) {
      await removeLeftover(path)
      await fsyncDirectory(home.keys)
    }
    return { path, changed: false }
  }
  if (options.dryRun) return { path, changed: false }
  await options.confirm({ subject, fingerprint: key.fingerprint })
  const intent = { action: 'key.restore', subject, data: options.source }
  await logged(options, async () =>
    withIntent(workspace.audit, intent, async () => writeMaterial(home, name, version, key.material)),
  )
  return { path, changed: true }
}

/** Writes a key that came back into a file of its own, outside of every home. @throws TARGET_EXISTS */
export async function writeBareKey(
  path: string,
  { fingerprint, material }: Pick<RecoveredKey, 'fingerprint' | 'material'>,
  { confirm }: Pick<PutBackOptions, 'confirm'>,
): Promise<void> {
  await confirm({ subject: undefined, fingerprint })
  await writeBareMaterial(path, material)
}

/** Whether the keyring's fingerprint proves a key: not where the whole home came from a copy that nothing proved. */
export async function isKeyringProven(workspace: Workspace): Promise<boolean> {
  return !(await isFromUnprovenCopy(workspace.home.audit))
}

/** The worst day is not held up by a log that can't be written. */
async function logged({ auditTo }: PutBackOptions, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!isKvxError(error, 'AUDIT_UNWRITABLE') || auditTo !== undefined) throw error
    throw new KvxError(error.code, error.message, {
      hint: 'Log elsewhere for now: add `--audit-to FILE`; `kvx audit adopt FILE` takes it in later.',
      details: error.details,
    })
  }
}

async function refuseOtherRecord(workspace: Workspace, key: RecoveredKey): Promise<void> {
  const { name, version } = key
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
      { hint: 'Where it is needed once more, write it to a file: `--out FILE`.' },
    )
  }
  if (record.fingerprint === key.fingerprint) return
  throw new KvxError(
    'FINGERPRINT_DIFFERS',
    `the backup holds another key than ${subject}: check value ${checkValueOf(key.fingerprint)}, the keyring has ${checkValueOf(record.fingerprint)}`,
    { hint: `\`kvx backup list ${name}\` shows the backups of the right one. Nothing was written.` },
  )
}

async function refuseOtherFile(workspace: Workspace, key: RecoveredKey): Promise<void> {
  const { name, version } = key
  const live = await readMaterial(workspace.home, name, version)
  const same = fingerprintOf(live) === key.fingerprint
  live.wipe()
  if (same) return
  throw new KvxError('KEY_EXISTS', `the home has another key in the place of ${name}@${version}`, {
    hint: `It is not overwritten. Look at it with \`kvx inspect ${materialPath(workspace.home, name, version)}\`, move it away, then restore again.`,
  })
}
