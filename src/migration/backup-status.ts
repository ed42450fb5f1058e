import { usableBackups } from '../backup/backups.ts'
import { outstanding, shownSet, verifyShareSet } from '../backup/shares/share-set.ts'
import { activeShareSets, listShareSets } from '../backup/shares/share-sets.ts'
import { parseDuration } from '../core/duration.ts'
import { drillPeriodMs } from '../keyring/drill.ts'
import { lastDrill } from '../keyring/drill-reports.ts'
import { keyOf, versionOf } from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { now } from '../platform/clock.ts'
import type { DueItem } from './status.ts'

export type DrillStatus = {
  /** UTC; null where there was none. */
  readonly lastDrill: string | null
  /** After the policy's interval, a year without one, from the last one or the first backup that counts. */
  readonly drillDue: string | null
}

const dayMs = 86_400_000
/** So long custodians may take to confirm a set. */
const pendingDays = 14

/** When the version that seals was last brought back for practice. */
export async function drillStatus(workspace: Workspace, ring: Keyring, name: string): Promise<DrillStatus> {
  const version = keyOf(ring, name).seals
  if (version === null) return { lastDrill: null, drillDue: null }
  const last = await lastDrill(workspace, name, version)
  const periodMs = parseDuration(workspace.config.policy.drill ?? '')
  if (last !== undefined) {
    const drillDue = periodMs === undefined ? last.nextDue : isoOf(Date.parse(last.started) + periodMs)
    return { lastDrill: last.started, drillDue }
  }
  const { fingerprint } = versionOf(keyOf(ring, name), name, version)
  if (fingerprint === null) return { lastDrill: null, drillDue: null }
  const trust = { fingerprint, verify: workspace.verify }
  const sets = await activeShareSets(workspace.home.backups, name, version, trust)
  const backups = await usableBackups(workspace.home.backups, name, version, trust)
  const times = [...sets.map(({ set }) => set.created), ...backups.map(({ manifest }) => manifest.created)]
  const [first] = times.sort()
  return {
    lastDrill: null,
    drillDue: first === undefined ? null : isoOf(Date.parse(first) + (periodMs ?? drillPeriodMs)),
  }
}

export function drillItem(name: string, version: number | null, status: DrillStatus): readonly DueItem[] {
  if (version === null || status.drillDue === null || Date.parse(status.drillDue) > now().getTime()) return []
  const subject = `${name}@${version}`
  const since = status.lastDrill === null ? 'never' : `last on ${status.lastDrill.slice(0, 10)}`
  return [
    {
      code: 'DRILL_DUE',
      subject,
      message: `nobody practised lately to get ${subject} back (${since})`,
      command: `kvx backup drill ${subject}`,
    },
  ]
}

/** Sets that wait for their custodians for long, and shares that should be destroyed and are not. */
export async function shareSetItems(workspace: Workspace): Promise<readonly DueItem[]> {
  const { sets } = await listShareSets(workspace.home.backups)
  const own = sets.filter((stored) => verifyShareSet(stored, workspace.verify) === 'valid')
  return own.flatMap(({ set }): readonly DueItem[] => {
    const subject = shownSet(set)
    const named = `the share set ${subject} of ${set.name}@${set.version}`
    if (set.state === 'pending' && now().getTime() - Date.parse(set.created) > pendingDays * dayMs) {
      const left = set.shares.filter(({ confirmations }) => confirmations.length === 0)
      return [
        {
          code: 'SET_PENDING',
          subject,
          message: `${named} waits since ${set.created.slice(0, 10)} for ${left.map(({ custodian }) => custodian).join(', ')}`,
          command: `kvx backup confirm ${subject} --index ${left[0]?.index ?? 1}`,
        },
      ]
    }
    if (set.state !== 'superseded') return []
    const indices = outstanding(set).map(({ index }) => index)
    return [
      {
        code: 'SHARES_OUTSTANDING',
        subject,
        message: `${named} is superseded, and ${indices.length} of its shares still open the key`,
        command: `kvx backup confirm ${subject} --destroyed ${indices.join(',')}`,
      },
    ]
  })
}

function isoOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}
