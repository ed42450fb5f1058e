import { createHash } from 'node:crypto'
import type { PlannedFacts, PlannedWork } from '../approvals/plan-file.ts'
import { canonicalJson } from '../core/canonical-json.ts'
import { keyOf, readKeyring, versionOf, versionsOf } from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import type { Workspace } from '../keyring/workspace.ts'
import type { Census } from './census.ts'
import { prepareDataRun, type PreparedRun } from './data-run.ts'
import { checkDestroyable, checkSchedulable } from './destroy.ts'
import type { Events } from './events.ts'
import type { Journal } from './journal.ts'
import { countsOf, type Counts, type Plan } from './plan.ts'
import { requireRetirable } from './retire.ts'
import { prepareRotation, type PreparedRotation } from './rotation.ts'
import { openSession, type Session } from './session.ts'

/** Planned work after a look at what it would touch: what was found, and what it takes to carry it out. */
export type ExaminedWork = {
  readonly facts: PlannedFacts
  readonly censuses: readonly Census[]
  /** Nothing is left to do. */
  readonly isDone: boolean
  readonly prepared:
    | { readonly kind: 'data'; readonly run: PreparedRun }
    | { readonly kind: 'rotation'; readonly rotation: PreparedRotation }
    | { readonly kind: 'version' }
  /** Gives back the locks of stores. */
  close(): Promise<void>
}

/**
 * Checks the gates of the work and opens everything that it would touch once. Writes nothing.
 * @throws what the command itself would throw before its first write
 */
export async function examineWork(
  workspace: Workspace,
  journal: Journal,
  work: PlannedWork,
  events: Events,
): Promise<ExaminedWork> {
  if (work.command === 'rotate') return examineRotation(workspace, journal, work, events)
  if (work.command === 'retire' || work.command === 'destroy')
    return examineVersion(workspace, journal, work, events)
  return examineData(workspace, journal, work, events)
}

type WorkOf<C extends PlannedWork['command']> = Extract<PlannedWork, { readonly command: C }>

async function examineData(
  workspace: Workspace,
  journal: Journal,
  work: WorkOf<'rewrap' | 'reencrypt' | 'seal'>,
  events: Events,
): Promise<ExaminedWork> {
  const { command } = work
  const run = await prepareDataRun(workspace, journal, {
    // DEKs lie where a rewrap has its work.
    work: work.newDeks ? 'rewrap' : command === 'seal' ? 'reencrypt' : command,
    ...(work.newDeks ? { kind: 'new-deks' } : command === 'seal' ? { kind: 'seal' } : {}),
    names: work.names,
    offline: work.offline,
    rolledOut: work.rolledOut,
    withoutReason: work.withoutBackup ?? undefined,
    onError: work.onError,
    dryRun: false,
    forPlan: true,
    events,
  })
  const { session, plan } = run
  return {
    facts: factsOfPlan(session.ring, plan),
    censuses: plan.censuses,
    isDone: run.pending === 0,
    prepared: { kind: 'data', run },
    close: async () => session.close(),
  }
}

async function examineRotation(
  workspace: Workspace,
  journal: Journal,
  work: WorkOf<'rotate'>,
  events: Events,
): Promise<ExaminedWork> {
  const rotation = await prepareRotation(workspace, journal, {
    name: work.name,
    mode: work.offline ? 'offline' : 'staged',
    data: work.data,
    withoutReason: work.withoutBackup ?? undefined,
    stageOnly: work.stageOnly,
    onError: work.onError,
    dryRun: false,
    forPlan: true,
    events,
  })
  const { session, plan } = rotation
  return {
    facts: factsOfPlan(session.ring, plan),
    censuses: plan.censuses,
    isDone: false,
    prepared: { kind: 'rotation', rotation },
    close: async () => session.close(),
  }
}

async function examineVersion(
  workspace: Workspace,
  journal: Journal,
  work: WorkOf<'retire' | 'destroy'>,
  events: Events,
): Promise<ExaminedWork> {
  const { name, version } = work
  const ring = await readKeyring(workspace.home)
  const { retired, state } = versionOf(keyOf(ring, name), name, version)
  const isDone = work.command === 'retire' ? retired !== null : state === 'destroyed'
  if (!isDone) await requireReady(workspace, journal, ring, work)
  const session = await openSession(workspace, { key: name, exclusive: true })
  try {
    const censuses = await censusesOf(session, events)
    const declared = Object.fromEntries(session.workloads.map(({ name, normalised }) => [name, normalised]))
    const facts = { from: version, to: null, declared, censuses }
    return {
      facts: factsOf(ring, name, facts),
      censuses,
      isDone,
      prepared: { kind: 'version' },
      close: async () => undefined,
    }
  } finally {
    // These commands open stores by themselves.
    await session.close()
  }
}

async function requireReady(
  workspace: Workspace,
  journal: Journal,
  ring: Keyring,
  work: WorkOf<'retire' | 'destroy'>,
): Promise<void> {
  const acceptLoss = work.acceptLoss ?? undefined
  if (work.command === 'retire') await requireRetirable(workspace, journal, ring, { ...work, acceptLoss })
  else if (work.after === null) checkDestroyable(ring, journal, work)
  else checkSchedulable(ring, journal, work)
}

async function censusesOf({ workloads }: Session, events: Events): Promise<readonly Census[]> {
  const censuses: Census[] = []
  for (const workload of workloads) censuses.push(await workload.census({ phase: 'plan', events }))
  return censuses
}

function factsOfPlan(ring: Keyring, { terms, censuses }: Plan): PlannedFacts {
  return factsOf(ring, terms.key, { from: terms.from, to: terms.to, declared: terms.envelopes, censuses })
}

function factsOf(
  ring: Keyring,
  key: string,
  found: {
    readonly from: number | null
    readonly to: number | null
    readonly declared: Readonly<Record<string, unknown>>
    readonly censuses: readonly Census[]
  },
): PlannedFacts {
  return {
    key,
    from: found.from,
    to: found.to,
    versions: Object.fromEntries(
      versionsOf(keyOf(ring, key)).map(([version, { state, fingerprint }]) => [
        `${key}@${version}`,
        { state, fingerprint },
      ]),
    ),
    declarations: createHash('sha256').update(canonicalJson(found.declared)).digest('hex'),
    envelopes: found.censuses.map((census) => {
      const counts = countsOf(census)
      return { ...counts, mislabelled: counts.mislabelled ?? 0, byVersion: { ...counts.byVersion } }
    }),
  }
}

/** What is not as it was planned, one clause each. Counts may differ by the plan's tolerance. */
export function differences(planned: PlannedFacts, now: PlannedFacts, tolerance: number): readonly string[] {
  const versions = [...new Set([...Object.keys(planned.versions), ...Object.keys(now.versions)])]
  return [
    ...(planned.key === now.key && planned.from === now.from && planned.to === now.to
      ? []
      : [`it would go from ${sides(now)} instead of ${sides(planned)}`]),
    ...versions
      .filter((name) => !isSame(planned.versions[name] ?? null, now.versions[name] ?? null))
      .map((name) => versionDifference(name, planned, now)),
    ...(planned.declarations === now.declarations ? [] : ['the declarations mean something else']),
    ...countDifferences(planned.envelopes, now.envelopes, tolerance),
  ]
}

function isSame(one: unknown, other: unknown): boolean {
  return canonicalJson(one).equals(canonicalJson(other))
}

function sides({ key, from, to }: PlannedFacts): string {
  return `${key}@${from ?? '-'} to ${to === null ? 'nothing' : `${key}@${to}`}`
}

function versionDifference(name: string, planned: PlannedFacts, now: PlannedFacts): string {
  const [before, after] = [planned.versions[name], now.versions[name]]
  if (before === undefined) return `${name} is new`
  if (after === undefined) return `${name} is gone`
  return before.fingerprint === after.fingerprint
    ? `${name} was ${before.state} and is ${after.state}`
    : `${name} is another key`
}

function countDifferences(
  planned: readonly Counts[],
  now: readonly Counts[],
  tolerance: number,
): readonly string[] {
  const names = [...new Set([...planned, ...now].map(({ envelope }) => envelope))]
  return names.flatMap((name) => {
    const [before, after] = [planned, now].map((all) => all.find(({ envelope }) => envelope === name))
    if (before === undefined || after === undefined) return [`${name} is ${after ? 'new' : 'gone'}`]
    const [one, other] = [numbersOf(before), numbersOf(after)]
    const what = [...new Set([...Object.keys(one), ...Object.keys(other)])].find(
      (number) => Math.abs((one[number] ?? 0) - (other[number] ?? 0)) > tolerance,
    )
    if (what === undefined) return []
    return [`${name} had ${one[what] ?? 0} ${what} and has ${other[what] ?? 0}`]
  })
}

function numbersOf({
  byVersion,
  records,
  nulls,
  plaintext,
  unreadable,
  mislabelled,
}: Counts): Readonly<Record<string, number>> {
  const versions = Object.entries(byVersion).map(([version, count]) => [`under version ${version}`, count])
  return {
    records,
    nulls,
    plaintext,
    unreadable,
    mislabelled: mislabelled ?? 0,
    ...Object.fromEntries(versions),
  }
}
