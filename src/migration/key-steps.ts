import { listBackups } from '../backup/backups.ts'
import type { KeyConfig } from '../config/schema.ts'
import { sealCanary } from '../core/canary.ts'
import { KvxError } from '../core/errors.ts'
import { fingerprintOf } from '../core/fingerprint.ts'
import { createBackupOf } from '../keyring/backup-key.ts'
import { changeKeyring, keyOf, readKeyring, reservedVersion, versionOf } from '../keyring/keyring.ts'
import {
  hasMaterial,
  loadMaterial,
  readMaterial,
  removeUnfinishedMaterial,
  writeMaterial,
} from '../keyring/material.ts'
import { newMaterial } from '../keyring/new-material.ts'
import { configuredKey, type Workspace } from '../keyring/workspace.ts'
import { randomBytes } from '../platform/random.ts'
import { isBackedUp, recordWithoutBackup } from './gates.ts'

/**
 * The steps that law 1 puts before the first use of a new key. Each one looks at what is there and does only
 * what is missing, so that any of them may be repeated after a crash. The canary comes before the backup, not after
 * it as the law lists them: it is a text of kvx's own, lost without harm together with the key, and a split into
 * shares takes a key that its canary proves. Nothing of the application is sealed before the backup is proven.
 */
export type NewVersion = {
  readonly name: string
  readonly version: number
  readonly run: string | null
}

/** Numbers have nine digits at most: `NAME@VERSION`, file names and version columns rely on it. */
const lastVersion = 999_999_999

/** @throws STATE_TRANSITION when no number is left for a new version */
export function refuseNumbersUsedUp(name: string, next: number): void {
  if (next <= lastVersion) return
  throw new KvxError(
    'STATE_TRANSITION',
    `${name} has no number left for a new version after ${lastVersion}`,
    {
      hint: `Nothing was changed. Declare a key of another name, import the current key there under a smaller number, and go on with that.`,
    },
  )
}

/** Reserves the next number for a run: durable, and never given to anything else. */
export async function reserve(workspace: Workspace, name: string, run: string): Promise<number> {
  return changeKeyring(workspace.home, (ring) => {
    const key = keyOf(ring, name)
    const mine = Object.entries(key.versions).find(([, record]) => record.run === run)
    if (mine !== undefined) return Number(mine[0])
    const version = key.next
    refuseNumbersUsedUp(name, version)
    key.versions[String(version)] = reservedVersion('generated', run)
    key.next = version + 1
    return version
  })
}

/** Material, durable on the medium, then its fingerprint in the keyring. */
export async function makeMaterial(workspace: Workspace, at: NewVersion): Promise<void> {
  const { home } = workspace
  const { name, version } = at
  const record = versionOf(keyOf(await readKeyring(home), name), name, version)
  if (record.fingerprint !== null) return
  if (!(await hasMaterial(home, name, version))) {
    const fresh = newMaterial(configuredKey(workspace.config, name))
    try {
      await writeMaterial(home, name, version, fresh)
    } finally {
      fresh.wipe()
    }
  }
  // Read back from the file: what is recorded is what lies there, durably and under one name, whoever wrote it.
  await removeUnfinishedMaterial(home, name, version)
  const material = await readMaterial(home, name, version)
  try {
    const fingerprint = fingerprintOf(material)
    await changeKeyring(home, (ring) => {
      const draft = versionOf(keyOf(ring, name), name, version)
      draft.fingerprint = fingerprint
      draft.bytes = material.length
    })
  } finally {
    material.wipe()
  }
}

/**
 * The configured backup of the version, or the recorded reason to go without one. Shares are dealt by hand.
 * @throws NO_TESTED_BACKUP while the backup is neither tested nor confirmed
 */
export async function ensureBackup(
  workspace: Workspace,
  at: NewVersion,
  key: { readonly config: KeyConfig; readonly withoutReason: string | undefined },
): Promise<void> {
  const { home } = workspace
  const { name, version } = at
  const subject = `${name}@${version}`
  if (await isBackedUp(workspace, await readKeyring(home), name, version)) return
  if (key.withoutReason !== undefined) {
    await recordWithoutBackup(workspace, name, version, key.withoutReason)
    return
  }
  if (key.config.backup === undefined) throw withoutBackup(name, version)
  const { recipients } = key.config.backup
  if (recipients.length === 0) throw unsplit(name, version)
  const id =
    (await waitingBackup(workspace, { name, version }, recipients)) ??
    (await newBackup(workspace, at, recipients))
  if (await isBackedUp(workspace, await readKeyring(home), name, version)) return
  throw new KvxError('NO_TESTED_BACKUP', `the backup ${id} of ${subject} was made and waits for its proof`, {
    hint: `A recipient opens it anywhere with plain gpg and reads out the line \`receipt:\`; then \`kvx backup confirm ${id}\` and \`kvx rotate ${name} --activate\`. Where none of them can: \`kvx backup create ${subject}\` makes another, to the recipients that are configured then.`,
    details: { backup: id, subject },
  })
}

function unsplit(name: string, version: number): KvxError {
  const subject = `${name}@${version}`
  return new KvxError('NO_TESTED_BACKUP', `the shares of ${subject} are not dealt and confirmed yet`, {
    hint: `Deal them: \`kvx backup split ${subject}\`; when each custodian has confirmed: \`kvx rotate ${name} --activate\`.`,
    details: { subject },
  })
}

export function withoutBackup(name: string, version: number): KvxError {
  return new KvxError(
    'NO_TESTED_BACKUP',
    `${name} has no configured backup, so ${name}@${version} cannot be used`,
    {
      hint: `Add \`backup: { recipients: [...] }\` to the key, or say why not: \`--without-backup --reason TEXT\`.`,
    },
  )
}

/** One that was made to other recipients than the configured ones may wait for somebody who is gone. */
async function waitingBackup(
  workspace: Workspace,
  { name, version }: { readonly name: string; readonly version: number },
  recipients: readonly string[],
): Promise<string | undefined> {
  const wanted = sortedSet(recipients)
  const record = versionOf(keyOf(await readKeyring(workspace.home), name), name, version)
  const { backups } = await listBackups(workspace.home.backups)
  return backups.find(
    ({ manifest }) =>
      manifest.name === name &&
      manifest.version === version &&
      manifest.fingerprint === record.fingerprint &&
      sortedSet(manifest.recipients.map(({ fingerprint }) => fingerprint)) === wanted,
  )?.manifest.id
}

function sortedSet(fingerprints: readonly string[]): string {
  return [...new Set(fingerprints.map((fingerprint) => fingerprint.toUpperCase()))].sort().join(' ')
}

async function newBackup(
  workspace: Workspace,
  at: NewVersion,
  recipients: readonly string[],
): Promise<string> {
  const { created } = await createBackupOf(workspace, { name: at.name, version: at.version, recipients })
  if (created === undefined) throw new TypeError('this was no dry run')
  return created.backup.manifest.id
}

/** A canary beside the record: from now on every load proves the key with it. */
export async function ensureCanary(
  workspace: Workspace,
  at: Pick<NewVersion, 'name' | 'version'>,
): Promise<void> {
  const { name, version } = at
  const record = versionOf(keyOf(await readKeyring(workspace.home), name), name, version)
  if (record.canary !== null) return
  const material = await loadMaterial(workspace.home, name, version, record)
  try {
    const canary = sealCanary(material, `${name}@${version}`, randomBytes(12))
    await changeKeyring(workspace.home, (ring) => {
      versionOf(keyOf(ring, name), name, version).canary = canary
    })
  } finally {
    material.wipe()
  }
}
