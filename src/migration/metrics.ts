import { listBackups } from '../backup/backups.ts'
import { listShareSets } from '../backup/shares/share-sets.ts'
import type { Config } from '../config/config.ts'
import { parseDuration } from '../core/duration.ts'
import { readKeyring, versionsOf } from '../keyring/keyring.ts'
import type { KeyRecord, Keyring } from '../keyring/keyring-file.ts'
import { publicationDrift } from '../keyring/publish/publish.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { now } from '../platform/clock.ts'
import { kvxVersion } from '../version.ts'
import { hasProvenBackup } from './gates.ts'
import type { Journal } from './journal.ts'
import { type DueItem, takeStatus } from './status.ts'
import { readVerified, type Verified } from './verified.ts'

export type Labels = Readonly<Record<string, string>>

/** One number; times are seconds since 1970, as Prometheus counts them. */
export type Sample = { readonly labels: Labels; readonly value: number }

/** A family of gauges: what kvx tells can grow and shrink, since it is looked at anew each time. */
export type Metric = { readonly name: string; readonly help: string; readonly samples: readonly Sample[] }

/**
 * What a monitoring system should know of a home. Reads the home and the published places, opens no record and
 * no key. What is in the values is told as the last full `kvx verify` found it.
 */
export async function takeMetrics(workspace: Workspace, journal: Journal): Promise<readonly Metric[]> {
  const ring = await readKeyring(workspace.home)
  const status = await takeStatus(workspace, journal)
  const verified = await readVerified(workspace.home)
  const places = await configuredKeys(workspace, ring)
  return [
    gauge('kvx_build_info', 'The version of kvx that wrote this.', [[{ version: kvxVersion }, 1]]),
    gauge('kvx_metrics_written_timestamp_seconds', 'When this was written.', [[{}, seconds(now())]]),
    ...keyMetrics(workspace.config, ring),
    gauge(
      'kvx_key_published',
      'Whether every published place of the key holds what the keyring says (1) or something else (0).',
      places.map(([key, isRight]) => [{ key }, Number(isRight)]),
    ),
    ...(await backupMetrics(workspace, ring)),
    ...runMetrics(journal),
    ...verifyMetrics(verified, ring),
    gauge('kvx_due', 'What kvx status names as due: 1 for each item.', dueSamples(status.due)),
    ...ownMetrics(workspace.config, places, verified),
  ].filter(({ samples }) => samples.length > 0)
}

type Row = readonly [labels: Labels, value: number]

function gauge(name: string, help: string, rows: readonly Row[]): Metric {
  return { name, help, samples: rows.map(([labels, value]) => ({ labels, value })) }
}

function seconds(time: Date | string): number {
  return Math.floor(new Date(time).getTime() / 1000)
}

function keyMetrics(config: Config, ring: Keyring): readonly Metric[] {
  const versions = Object.entries(ring.keys).flatMap(([key, record]) =>
    versionsOf(record).map(([version, facts]) => ({ key, record, version, facts })),
  )
  const activated = versions.flatMap(({ key, facts, version }) => {
    // A version that was suspended, or that a rollback took up again, goes on with the age that it has.
    const step = facts.history.find(({ to }) => to === 'active')
    const isOver = facts.retired !== null || facts.state === 'destroyed'
    return step === undefined || isOver ? [] : [{ key, version: String(version), at: seconds(step.at) }]
  })
  const until = (period: 'seal' | 'open'): readonly Row[] =>
    activated.flatMap(({ key, version, at }) => {
      const limit = parseDuration(config.keys[key]?.cryptoperiod?.[period] ?? '')
      const counts = period === 'open' || ring.keys[key]?.seals === Number(version)
      return limit === undefined || !counts ? [] : [[{ key, version }, at + limit / 1000] as const]
    })
  return [
    gauge(
      'kvx_key_version_state',
      'The state of each version: always 1, the state is a label.',
      versions.map(({ key, version, facts }) => [{ key, version: String(version), state: facts.state }, 1]),
    ),
    gauge('kvx_key_seals', 'The version of each key that seals: always 1.', sealing(ring)),
    gauge(
      'kvx_key_activated_timestamp_seconds',
      'When a version that is not retired was first allowed to seal.',
      activated.map(({ key, version, at }) => [{ key, version }, at]),
    ),
    gauge(
      'kvx_key_age_seconds',
      'How long ago that was when this was written.',
      activated.map(({ key, version, at }) => [{ key, version }, Math.max(0, seconds(now()) - at)]),
    ),
    gauge(
      'kvx_key_seal_until_timestamp_seconds',
      'When the version that seals should stop, by the cryptoperiod of its key.',
      until('seal'),
    ),
    gauge(
      'kvx_key_open_until_timestamp_seconds',
      'When a version should not open any more, by the cryptoperiod of its key.',
      until('open'),
    ),
  ]
}

function sealing(ring: Keyring): readonly Row[] {
  return Object.entries(ring.keys).flatMap(([key, { seals, purpose }]) =>
    seals === null ? [] : [[{ key, version: String(seals), purpose }, 1] as const],
  )
}

/** Keys that have a published place, and whether all of those hold what they should. */
async function configuredKeys(
  { config }: Workspace,
  ring: Keyring,
): Promise<readonly (readonly [key: string, isRight: boolean])[]> {
  const found: (readonly [string, boolean])[] = []
  for (const [name, key] of Object.entries(config.keys)) {
    if (key.publish.length === 0) continue
    const record: KeyRecord | undefined = ring.keys[name]
    const seals = record !== undefined && record.seals !== null
    found.push([name, seals && (await publicationDrift(ring, name, key)).length === 0])
  }
  return found
}

async function backupMetrics(workspace: Workspace, ring: Keyring): Promise<readonly Metric[]> {
  const { backups } = await listBackups(workspace.home.backups)
  const { sets } = await listShareSets(workspace.home.backups)
  const proven: Row[] = []
  for (const [key, { seals }] of Object.entries(ring.keys)) {
    if (seals === null) continue
    const labels = { key, version: String(seals) }
    proven.push([labels, Number(await hasProvenBackup(workspace, ring, key, seals))])
  }
  return [
    gauge(
      'kvx_key_backup_proven',
      'Whether the version that seals has a backup that was tested or confirmed.',
      proven,
    ),
    gauge(
      'kvx_backup_created_timestamp_seconds',
      'When each backup was made; its state (untested, tested, confirmed) is a label.',
      backups.map(({ manifest: { id, name, version, state, created } }) => [
        { key: name, version: String(version), backup: id, state },
        seconds(created),
      ]),
    ),
    gauge(
      'kvx_backup_proven_timestamp_seconds',
      'When each backup was last opened or confirmed.',
      backups.flatMap(({ manifest: { id, name, version, testedAt, confirmedAt } }) => {
        const [last] = [testedAt, confirmedAt]
          .filter((at) => at !== null)
          .toSorted()
          .toReversed()
        const labels = { key: name, version: String(version), backup: id }
        return last === undefined ? [] : [[labels, seconds(last)] as const]
      }),
    ),
    gauge(
      'kvx_share_set_created_timestamp_seconds',
      'When each set of shares was dealt; its state is a label.',
      sets.map(({ set: { set, name, version, state, created } }) => [
        { key: name, version: String(version), set: set.toUpperCase(), state },
        seconds(created),
      ]),
    ),
  ]
}

function runMetrics(journal: Journal): readonly Metric[] {
  const runs = journal.list()
  const counts = new Map<string, number>(['open', 'waiting', 'done'].map((status) => [status, 0]))
  for (const { status } of runs) counts.set(status, (counts.get(status) ?? 0) + 1)
  return [
    gauge(
      'kvx_runs',
      'Runs by their status.',
      [...counts].map(([status, count]) => [{ status }, count]),
    ),
    gauge(
      'kvx_run_unfinished_created_timestamp_seconds',
      'When each run that is not finished began.',
      journal
        .unfinished()
        .map(({ id, kind, key, status, created }) => [{ run: id, kind, key, status }, seconds(created)]),
    ),
  ]
}

function verifyMetrics(verified: Readonly<Record<string, Verified>>, ring: Keyring): readonly Metric[] {
  const rows = (value: (one: Verified) => number): readonly Row[] =>
    Object.entries(verified).map(([envelope, one]) => [{ envelope }, value(one)])
  return [
    gauge(
      'kvx_verify_timestamp_seconds',
      'When each envelope was last verified whole.',
      rows(({ at }) => seconds(at)),
    ),
    gauge(
      'kvx_verify_records',
      'Records of each envelope at its last verify.',
      rows(({ records }) => records),
    ),
    gauge(
      'kvx_verify_records_by_version',
      'Records at the last verify by the version that they need; retired tells what should hold none.',
      Object.entries(verified).flatMap(([envelope, { byVersion }]) =>
        Object.entries(byVersion).map(([subject, count]) => [
          { envelope, ...versionLabels(ring, subject) },
          count,
        ]),
      ),
    ),
    gauge(
      'kvx_verify_unreadable',
      'Records that did not open at the last verify.',
      rows(({ unreadable }) => unreadable),
    ),
    gauge(
      'kvx_verify_plaintext',
      'Records that were not sealed at the last verify.',
      rows(({ plaintext }) => plaintext),
    ),
    gauge(
      'kvx_verify_mislabelled',
      'Records that named another version than the one that opened them.',
      rows(({ mislabelled }) => mislabelled),
    ),
  ]
}

function versionLabels(ring: Keyring, subject: string): Labels {
  const at = subject.lastIndexOf('@')
  const [key, version] = [subject.slice(0, at), subject.slice(at + 1)]
  const retired = ring.keys[key]?.versions[version]?.retired ?? null
  return { key, version, retired: String(retired !== null) }
}

/** Two items of one code about one subject are one. */
function dueSamples(due: readonly DueItem[]): readonly Row[] {
  const distinct = new Map(due.map(({ code, subject }) => [`${code}\0${subject}`, { code, subject }]))
  return [...distinct.values()].map((labels) => [labels, 1])
}

/** The names that the site asks for under `metrics`. */
function ownMetrics(
  config: Config,
  places: readonly (readonly [key: string, isRight: boolean])[],
  verified: Readonly<Record<string, Verified>>,
): readonly Metric[] {
  return Object.entries(config.metrics).map(([name, metric]) => {
    if ('configured' in metric) {
      const isRight = places.some(([key, right]) => key === metric.configured && right)
      const help = `Whether the key ${metric.configured} lies where the application reads it.`
      return gauge(name, help, [[{}, Number(isRight)]])
    }
    const found = verified[metric.failures]
    const help = `Records of ${metric.failures} that did not open at the last verify.`
    return gauge(name, help, found === undefined ? [] : [[{}, found.unreadable]])
  })
}
