import { checkValueOf } from '../core/fingerprint.ts'
import { parseDuration } from '../core/duration.ts'
import { versionsOf } from '../keyring/keyring.ts'
import type { KeyRecord, VersionRecord } from '../keyring/keyring-file.ts'
import type { Evidence } from '../migration/evidence.ts'
import { count } from './columns.ts'
import { pciSection } from './evidence-pci.ts'

/** A report for people, before it is drawn: Markdown and PDF say the same. */
export type EvidenceTable = {
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}
export type EvidenceSection = {
  readonly title: string
  /** The first section has level 1. */
  readonly level: 1 | 2
  readonly blocks: readonly (string | EvidenceTable)[]
}

type Version = {
  readonly key: KeyRecord
  readonly label: string
  readonly record: VersionRecord
  readonly number: number
}

export function evidenceSections(evidence: Evidence): readonly EvidenceSection[] {
  const versions = Object.entries(evidence.ring.keys).flatMap(([name, key]) =>
    versionsOf(key).map(([number, record]) => ({ key, number, record, label: `${name}@${number}` })),
  )
  return [
    about(evidence),
    inventory(evidence, versions),
    preOperational(evidence, versions),
    operational(evidence, versions),
    postOperational(evidence, versions),
    destroyed(versions),
    pciSection(evidence),
    exceptions(evidence),
    logSection(evidence),
  ]
}

function section(title: string, ...blocks: EvidenceSection['blocks']): EvidenceSection {
  return { title, level: 2, blocks }
}

/** A table, or one sentence where it would be empty. */
function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  none: string,
): string | EvidenceTable {
  return rows.length === 0 ? none : { head, rows }
}

function about({ at, actor, home, config, auditKeys, verdict, span }: Evidence): EvidenceSection {
  const { entries, problemCount, head, documents } = verdict
  return {
    title: 'Key management report',
    level: 1,
    blocks: [
      'What kvx knows of the keys of one home, by the phases of a key’s life in NIST SP 800-57 part 1, and beside the numbers of PCI DSS 3.6 and 3.7 in kvx’s own words. These are facts. Whether they meet a standard is for the reader to say.',
      {
        head: ['fact', 'value'],
        rows: [
          ['made', `${at} by ${actor}`],
          ['home', home],
          ['configuration', `${config.path}, SHA-256 ${config.digest}`],
          ['audit key', auditKeys.join(', then ')],
          ['log', span === undefined ? 'empty' : `${count(entries)} entries from ${span[0]} to ${span[1]}`],
          ['head of the log', `${head.seq}:${head.head}`],
          [
            'verified',
            problemCount === 0
              ? `numbers, chain and signatures are right; ${documents.checked} reports and certificates fit them`
              : `${count(problemCount)} PROBLEMS: kvx audit verify`,
          ],
        ],
      },
      'The same facts with their signatures: `kvx audit export`. To check them elsewhere: `kvx audit verify FILE --public-key audit.pub`.',
    ],
  }
}

function inventory({ ring }: Evidence, versions: readonly Version[]): EvidenceSection {
  return section(
    'Inventory',
    table(
      ['version', 'purpose', 'state', 'check value', 'bytes', 'origin', 'made'],
      versions.map(({ label, key, record }) => [
        label,
        key.purpose,
        `${record.state}${record.retired === null ? '' : ', retired'}`,
        record.fingerprint === null ? '-' : checkValueOf(record.fingerprint),
        record.bytes === null ? '-' : String(record.bytes),
        record.origin,
        record.created,
      ]),
      'There are no keys.',
    ),
    ...Object.entries(ring.keys).map(
      ([name, { seals, previous, staged }]) =>
        `${name}: ${seals === null ? 'no version seals' : `version ${seals} seals`}${previous === null ? '' : `, version ${previous} is published to open`}${staged === null ? '' : `, version ${staged} is staged`}.`,
    ),
  )
}

function preOperational({ backups, shareSets }: Evidence, versions: readonly Version[]): EvidenceSection {
  return section(
    'Pre-operational phase: made, backed up, handed out',
    'A version is finished before it is used: on the medium, backed up, the backup opened or confirmed, and a known text sealed under it. Versions of origin `generated` come from the random generator of the operating system; those of origin `import` were made elsewhere.',
    table(
      ['version', 'backup', 'kind', 'state', 'who can open it', 'made'],
      [
        ...backups.map(({ manifest }) => [
          `${manifest.name}@${manifest.version}`,
          manifest.id,
          'OpenPGP',
          manifest.state,
          manifest.recipients.map(({ userId, fingerprint }) => userId || fingerprint).join(', '),
          manifest.created,
        ]),
        ...shareSets.map(({ set }) => [
          `${set.name}@${set.version}`,
          set.set.toUpperCase(),
          `${set.threshold} of ${set.of} shares`,
          set.state,
          set.shares.map(({ custodian }) => custodian).join(', '),
          set.created,
        ]),
      ],
      'There is no backup.',
    ),
    table(
      ['version', 'readers have it', 'since', 'by'],
      versions.flatMap(({ label, record: { rollout } }) =>
        rollout === null ? [] : [[label, rolloutWords[rollout.how], rollout.at, rollout.actor]],
      ),
      'No rollout is known.',
    ),
  )
}

const rolloutWords = {
  import: 'before kvx took it over',
  first: 'nothing was sealed before it',
  offline: 'the application was stopped',
  declared: 'as an operator declared',
  probed: 'as a probe found',
} as const

function operational(evidence: Evidence, versions: readonly Version[]): EvidenceSection {
  const { config, runs, verified } = evidence
  return section(
    'Operational phase: in use',
    table(
      ['version', 'active since', 'stops sealing', 'stops opening'],
      versions.flatMap(({ label, record }) => {
        const since = record.history.find(({ to }) => to === 'active')?.at
        if (since === undefined || record.state === 'destroyed') return []
        const period = config.keys[label.slice(0, label.lastIndexOf('@'))]?.cryptoperiod
        return [[label, since, endOf(since, period?.seal), endOf(since, period?.open)]]
      }),
      'No version was ever active.',
    ),
    table(
      ['envelope', 'last full look', 'records', 'under', 'not opened'],
      Object.entries(verified).map(([name, one]) => [
        name,
        one.at,
        count(one.records),
        Object.entries(one.byVersion)
          .map(([version, records]) => `${version} ${count(records)}`)
          .join(', '),
        count(one.unreadable),
      ]),
      'No full look is remembered: `kvx verify`.',
    ),
    table(
      ['run', 'what', 'key', 'status', 'begun', 'by', 'approved plan'],
      runs.map((run) => [
        run.id,
        run.kind,
        `${run.key}@${run.fromVersion ?? '-'} to @${run.toVersion}`,
        run.status,
        run.created,
        run.actor,
        run.plan?.slice(0, 16) ?? '-',
      ]),
      'There was no run yet.',
    ),
  )
}

function endOf(since: string, period: string | undefined): string {
  const ms = period === undefined ? undefined : parseDuration(period)
  return ms === undefined ? 'no end is set' : new Date(Date.parse(since) + ms).toISOString().slice(0, 10)
}

function postOperational({ status }: Evidence, versions: readonly Version[]): EvidenceSection {
  const rows = versions.filter(({ record: { state } }) =>
    ['deactivated', 'suspended', 'compromised'].includes(state),
  )
  return section(
    'Post-operational phase: opens only, suspended, compromised',
    'A version is retired when two full looks found nothing that needs it. The certificate counts what they found and is signed.',
    table(
      ['version', 'state', 'since', 'why', 'retired', 'certificate'],
      rows.map(({ label, record }) => {
        const last = record.history.at(-1)
        return [
          label,
          record.state,
          last?.at ?? '-',
          last?.reason ?? '-',
          record.retired?.at ?? 'no',
          record.retired?.certificate ?? '-',
        ]
      }),
      'There is none.',
    ),
    table(
      ['due', 'what', 'command'],
      status.due.map(({ code, message, command }) => [code, message, command]),
      'Nothing is due.',
    ),
  )
}

function destroyed(versions: readonly Version[]): EvidenceSection {
  return section(
    'Destroyed phase: the material is gone',
    'kvx overwrites and removes the key file. It cannot reach flash, snapshots, backups elsewhere, or other people’s copies.',
    table(
      ['version', 'scheduled', 'by', 'destroyed', 'approved plan'],
      versions.flatMap(({ label, record: { destruction, history, state } }) =>
        destruction === null && state !== 'destroyed'
          ? []
          : [
              [
                label,
                destruction?.scheduled ?? '-',
                destruction?.actor ?? '-',
                history.find(({ to }) => to === 'destroyed')?.at ?? `not before ${destruction?.due ?? '-'}`,
                destruction?.plan?.slice(0, 16) ?? '-',
              ],
            ],
      ),
      'No version was destroyed, and none waits.',
    ),
  )
}

function exceptions({ remarkable }: Evidence): EvidenceSection {
  return section(
    'Approvals and exceptions',
    table(
      ['entry', 'when', 'by', 'what', 'said'],
      remarkable.map(({ seq, at, actor, action, subject, data }) => [
        String(seq),
        at,
        actor,
        `${action} ${subject ?? ''}`.trim(),
        ['command', 'approvedBy', 'withoutBackup', 'acceptedLoss', 'dropPlaces', 'shrunkPlaces', 'reason']
          .flatMap((name) => (data[name] === undefined ? [] : [`${name}: ${String(data[name])}`]))
          .join('; '),
      ]),
      'No plan was applied, and no rule was set aside with a reason.',
    ),
  )
}

function logSection({ actions }: Evidence): EvidenceSection {
  return section(
    'What the log counts',
    table(
      ['action', 'ended well', 'ended otherwise'],
      [...actions]
        .sort(([one], [other]) => (one < other ? -1 : 1))
        .map(([action, { done, failed }]) => [action, count(done), count(failed)]),
      'The log is empty.',
    ),
  )
}
