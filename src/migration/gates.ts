import { usableBackups } from '../backup/backups.ts'
import { activeShareSets } from '../backup/shares/share-sets.ts'
import { KvxError } from '../core/errors.ts'
import type { Workspace } from '../keyring/workspace.ts'
import type { KeyConfig } from '../config/schema.ts'
import { changeKeyring, keyOf, versionOf } from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import { everyReader, hasPreviousSlots } from '../keyring/readers.ts'
import { currentActor } from '../platform/actor.ts'
import { isoNow } from '../platform/clock.ts'
import type { Journal } from './journal.ts'

/** A key with an unfinished run is not touched by another one. @throws RUN_OPEN naming the way on and back */
export function refuseOpenRun(journal: Journal, key: string, except?: string): void {
  const open = journal.unfinished().find((run) => run.key === key && run.id !== except)
  if (open === undefined) return
  // A resume of a run that waits for its readers or its backup would only find that it waits.
  const on = open.status === 'waiting' ? `kvx rotate ${key} --activate` : `kvx run resume ${open.id}`
  throw new KvxError('RUN_OPEN', `the ${open.kind} ${open.id} of ${key} is not finished (${open.status})`, {
    hint: `Go on with \`${on}\`, or undo it with \`kvx run rollback ${open.id}\`. Where both refuse: \`kvx run abandon ${open.id} --reason TEXT\`.`,
    details: { run: open.id, status: open.status },
  })
}

/**
 * Readers with one slot get no key while their data lies under two versions: a run that is under way gives it
 * back at its end. @throws RUN_OPEN
 */
export function refuseWithdrawn(journal: Journal, ring: Keyring, name: string, config: KeyConfig): void {
  if (hasPreviousSlots(config)) return
  const { seals } = keyOf(ring, name)
  const open = journal
    .unfinished()
    .find((run) => run.key === name && (run.direction === 'back' || run.toVersion === seals))
  if (open !== undefined) refuseOpenRun(journal, name)
}

/** The version that seals. @throws STATE_TRANSITION when none does, or it is suspended or compromised */
export function sealingVersion(ring: Keyring, name: string): number {
  const { seals } = keyOf(ring, name)
  if (seals !== null) {
    requireSealing(ring, { name, version: seals })
    return seals
  }
  throw new KvxError('STATE_TRANSITION', `no version of ${name} is active`, {
    hint: `See \`kvx key show ${name}\`; a first version comes from \`kvx key import ${name}\` or \`kvx keygen ${name}\`.`,
  })
}

/** Values move to an active version only. @throws STATE_TRANSITION */
export function requireSealing(ring: Keyring, { name, version }: Subject): void {
  const { state } = versionOf(keyOf(ring, name), name, version)
  if (state === 'active') return
  throw new KvxError('STATE_TRANSITION', `${name}@${version} is ${state}, so no value is sealed under it`, {
    hint:
      state === 'suspended'
        ? `Take it back into use: \`kvx key resume ${name}@${version} --reason TEXT\`.`
        : `Let another version seal: \`kvx rotate ${name}\`.`,
  })
}

type Subject = { readonly name: string; readonly version: number }

/**
 * Nothing is sealed under a version that a reader may not have yet.
 * @throws ROLLOUT_NOT_DECLARED unless the rollout was probed or declared before, or is declared now
 */
export function refuseUnknownRollout(
  workspace: Workspace,
  ring: Keyring,
  { name, version }: Subject,
  declared: boolean,
): void {
  if (declared || versionOf(keyOf(ring, name), name, version).rollout !== null) return
  throw new KvxError(
    'ROLLOUT_NOT_DECLARED',
    `it is not known whether ${everyReader(workspace.config.keys[name])} has ${name}@${version} yet`,
    {
      hint: `A reader that took its key at start cannot open what is sealed under a newer one. Restart the readers, then declare it: add \`--rolled-out\`.`,
    },
  )
}

/** The same, and a declaration is recorded. @throws ROLLOUT_NOT_DECLARED */
export async function requireRollout(
  workspace: Workspace,
  ring: Keyring,
  subject: Subject,
  declared: boolean,
): Promise<void> {
  const { name, version } = subject
  refuseUnknownRollout(workspace, ring, subject, declared)
  if (versionOf(keyOf(ring, name), name, version).rollout !== null) return
  await changeKeyring(workspace.home, (draft) => {
    versionOf(keyOf(draft, name), name, version).rollout = {
      how: 'declared',
      at: isoNow(),
      actor: currentActor(),
    }
  })
}

/** Why a version counts as backed up: a tested or confirmed backup, an active share set, or a recorded reason to go without. */
export async function isBackedUp(
  workspace: Workspace,
  ring: Keyring,
  name: string,
  version: number,
): Promise<boolean> {
  const { withoutBackup } = versionOf(keyOf(ring, name), name, version)
  return withoutBackup !== null || hasProvenBackup(workspace, ring, name, version)
}

/** A tested or confirmed backup, or an active share set; a recorded reason to go without is none. */
export async function hasProvenBackup(
  workspace: Workspace,
  ring: Keyring,
  name: string,
  version: number,
): Promise<boolean> {
  const record = versionOf(keyOf(ring, name), name, version)
  if (record.fingerprint === null) return false
  const trust = { fingerprint: record.fingerprint, verify: workspace.verify }
  const usable = await usableBackups(workspace.home.backups, name, version, trust)
  if (usable.length > 0) return true
  return (await activeShareSets(workspace.home.backups, name, version, trust)).length > 0
}

/** No value moves to a version whose loss nobody could mend. @throws NO_TESTED_BACKUP */
export async function refuseUnbacked(
  workspace: Workspace,
  ring: Keyring,
  subject: Subject,
  without: string | undefined,
): Promise<void> {
  const { name, version } = subject
  if (without !== undefined || (await isBackedUp(workspace, ring, name, version))) return
  throw new KvxError('NO_TESTED_BACKUP', `${name}@${version} has no backup that was tested or confirmed`, {
    hint: `Make one with \`kvx backup create ${name}@${version}\`; or say why not: \`--without-backup --reason TEXT\`.`,
  })
}

export async function recordWithoutBackup(
  workspace: Workspace,
  name: string,
  version: number,
  reason: string,
): Promise<void> {
  await changeKeyring(workspace.home, (draft) => {
    versionOf(keyOf(draft, name), name, version).withoutBackup = {
      reason,
      at: isoNow(),
      actor: currentActor(),
    }
  })
}
