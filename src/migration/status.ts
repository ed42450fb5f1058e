import { listBackups, type StoredBackup } from '../backup/backups.ts'
import { parseDuration } from '../core/duration.ts'
import { keyOf, readKeyring, versionOf, versionsOf } from '../keyring/keyring.ts'
import type { KeyRecord, Keyring } from '../keyring/keyring-file.ts'
import { publicationDrift } from '../keyring/publish/publish.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { now } from '../platform/clock.ts'
import { drillItem, type DrillStatus, drillStatus, shareSetItems } from './backup-status.ts'
import {
  activatedAt,
  backupCountItem,
  countBackups,
  limitItems,
  limitsOf,
  sinkItem,
  type VersionLimits,
} from './policy-due.ts'
import { dueDestructions } from './destroy.ts'
import { hasProvenBackup } from './gates.ts'
import type { Journal, RunRow } from './journal.ts'

/** Something that an operator should do, and the command for it. */
export type DueItem = {
  readonly code:
    | 'RUN_OPEN'
    | 'NO_TESTED_BACKUP'
    | 'WITHOUT_BACKUP'
    | 'CRYPTOPERIOD_SEAL'
    | 'CRYPTOPERIOD_OPEN'
    | 'PUBLICATION_DIFFERS'
    | 'NOT_RETIRED'
    | 'DESTRUCTION_DUE'
    | 'RECIPIENT_EXPIRES'
    | 'COMPROMISED'
    | 'DRILL_DUE'
    | 'SET_PENDING'
    | 'SHARES_OUTSTANDING'
    | 'BACKUPS_FEWER'
    | 'VALUES_LIMIT'
    | 'AUDIT_SINK_BEHIND'
  readonly subject: string
  readonly message: string
  readonly command: string
}

export type KeyStatus = {
  readonly name: string
  readonly purpose: KeyRecord['purpose']
  readonly seals: number | null
  /** Whole days since the version that seals became active. */
  readonly ageDays: number | null
  /** When it should stop sealing, UTC; null without a cryptoperiod. */
  readonly sealUntil: string | null
  readonly backedUp: boolean
  /** Proven backups of the version that seals. */
  readonly backups: number
  /** Of versions that are neither retired nor destroyed. */
  readonly limits: readonly VersionLimits[]
} & DrillStatus

export type Status = {
  readonly keys: readonly KeyStatus[]
  readonly runs: readonly RunRow[]
  readonly due: readonly DueItem[]
}

const dayMs = 86_400_000
const recipientWarningDays = 30

/** What there is and what is due. Reads the home and published places; opens no record. */
export async function takeStatus(workspace: Workspace, journal: Journal): Promise<Status> {
  const ring = await readKeyring(workspace.home)
  const keys: KeyStatus[] = []
  const due: DueItem[] = journal.unfinished().map(openRun)
  for (const [name, key] of Object.entries(ring.keys)) {
    const status = await statusOf(workspace, ring, name, key)
    keys.push(status)
    due.push(...drillItem(name, key.seals, status))
    due.push(...(await keyItems(workspace, ring, name, key)))
    due.push(...backupCountItem(workspace, name, key.seals, status.backups))
    due.push(...limitItems(name, key, status.limits))
  }
  due.push(...dueDestructions(ring).map(destruction))
  due.push(...(await expiringRecipients(workspace, ring)))
  due.push(...(await shareSetItems(workspace)))
  due.push(...(await sinkItem(workspace)))
  return { keys, runs: journal.unfinished(), due }
}

async function statusOf(
  workspace: Workspace,
  ring: Keyring,
  name: string,
  key: KeyRecord,
): Promise<KeyStatus> {
  const fingerprint = key.seals === null ? null : versionOf(key, name, key.seals).fingerprint
  const backups =
    key.seals === null || fingerprint === null
      ? 0
      : await countBackups(workspace, name, key.seals, fingerprint)
  const since = key.seals === null ? undefined : activatedAt(key, key.seals)
  const period = parseDuration(workspace.config.keys[name]?.cryptoperiod?.seal ?? '')
  return {
    name,
    purpose: key.purpose,
    seals: key.seals,
    ageDays: since === undefined ? null : Math.floor((now().getTime() - since.getTime()) / dayMs),
    sealUntil: since === undefined || period === undefined ? null : isoOf(since.getTime() + period),
    backedUp: backups > 0,
    backups,
    limits: await limitsOf(workspace, name, key),
    ...(await drillStatus(workspace, ring, name)),
  }
}

function isoOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

async function keyItems(
  workspace: Workspace,
  ring: Keyring,
  name: string,
  key: KeyRecord,
): Promise<readonly DueItem[]> {
  const config = workspace.config.keys[name]
  const items: DueItem[] = [...(await backupItems(workspace, ring, name, key))]
  for (const place of config === undefined ? [] : await publicationDrift(ring, name, config)) {
    items.push({
      code: 'PUBLICATION_DIFFERS',
      subject: name,
      message: `${place} does not hold what the keyring says`,
      command: `kvx key publish ${name}`,
    })
  }
  for (const [version, record] of versionsOf(key)) {
    const subject = `${name}@${version}`
    if (record.state === 'compromised' && record.retired === null) {
      items.push({
        code: 'COMPROMISED',
        subject,
        message: `${subject} is compromised and not retired`,
        command: `kvx retire ${subject}`,
      })
    }
  }
  if (key.previous !== null && key.staged === null) {
    const subject = `${name}@${key.previous}`
    items.push({
      code: 'NOT_RETIRED',
      subject,
      message: `${subject} still lies in the previous slot`,
      command: `kvx retire ${subject}`,
    })
  }
  return items
}

async function backupItems(
  workspace: Workspace,
  ring: Keyring,
  name: string,
  key: KeyRecord,
): Promise<readonly DueItem[]> {
  if (key.seals === null) return []
  const subject = `${name}@${key.seals}`
  if (await hasProvenBackup(workspace, ring, name, key.seals)) return []
  const { withoutBackup } = versionOf(keyOf(ring, name), name, key.seals)
  if (withoutBackup !== null) {
    const message = `${subject} is used without a backup: ${withoutBackup.reason}`
    return [{ code: 'WITHOUT_BACKUP', subject, message, command: `kvx backup create ${subject}` }]
  }
  const message = `${subject} has no backup that was tested or confirmed`
  return [{ code: 'NO_TESTED_BACKUP', subject, message, command: `kvx backup create ${subject}` }]
}

function openRun(run: RunRow): DueItem {
  return {
    code: 'RUN_OPEN',
    subject: run.id,
    message: `the ${run.kind} of ${run.key} is not finished (${run.status})`,
    command: `kvx run resume ${run.id}`,
  }
}

function destruction({ name, version }: { readonly name: string; readonly version: number }): DueItem {
  const subject = `${name}@${version}`
  return {
    code: 'DESTRUCTION_DUE',
    subject,
    message: `the waiting time of ${subject} is over`,
    command: 'kvx destroy --due',
  }
}

async function expiringRecipients(workspace: Workspace, ring: Keyring): Promise<readonly DueItem[]> {
  const { backups } = await listBackups(workspace.home.backups)
  return backups
    .filter((backup) => isCurrent(ring, backup))
    .flatMap((backup) => {
      const { manifest } = backup
      return manifest.recipients.flatMap(({ userId, expires }) => {
        if (expires === null || Date.parse(expires) - now().getTime() > recipientWarningDays * dayMs)
          return []
        const message = `the key of ${userId} expires on ${expires.slice(0, 10)}; backup ${manifest.id} is encrypted to it`
        return [
          {
            code: 'RECIPIENT_EXPIRES' as const,
            subject: manifest.id,
            message,
            command: `kvx backup create ${manifest.name}`,
          },
        ]
      })
    })
}

function isCurrent(ring: Keyring, { manifest }: StoredBackup): boolean {
  return ring.keys[manifest.name]?.seals === manifest.version
}
