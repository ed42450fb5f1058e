import { labelOf } from '../config/publishers.ts'
import { parseDuration } from '../core/duration.ts'
import { isKvxError } from '../core/errors.ts'
import { keyOf, versionOf } from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import { makePublisher } from '../keyring/publish/publish.ts'
import { type Publisher, unreadable } from '../keyring/publish/publisher.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { now } from '../platform/clock.ts'
import { backupFiles } from './ciphertext-backup.ts'
import type { Journal, RunRow } from './journal.ts'
import { formerPublications } from './publications.ts'
import { readPlan } from './plan.ts'
import { runDirectory } from './runs.ts'

/** Something that can still need a version. Its material does not go while one of these is open. */
export type LedgerEntry = {
  readonly kind: 'run-backup' | 'application-backup' | 'published'
  readonly message: string
  /** The command that settles it, or undefined where only time, or a person's hand, does. */
  readonly settle: string | undefined
  /** A run whose ciphertext backup is so old that the destruction of the version takes it along. */
  readonly expired?: string
}

/**
 * Ciphertext backups of runs hold a version back for so long; `run forget` ends it sooner. Older ones are forgotten
 * together with the version: without it they are bytes that nothing opens.
 */
const runBackupDays = 30
const dayMs = 86_400_000

/**
 * What is known to need a version beside the values themselves: ciphertext backups of runs, backups of the
 * application that may still hold old values, and published copies.
 */
export async function openLedger(
  workspace: Workspace,
  journal: Journal,
  ring: Keyring,
  subject: { readonly name: string; readonly version: number },
): Promise<readonly LedgerEntry[]> {
  return [
    ...(await runBackups(workspace, journal, subject)),
    ...applicationBackups(workspace, ring, subject),
    ...(await publishedCopies(workspace, ring, subject)),
  ]
}

async function runBackups(
  workspace: Workspace,
  journal: Journal,
  subject: { readonly name: string; readonly version: number },
): Promise<readonly LedgerEntry[]> {
  const entries: LedgerEntry[] = []
  for (const run of journal.list()) {
    if (run.key !== subject.name) continue
    const { replaced, overwritten } = await backupFiles(runDirectory(workspace, run.id))
    // Bytes that a run replaced lie under any version but the one that it wrote; a restore overwrites those.
    const wrote = run.direction === 'back' || (await keepsVersion(workspace, run)) ? undefined : run.toVersion
    const files = wrote === subject.version ? overwritten : [...replaced, ...overwritten]
    if (files.length === 0) continue
    const isExpired = Date.parse(run.updated) + runBackupDays * dayMs < now().getTime()
    const holds = `the ciphertext backup of run ${run.id} may hold values under ${subject.name}@${subject.version}`
    entries.push({
      kind: 'run-backup',
      message: isExpired
        ? `${holds}; it is older than ${runBackupDays} days and is removed with the version`
        : holds,
      settle: `kvx run forget ${run.id}`,
      ...(isExpired ? { expired: run.id } : {}),
    })
  }
  return entries
}

/**
 * New DEKs, a first sealing and conversions replace bytes that need the very version that they write, and so does
 * plaintext beside sealed values, which a backup holds sealed. The plan of the run tells, whatever is declared today.
 */
async function keepsVersion(workspace: Workspace, run: RunRow): Promise<boolean> {
  if (run.kind === 'new-deks' || run.kind === 'seal') return true
  try {
    const { envelopes } = (await readPlan(workspace.home, run)).terms
    return /"to":|"plaintext":true/.test(JSON.stringify(envelopes))
  } catch (error) {
    if (isKvxError(error)) return true
    throw error
  }
}

function applicationBackups(
  workspace: Workspace,
  ring: Keyring,
  subject: { readonly name: string; readonly version: number },
): readonly LedgerEntry[] {
  const { retired } = versionOf(keyOf(ring, subject.name), subject.name, subject.version)
  const stores = new Set(
    Object.values(workspace.config.envelopes)
      .filter(({ key }) => key === subject.name)
      .map(({ store }) => store),
  )
  const entries: LedgerEntry[] = []
  for (const store of stores) {
    const retention = parseDuration(workspace.config.stores[store]?.['backup-retention'] ?? '')
    if (retention === undefined || retired === null) continue
    // The retirement is the last moment at which a value under the version may have been there.
    const until = new Date(Date.parse(retired.at) + retention)
    if (until <= now()) continue
    entries.push({
      kind: 'application-backup',
      message: `backups of the store ${store} may hold values under it until ${until.toISOString().slice(0, 10)}`,
      settle: undefined,
    })
  }
  return entries
}

async function publishedCopies(
  workspace: Workspace,
  ring: Keyring,
  subject: { readonly name: string; readonly version: number },
): Promise<readonly LedgerEntry[]> {
  const key = keyOf(ring, subject.name)
  const { fingerprint } = versionOf(key, subject.name, subject.version)
  const entries: LedgerEntry[] = []
  const declared = workspace.config.keys[subject.name]?.publish ?? []
  for (const place of declared) {
    const publisher = makePublisher(place, key)
    const found = await lookInto(publisher, fingerprint)
    if (found === 'other') continue
    const what = found === 'held' ? 'still holds it' : 'cannot be read as a key and may still hold it'
    const settle = `kvx key publish ${subject.name}`
    entries.push({ kind: 'published', message: `${publisher.place} ${what}`, settle })
  }
  for (const place of await formerPublications(workspace, subject.name)) {
    const publisher = makePublisher(place)
    // What holds something else than a key by now is no place of this key any more.
    if ((await lookInto(publisher, fingerprint)) !== 'held') continue
    const message = `${publisher.place} still holds it, and the configuration does not declare it any more: take it out by hand`
    entries.push({ kind: 'published', message, settle: undefined })
  }
  const labels = declared.map(labelOf)
  for (const [place, { current, previous }] of Object.entries(key.handed ?? {})) {
    if (labels.includes(place) || (current !== fingerprint && previous !== fingerprint)) continue
    const message = `${place} got it last, and the configuration does not declare it any more: declare it once again, and publish`
    entries.push({ kind: 'published', message, settle: `kvx key publish ${subject.name}` })
  }
  return entries
}

async function lookInto(
  publisher: Publisher,
  fingerprint: string | null,
): Promise<'held' | 'unreadable' | 'other'> {
  const { current, previous } = await publisher.inspect()
  if (current === unreadable || previous === unreadable) return 'unreadable'
  return current === fingerprint || previous === fingerprint ? 'held' : 'other'
}
