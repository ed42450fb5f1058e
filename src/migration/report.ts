import { join } from 'node:path'
import { sha256Of } from '../audit/documents.ts'
import type { Facts } from '../audit/entry.ts'
import { signDocument } from '../audit/signed-document.ts'
import { keyOf, versionsOf } from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { isoNow } from '../platform/clock.ts'
import { writeState } from '../platform/state-file.ts'
import type { Counts } from './plan.ts'
import { quarantineFile } from './quarantine-file.ts'
import type { QuarantineRow, RunRow } from './journal.ts'

export type EnvelopeResult = {
  readonly name: string
  readonly records: number
  readonly changed: number
  readonly unchanged: number
  /** Compare-and-swaps that a concurrent writer won; read again and settled by a later sweep. */
  readonly retried: number
  readonly quarantined: number
  readonly sweeps: number
  readonly before: Counts | undefined
  readonly after: Counts
}

export type RunReport = {
  readonly envelopes: readonly EnvelopeResult[]
  /** The first of the records that were set aside; `quarantine.jsonl` beside the report names all of them. */
  readonly quarantine: readonly QuarantineRow[]
  readonly quarantined: number
  readonly seconds: number
  /** The digest of the plan file that was approved for the run. */
  readonly approvedPlan: string | undefined
}

/**
 * Writes `runs/ID/report.json`, signed with the home's Ed25519 key and bound to the head of the audit log, and
 * the same for people as `report.md`. Durable when this returns.
 * @returns the path of the JSON form, and what the log says of it
 */
export async function writeReport(
  workspace: Workspace,
  run: RunRow,
  ring: Keyring,
  report: RunReport,
): Promise<{ readonly path: string; readonly named: Facts }> {
  const directory = join(workspace.home.runs, run.id)
  const head = await workspace.audit.head()
  const document = {
    schema: 'kvx.report/1',
    run: run.id,
    kind: run.kind,
    direction: run.direction,
    key: run.key,
    from: run.fromVersion === null ? null : `${run.key}@${run.fromVersion}`,
    to: `${run.key}@${run.toVersion}`,
    fingerprints: Object.fromEntries(
      versionsOf(keyOf(ring, run.key)).map(([version, { fingerprint }]) => [
        `${run.key}@${version}`,
        fingerprint ?? '',
      ]),
    ),
    planDigest: run.planDigest,
    approvedPlan: report.approvedPlan ?? null,
    at: isoNow(),
    envelopes: report.envelopes.map((result) => ({ ...result, before: result.before ?? null })),
    quarantined: report.quarantined,
    quarantine: report.quarantine.map((row) => ({ ...row })),
    quarantineFile: report.quarantined === 0 ? null : quarantineFile,
    checks: [
      'every record was opened through the declared chain before the first write',
      'every rewritten record was read back in its transaction and opened with the new version',
      'the version it was under and a random key failed on every rewritten record',
      'a full scan after the last sweep counted every record',
    ],
    milliseconds: Math.round(report.seconds * 1000),
    audit: { seq: head.seq, head: head.head },
  }
  const path = join(directory, 'report.json')
  const bytes = Buffer.from(`${JSON.stringify(signDocument(document, workspace.signer), null, 2)}\n`)
  await writeState(path, bytes)
  await writeState(join(directory, 'report.md'), Buffer.from(markdown(run, report, head)))
  return { path, named: { report: `runs/${run.id}/report.json`, reportSha256: sha256Of(bytes) } }
}

function markdown(
  run: RunRow,
  report: RunReport,
  head: { readonly seq: number; readonly head: string },
): string {
  const rows = report.envelopes.map(
    (one) =>
      `| ${one.name} | ${one.records} | ${one.changed} | ${one.unchanged} | ${one.retried} | ${one.quarantined} | ${versions(one.before)} | ${versions(one.after)} |`,
  )
  const aside = report.quarantine.map(({ envelope, record, reason }) => `- ${envelope} ${record}: ${reason}`)
  const rest = report.quarantined - aside.length
  if (rest > 0) aside.push(`- and ${rest} more: ${quarantineFile} beside this file names all of them`)
  return [
    `# ${run.kind} ${run.id}`,
    '',
    `Key ${run.key}: version ${run.fromVersion ?? '-'} to version ${run.toVersion}${run.direction === 'back' ? ', rolled back' : ''}. By ${run.actor}.`,
    '',
    '| envelope | records | changed | unchanged | retried | set aside | before | after |',
    '|---|---:|---:|---:|---:|---:|---|---|',
    ...rows,
    '',
    ...(aside.length === 0 ? [] : ['## Set aside', '', ...aside, '']),
    `Plan ${run.planDigest}. Audit entry ${head.seq}, head ${head.head}.`,
    'The signed form is report.json beside this file.',
    '',
  ].join('\n')
}

function versions(counts: Counts | undefined): string {
  if (counts === undefined) return '-'
  const parts = Object.entries(counts.byVersion).map(([version, count]) => `@${version} ${count}`)
  return parts.join(', ') || 'none sealed'
}
