import type { Approvals } from '../approvals/approvals.ts'
import { type PlannedWork, type ReadPlanFile, workTitle } from '../approvals/plan-file.ts'
import { checkValueOf } from '../core/fingerprint.ts'
import { quotedPath } from '../platform/file-errors.ts'
import { columns, count } from './columns.ts'

/** What an approver reads before signing: all that the plan says. */
export function planFileLines({ plan, digest }: ReadPlanFile): readonly string[] {
  const { facts, work } = plan
  const versions = Object.entries(facts.versions).map(([name, { state, fingerprint }]) => [
    name,
    state,
    fingerprint === null ? '' : `check value ${checkValueOf(fingerprint)}`,
  ])
  const places = facts.envelopes.map(({ envelope, records, unreadable, byVersion }) => {
    const parts = Object.entries(byVersion).map(([one, records]) => `${facts.key}@${one} ${count(records)}`)
    if (unreadable > 0) parts.push(`unreadable ${count(unreadable)}`)
    return [envelope, `${count(records)} records`, parts.join(' · ')]
  })
  return [
    ...columns([
      ['plan', workTitle(work)],
      ['digest', digest],
      ['key', keyLine(facts)],
      ['good until', plan.expires],
      ['made', `${plan.created} by ${plan.actor}`],
      ['home', plan.home],
      ['kvx.yaml', plan.configuration],
      ...(plan.tolerance === 0 ? [] : [['tolerance', `${count(plan.tolerance)} records more or less`]]),
    ]),
    ...declaredLines(work),
    ...columns(versions, '  '),
    ...columns(places, '  '),
  ]
}

function keyLine({ key, from, to }: ReadPlanFile['plan']['facts']): string {
  if (to === null) return `${key}, version ${from ?? '-'}`
  return `${key}, version ${from ?? '-'} to version ${to}`
}

/** What goes further than the command alone: an approver should not have to look for it. */
function declaredLines(work: PlannedWork): readonly string[] {
  const lines: string[] = []
  if ('onError' in work && work.onError === 'quarantine') lines.push('records that do not open are set aside')
  if ('rolledOut' in work && work.rolledOut) lines.push('declared: every reader has the version that seals')
  if ('withoutBackup' in work && work.withoutBackup !== null)
    lines.push(`WITHOUT A BACKUP: ${work.withoutBackup}`)
  if ('acceptLoss' in work && work.acceptLoss !== null)
    lines.push(`ACCEPTED LOSS: ${work.acceptLoss.count} records: ${work.acceptLoss.reason}`)
  if ('drop' in work && work.drop !== null)
    lines.push(`places given up: ${work.drop.names.join(', ')}: ${work.drop.reason}`)
  if ('acceptShrunk' in work && work.acceptShrunk !== null)
    lines.push(`places that shrank: ${work.acceptShrunk.names.join(', ')}: ${work.acceptShrunk.reason}`)
  return lines.map((line) => `  ${line}`)
}

/** How an approver signs, with kvx or without it. */
export function approveLines(path: string, required: number): readonly string[] {
  const plan = quotedPath(path)
  return [
    required === 0
      ? 'The policy asks for no approval of this.'
      : `It needs ${required} ${required === 1 ? 'approval' : 'approvals'}. An approver takes the file and signs it, on any machine:`,
    ...(required === 0
      ? []
      : [
          `  kvx plan approve ${plan} --openpgp FINGERPRINT`,
          `  kvx plan approve ${plan} --ssh-key ~/.ssh/id_ed25519`,
        ]),
    `Next: kvx apply ${plan}`,
  ]
}

export function approvalLines({ counted, uncounted }: Approvals, required: number): readonly string[] {
  return [
    `approvals  ${counted.length} of ${required}`,
    ...counted.map(({ approver, kind, fingerprint }) => `  ${approver}  ${kind} ${fingerprint}`),
    ...uncounted.map(({ file, reason }) => `  does not count  ${file}: ${reason}`),
  ]
}

export function approvalData({ counted, uncounted }: Approvals, required: number): object {
  return {
    required,
    counted: counted.map(({ approver, kind, fingerprint, file, sha256 }) => ({
      approver,
      kind,
      fingerprint,
      file,
      sha256,
    })),
    uncounted: uncounted.map(({ file, reason }) => ({ file, reason })),
  }
}
