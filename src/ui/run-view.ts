import type { Applied } from '../migration/apply.ts'
import type { Census } from '../migration/census.ts'
import type { DataResult } from '../migration/data-run.ts'
import type { QuarantineRow, RunRow } from '../migration/journal.ts'
import { toChange, type Plan } from '../migration/plan.ts'
import { unreadableReasons } from '../migration/envelope/reasons.ts'
import { columns, count } from './columns.ts'

/** What a run is about to do, before the question. */
export function planLines(plan: Plan, backup: string): readonly string[] {
  const { key, from, to, kind } = plan.terms
  const rows = plan.censuses.map((census) => [
    census.envelope,
    `${count(census.records)} records`,
    `${count(toChange(census, to, kind))} to change`,
    sources(census, key),
  ])
  return [
    `${kind} ${key}: ${from === null ? 'to' : `version ${from} to`} version ${to}`,
    ...columns(rows, '  '),
    `  backup of ${key}@${to}: ${backup}`,
    '  if this is killed: kvx run resume',
  ]
}

function sources(census: Census, key: string): string {
  const parts = [...census.byVersion].map(([version, records]) => `${key}@${version} ${count(records)}`)
  if (census.plaintext > 0) parts.push(`plaintext ${count(census.plaintext)}`)
  if (census.unreadable > 0) parts.push(`unreadable ${count(census.unreadable)}`)
  return parts.join(' · ')
}

/** What was tried on each record that was written, in vain. */
const wrongKeys = {
  rotate: 'the old key and a random key open',
  rewrap: 'the old key and a random key open',
  reencrypt: 'the old key and a random key open',
  'new-deks': 'the old DEK and a random key open',
  seal: 'a random key opens',
} as const

/** `app.secrets  before @1 1,000 → after @2 1,000 · the old key opens 0` */
export function resultLines(result: DataResult): readonly string[] {
  const lines = result.applied.envelopes.map((one) => {
    const before = one.before === undefined ? '' : `before ${byVersion(one.before.byVersion)} → `
    const tail = [
      `${wrongKeys[result.run.kind]} 0`,
      ...(one.retried > 0 ? [`${count(one.retried)} read again after a concurrent write`] : []),
      ...(one.quarantined > 0 ? [`${count(one.quarantined)} set aside`] : []),
    ]
    return `${one.name}  ${before}after ${byVersion(one.after.byVersion)} · ${tail.join(' · ')}`
  })
  const changed = result.applied.envelopes.reduce((sum, one) => sum + one.changed, 0)
  return [
    ...lines,
    `${count(changed)} records in ${result.seconds.toFixed(1)} s, each read back and opened${gaveWay(result)}`,
    `report  ${result.report}`,
  ]
}

function gaveWay({ restedSeconds }: DataResult): string {
  return restedSeconds === undefined ? '' : `; gave way for ${restedSeconds.toFixed(1)} s of them`
}

function byVersion(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([version, records]) => `@${version} ${count(records)}`)
  return parts.join(', ') || 'nothing sealed'
}

/** `data` of `kvx.rewrap/1` and `kvx.reencrypt/1`. */
export function runData(result: DataResult): object {
  return {
    run: result.run.id,
    envelopes: envelopeData(result.applied),
    seconds: Math.round(result.seconds * 1000) / 1000,
    ...(result.restedSeconds === undefined
      ? {}
      : { restedSeconds: Math.round(result.restedSeconds * 1000) / 1000 }),
    report: result.report,
  }
}

export function envelopeData(applied: Applied): readonly object[] {
  return applied.envelopes.map(({ name, records, changed, unchanged, retried, quarantined }) => ({
    name,
    records,
    changed,
    unchanged,
    retried,
    quarantined,
  }))
}

export function runTable(runs: readonly RunRow[]): readonly string[] {
  if (runs.length === 0) return ['no runs yet']
  return columns([
    ['run', 'what', 'key', 'status', 'begun'],
    ...runs.map((run) => [
      run.id,
      `${run.kind}${run.direction === 'back' ? ' (back)' : ''}`,
      `${run.key}@${run.fromVersion ?? '-'} → @${run.toVersion}`,
      run.status,
      run.created,
    ]),
  ])
}

export function quarantineLines(rows: readonly QuarantineRow[]): readonly string[] {
  return rows.map(({ envelope, record, reason }) => `  ${envelope} ${record}: ${reasonText(reason)}`)
}

function reasonText(reason: string): string {
  return reason in unreadableReasons ? unreadableReasons[reason as keyof typeof unreadableReasons] : reason
}
