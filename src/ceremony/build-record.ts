import { hostname } from 'node:os'
import type { LoadedPlan } from './folder.ts'
import { type CeremonyEvent, type CeremonyRecord, headOf, recordSchema } from './record.ts'

/** What the home and the machine say at the end. */
export type SiteFacts = Pick<
  CeremonyRecord,
  'key' | 'shareSet' | 'auditKey' | 'artefacts' | 'network' | 'kvx'
>

const drillMonths = 12

/** The record of a ceremony: everything that people said comes from the events, the rest from the home. */
export function buildRecord(
  { plan, digest }: LoadedPlan,
  events: readonly CeremonyEvent[],
  facts: SiteFacts,
  rehearsal: boolean,
): CeremonyRecord {
  const begin = events.find(({ kind }) => kind === 'begin')?.data ?? {}
  const ended = events.at(-1)?.at ?? plan.created
  return {
    schema: recordSchema,
    ceremony: plan.id,
    nonce: plan.nonce,
    kind: plan.kind,
    title: plan.title,
    rehearsal,
    result: isComplete(plan.steps.length, events) ? 'complete' : 'incomplete',
    plan: digest,
    ...facts,
    node: process.version,
    host: hostname(),
    osImage: begin['image'] || null,
    clock: begin['clock'] ?? '',
    location: begin['place'] ?? '',
    started: events[0]?.at ?? plan.created,
    ended,
    roles: events.flatMap(({ kind, actor, data }) =>
      kind === 'role'
        ? [
            {
              role: actor,
              name: data?.['name'] ?? '',
              openpgp: data?.['openpgp'] || null,
              identified: data?.['identified'] ?? '',
            },
          ]
        : [],
    ),
    answers: events.flatMap(({ kind, step, data }) =>
      kind === 'answer' ? Object.entries(data ?? {}).map(([name, text]) => ({ step, name, text })) : [],
    ),
    events: [...events],
    deviations: deviationsOf(events),
    head: headOf(events, digest.sha256),
    nextDrill: facts.shareSet === null ? null : yearAfter(ended),
  }
}

/** Numbers of the events that are not as the plan says. */
export function deviationsOf(events: readonly CeremonyEvent[]): number[] {
  return events.filter(({ kind }) => kind === 'deviation' || kind === 'skipped').map(({ seq }) => seq)
}

/** The step that comes next, from 1; one more than there are when all are over. */
export function nextStep(events: readonly CeremonyEvent[]): number {
  return 1 + events.filter(({ kind }) => kind === 'done' || kind === 'skipped').length
}

/** Every step was done; one that was skipped leaves the ceremony incomplete. */
function isComplete(steps: number, events: readonly CeremonyEvent[]): boolean {
  return events.filter(({ kind }) => kind === 'done').length === steps
}

function yearAfter(time: string): string {
  const date = new Date(time)
  date.setUTCMonth(date.getUTCMonth() + drillMonths)
  return `${date.toISOString().slice(0, 19)}Z`
}
