import { usableBackups } from '../backup/backups.ts'
import { activeShareSets } from '../backup/shares/share-sets.ts'
import { sinkBacklog } from '../audit/sink.ts'
import { parseDuration } from '../core/duration.ts'
import { versionsOf } from '../keyring/keyring.ts'
import type { KeyRecord } from '../keyring/keyring-file.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { now } from '../platform/clock.ts'
import type { DueItem } from './status.ts'
import { readVerified, type Verified } from './verified.ts'

/**
 * So many values may lie under one key with random nonces of 96 bits before two of them are likely enough to meet:
 * 2^32, NIST SP 800-38D, 8.3.
 */
const randomNonceBound = 2 ** 32

/** What a version has been allowed, and how much of it is used. Dates are UTC. */
export type VersionLimits = {
  readonly version: number
  /** When it stops sealing; null without an end, and before it was ever active. */
  readonly sealUntil: string | null
  /** When it stops opening. */
  readonly openUntil: string | null
  /** Values that the last full look found under it; null before one. */
  readonly values: number | null
  readonly maxValues: number
}

export function activatedAt(key: KeyRecord, version: number): Date | undefined {
  // A version that was suspended, or that a rollback took up again, goes on with the age that it has.
  const step = key.versions[String(version)]?.history.find(({ to }) => to === 'active')
  return step === undefined ? undefined : new Date(step.at)
}

/** The limits of every version that is neither retired nor destroyed. */
export async function limitsOf(
  workspace: Workspace,
  name: string,
  key: KeyRecord,
): Promise<readonly VersionLimits[]> {
  const period = workspace.config.keys[name]?.cryptoperiod
  const verified = Object.values(await readVerified(workspace.home)).filter((one) => one.key === name)
  return versionsOf(key).flatMap(([version, { retired, state }]) => {
    if (retired !== null || state === 'destroyed') return []
    const since = activatedAt(key, version)
    return [
      {
        version,
        sealUntil: endOf(since, period?.seal),
        openUntil: endOf(since, period?.open),
        values: valuesUnder(verified, `${name}@${version}`),
        maxValues: period?.values ?? randomNonceBound,
      },
    ]
  })
}

function endOf(since: Date | undefined, period: string | undefined): string | null {
  const ms = parseDuration(period ?? '')
  if (since === undefined || ms === undefined) return null
  return `${new Date(since.getTime() + ms).toISOString().slice(0, 19)}Z`
}

function valuesUnder(verified: readonly Verified[], subject: string): number | null {
  if (verified.length === 0) return null
  return verified.reduce((sum, { byVersion }) => sum + (byVersion[subject] ?? 0), 0)
}

/** Cryptoperiods that are over, and versions that have sealed as many values as they may. */
export function limitItems(
  name: string,
  key: KeyRecord,
  limits: readonly VersionLimits[],
): readonly DueItem[] {
  return limits.flatMap(({ version, sealUntil, openUntil, values, maxValues }) => {
    const subject = `${name}@${version}`
    const items: DueItem[] = []
    if (key.seals === version && isOver(sealUntil)) {
      const message = `${subject} was to stop sealing on ${day(sealUntil)}`
      items.push({ code: 'CRYPTOPERIOD_SEAL', subject, message, command: `kvx rotate ${name}` })
    }
    if (isOver(openUntil)) {
      const message = `${subject} was to stop opening on ${day(openUntil)}`
      items.push({ code: 'CRYPTOPERIOD_OPEN', subject, message, command: 'kvx verify' })
    }
    if (key.seals === version && values !== null && values >= maxValues) {
      const message = `${values} values lie under ${subject}, and ${maxValues} are allowed`
      items.push({ code: 'VALUES_LIMIT', subject, message, command: `kvx rotate ${name}` })
    }
    return items
  })
}

function isOver(end: string | null): boolean {
  return end !== null && Date.parse(end) < now().getTime()
}

function day(time: string | null): string {
  return time?.slice(0, 10) ?? ''
}

/** How many proven backups a version has: OpenPGP ones, and active share sets. */
export async function countBackups(
  workspace: Workspace,
  name: string,
  version: number,
  fingerprint: string,
): Promise<number> {
  const trust = { fingerprint, verify: workspace.verify }
  const { backups } = workspace.home
  const usable = await usableBackups(backups, name, version, trust)
  return usable.length + (await activeShareSets(backups, name, version, trust)).length
}

/** Fewer backups than the policy asks for. None at all is told as that. */
export function backupCountItem(
  workspace: Workspace,
  name: string,
  version: number | null,
  count: number,
): readonly DueItem[] {
  const wanted = workspace.config.policy.backups ?? 1
  if (version === null || count === 0 || count >= wanted) return []
  const subject = `${name}@${version}`
  const message = `${subject} has ${count} proven ${count === 1 ? 'backup' : 'backups'}, and the policy asks for ${wanted}`
  return [{ code: 'BACKUPS_FEWER', subject, message, command: `kvx backup create ${subject}` }]
}

/** Entries of the log that the sink did not take. */
export async function sinkItem({ config, home }: Workspace): Promise<readonly DueItem[]> {
  if (config.audit.sink === undefined) return []
  const behind = await sinkBacklog(home.audit)
  if (behind === 0) return []
  const message = `the audit sink did not take the last ${behind} bytes of the log; they go with the next command that writes to it`
  return [{ code: 'AUDIT_SINK_BEHIND', subject: 'audit', message, command: 'kvx audit show' }]
}
