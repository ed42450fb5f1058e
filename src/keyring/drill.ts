import { resolve } from 'node:path'
import { withIntent } from '../audit/with-intent.ts'
import { findBackup } from '../backup/backups.ts'
import type { BackupWarning } from '../backup/errors.ts'
import { openBackup } from '../backup/restore.ts'
import { RestoreSession } from '../backup/shares/restore-session.ts'
import { type ShareSet, shownSet } from '../backup/shares/share-set.ts'
import { opensCanary } from '../core/canary.ts'
import { KvxError } from '../core/errors.ts'
import { checkValueOf } from '../core/fingerprint.ts'
import type { Secret } from '../core/secret.ts'
import { currentActor } from '../platform/actor.ts'
import { isoNow, monotonicMs, now } from '../platform/clock.ts'
import { exists } from '../platform/files.ts'
import { kvxVersion } from '../version.ts'
import { drillAction, type DrillReport, writeDrillReport } from './drill-reports.ts'
import type { VersionRecord } from './keyring-file.ts'
import { keyOf, parseSubject, readKeyring, refreshCopy, versionOf } from './keyring.ts'
import { ownSets, rebuildFrom, type ShareSource } from './share-source.ts'
import type { Workspace } from './workspace.ts'

export type DrillRequest = {
  /** NAME or NAME@VERSION; the version that seals where none is named. */
  readonly subject: string
  /** Shares, from people or a descriptor; or an OpenPGP backup by its id or file. */
  readonly from: { readonly shares: ShareSource } | { readonly backup: string }
  /** Somebody can be asked for a passphrase. */
  readonly interactive: boolean
}

export type Drill = {
  readonly report: DrillReport
  readonly path: string
  readonly warnings: readonly BackupWarning[]
}

/** A drill is due again after a year. */
export const drillPeriodMs = 365 * 86_400_000

/**
 * Gets the key back as on the worst day, and lets it go: it is rebuilt in memory, compared with its full
 * fingerprint, opens the canary of its version, and is wiped. It is never written, shown or returned.
 * @throws KvxError KEY_UNKNOWN, VERSION_UNKNOWN, STATE_TRANSITION, BACKUP_UNKNOWN, FINGERPRINT_DIFFERS,
 * BACKUP_UNUSABLE, SHARE_MISSING, CANARY_FAILED, and those of gpg
 */
export async function runDrill(workspace: Workspace, request: DrillRequest): Promise<Drill> {
  const known = await drilledVersion(workspace, request.subject)
  const { name, version, fingerprint, canary } = known
  const subject = `${name}@${version}`
  const [started, begun] = [isoNow(), monotonicMs()]
  const intent = {
    action: drillAction,
    subject,
    data: { source: 'shares' in request.from ? 'shares' : 'gpg' },
  }
  const drill = await withIntent(workspace.audit, intent, async (conclusion) => {
    const { material, ...facts } = await recovered(workspace, request, known)
    const opens = opensCanary(material, subject, canary)
    material.wipe()
    if (!opens) {
      throw new KvxError(
        'CANARY_FAILED',
        `the key came back, but the canary of ${subject} does not open with it`,
        {
          hint: 'The keyring was changed by something else than kvx: `kvx doctor`.',
        },
      )
    }
    const report: DrillReport = {
      schema: 'kvx.drill-report/1',
      name,
      version,
      fingerprint,
      source: facts.source,
      from: facts.from,
      participants: [...facts.participants],
      opened: 'canary',
      started,
      seconds: Math.round((monotonicMs() - begun) / 1000),
      nextDue: `${new Date(now().getTime() + drillPeriodMs).toISOString().slice(0, 19)}Z`,
      by: currentActor(),
      kvxVersion,
    }
    const { path, named } = await writeDrillReport(workspace, report)
    conclusion.conclude({ from: facts.from, nextDue: report.nextDue, ...named })
    return { report, path, warnings: facts.warnings }
  })
  await refreshCopy(workspace.home)
  return drill
}

type Known = {
  readonly name: string
  readonly version: number
  readonly fingerprint: string
  readonly canary: string
}

async function drilledVersion(workspace: Workspace, text: string): Promise<Known> {
  const { name, version: named } = parseSubject(text)
  const key = keyOf(await readKeyring(workspace.home), name)
  const version = named ?? key.seals
  if (version === null) {
    throw new KvxError('STATE_TRANSITION', `no version of ${name} is active`, {
      hint: `Name one: \`kvx backup drill ${name}@1\`.`,
    })
  }
  const { fingerprint, canary }: VersionRecord = versionOf(key, name, version)
  if (fingerprint !== null && canary !== null) return { name, version, fingerprint, canary }
  throw new KvxError('STATE_TRANSITION', `${name}@${version} has no proven key yet`, {
    hint: 'see its state with `kvx key list`',
  })
}

type Recovered = Pick<DrillReport, 'source' | 'from'> & {
  readonly participants: DrillReport['participants']
  /** The caller wipes it. */
  readonly material: Secret
  readonly warnings: readonly BackupWarning[]
}

async function recovered(workspace: Workspace, request: DrillRequest, known: Known): Promise<Recovered> {
  const { from } = request
  return 'shares' in from
    ? fromShares(workspace, from.shares, known)
    : fromBackup(workspace, { ...request, backup: from.backup }, known)
}

async function fromShares(workspace: Workspace, source: ShareSource, known: Known): Promise<Recovered> {
  const sets = (await ownSets(workspace)).filter(({ fingerprint }) => fingerprint === known.fingerprint)
  const session = new RestoreSession(undefined, sets)
  try {
    const { material, used, suspects } = await rebuildFrom(source, session, () => known.fingerprint)
    const { set, setId = '' } = session
    const warnings: BackupWarning[] = suspects.map((index) => ({
      code: 'SHARE_SUSPECT',
      message: `share ${index} is not of this key: the others rebuilt it without`,
    }))
    if (set === undefined) {
      warnings.push({ code: 'MANIFEST_MISSING', message: 'there was no manifest to compare the shares with' })
    } else if (set.state !== 'active') {
      warnings.push({ code: 'SET_NOT_ACTIVE', message: `the share set ${shownSet(set)} is ${set.state}` })
    }
    const participants = used.map((index) => ({ index, who: custodianOf(set, index) }))
    return { source: 'shares', from: setId.toUpperCase(), participants, material, warnings }
  } finally {
    session.wipe()
  }
}

function custodianOf(set: ShareSet | undefined, index: number): string {
  return set?.shares.find((share) => share.index === index)?.custodian ?? `holder of share ${index}`
}

async function fromBackup(
  workspace: Workspace,
  { backup, interactive }: { readonly backup: string; readonly interactive: boolean },
  known: Known,
): Promise<Recovered> {
  const isFile = backup.includes('/') || (await exists(resolve(backup)))
  const file = isFile ? resolve(backup) : (await findBackup(workspace.home.backups, backup)).path
  const opened = await openBackup(file, {
    interactive,
    knownFingerprint: known.fingerprint,
    verify: workspace.verify,
  })
  const participants = [{ index: null, who: `OpenPGP key ${opened.keyFingerprint}` }]
  const from = isFile ? `check value ${checkValueOf(opened.fingerprint)}` : backup.toUpperCase()
  return { source: 'gpg', from, participants, material: opened.material, warnings: opened.warnings }
}
