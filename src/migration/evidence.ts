import { type AuditEntry } from '../audit/entry.ts'
import { readPublicKeys } from '../audit/audit-key.ts'
import { readAudit } from '../audit/read-audit.ts'
import type { AuditVerdict } from '../audit/verify-audit.ts'
import { verifyHome } from '../audit/verify-evidence.ts'
import { listBackups, type StoredBackup } from '../backup/backups.ts'
import { listShareSets, type StoredShareSet } from '../backup/shares/share-sets.ts'
import type { Config } from '../config/config.ts'
import { readKeyring } from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { currentActor } from '../platform/actor.ts'
import { isoNow } from '../platform/clock.ts'
import type { Journal, RunRow } from './journal.ts'
import { takeStatus, type Status } from './status.ts'
import { readVerified, type Verified } from './verified.ts'

/** What a report for people is made of: facts of the home, the log and the configuration, and no key. */
export type Evidence = {
  readonly at: string
  readonly actor: string
  readonly home: string
  readonly config: Config
  /** Fingerprints of the keys that signed, the current one first. */
  readonly auditKeys: readonly string[]
  readonly verdict: AuditVerdict
  /** Times of the first and the last entry of the log. */
  readonly span: readonly [string, string] | undefined
  /** How often each action ended, and how often not with 0. */
  readonly actions: ReadonlyMap<string, { readonly done: number; readonly failed: number }>
  /** Entries that say why a rule was not kept, or who approved something. */
  readonly remarkable: readonly AuditEntry[]
  readonly ring: Keyring
  readonly backups: readonly StoredBackup[]
  readonly shareSets: readonly StoredShareSet[]
  readonly runs: readonly (RunRow & { readonly plan: string | undefined })[]
  readonly verified: Readonly<Record<string, Verified>>
  readonly status: Status
}

/** Reads everything that a report tells. Opens no record and no key. */
export async function collectEvidence(workspace: Workspace, journal: Journal): Promise<Evidence> {
  const { home, config } = workspace
  const log = await readLog(home.audit)
  return {
    at: isoNow(),
    actor: currentActor(),
    home: home.path,
    config,
    auditKeys: (await readPublicKeys(home.audit)).map(({ fingerprint }) => fingerprint),
    verdict: await verifyHome(home),
    ...log,
    ring: await readKeyring(home),
    backups: (await listBackups(home.backups)).backups,
    shareSets: (await listShareSets(home.backups)).sets,
    runs: journal.list().map((run) => ({ ...run, plan: journal.planOf(run.id) })),
    verified: await readVerified(home),
    status: await takeStatus(workspace, journal),
  }
}

/** So many remarkable entries stand in a report; the log has all of them. */
const maxRemarkable = 200

async function readLog(directory: string): Promise<Pick<Evidence, 'span' | 'actions' | 'remarkable'>> {
  let span: [string, string] | undefined
  const actions = new Map<string, { done: number; failed: number }>()
  const remarkable: AuditEntry[] = []
  for await (const entry of readAudit(directory)) {
    span = [span?.[0] ?? entry.at, entry.at]
    if (entry.phase === 'intent') {
      if (isRemarkable(entry)) remarkable.push(entry)
      continue
    }
    const ends = actions.get(entry.action) ?? { done: 0, failed: 0 }
    actions.set(entry.action, ends)
    if ((entry.exit ?? 0) === 0) ends.done += 1
    else ends.failed += 1
  }
  return { span, actions, remarkable: remarkable.slice(-maxRemarkable) }
}

function isRemarkable({ action, data }: AuditEntry): boolean {
  return action === 'plan.apply' || 'reason' in data || 'withoutBackup' in data || 'acceptedLoss' in data
}
