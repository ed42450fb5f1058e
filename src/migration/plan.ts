import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { canonicalJson } from '../core/canonical-json.ts'
import { KvxError } from '../core/errors.ts'
import { keyOf, versionOf } from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import type { Home } from '../keyring/home.ts'
import { exists, readFileCapped } from '../platform/files.ts'
import type { Census } from './census.ts'
import { unreadableReasons } from './envelope/reasons.ts'
import type { Events } from './events.ts'
import { FreshDeks } from './fresh-deks.ts'
import type { RunKind } from './journal.ts'
import type { Session } from './session.ts'
import type { Workload } from './workload.ts'

/** The part of a plan that a resume compares: where the data lies, how it is read, and under which key. */
export type PlanTerms = {
  readonly schema: 'kvx.plan/1'
  readonly kind: RunKind
  readonly key: string
  /** The version that sealed before, to which a rollback goes back; null when there was none. */
  readonly from: number | null
  readonly to: number
  readonly envelopes: Readonly<Record<string, unknown>>
  readonly onError: 'stop' | 'quarantine'
  /** A rotation goes on with the data. */
  readonly data: boolean
}

/** A plan is data: the terms, and what a full look found when it was made. */
export type Plan = {
  readonly terms: PlanTerms
  readonly censuses: readonly Census[]
  /** SHA-256 over terms and counts as canonical JSON, hex. */
  readonly digest: string
}

export type PlanRequest = {
  readonly kind: RunKind
  readonly key: string
  readonly from: number | null
  readonly to: number
  readonly onError: 'stop' | 'quarantine'
  readonly data: boolean
  readonly events: Events
}

/**
 * Opens everything that the run would touch once and counts it. Nothing is written.
 * @throws UNREADABLE_RECORDS when a record does not open and `onError` is `stop`; LAYOUT_NOT_PROVEN
 */
export async function makePlan(session: Session, request: PlanRequest): Promise<Plan> {
  const censuses: Census[] = []
  const workloads = request.data ? session.workloads : []
  // None is made yet: every DEK is to be replaced.
  const fresh = request.kind === 'new-deks' ? new FreshDeks() : undefined
  for (const workload of workloads) workload.requireSealable(request.to, request.kind)
  for (const workload of workloads) {
    censuses.push(await workload.census({ phase: 'plan', events: request.events, fresh }))
  }
  if (request.onError === 'stop') refuseUnreadable(censuses)
  refuseRetired(session.ring, request.key, censuses)
  refuseForeignLabels(request, censuses)
  if (request.kind === 'seal') for (const workload of workloads) await workload.requireRoom?.(request.to)
  const terms: PlanTerms = {
    schema: 'kvx.plan/1',
    kind: request.kind,
    key: request.key,
    from: request.from,
    to: request.to,
    envelopes: Object.fromEntries(session.workloads.map(({ name, normalised }) => [name, normalised])),
    onError: request.onError,
    data: request.data,
  }
  return { terms, censuses, digest: digestOf(terms, censuses.map(countsOf)) }
}

function digestOf(terms: PlanTerms, counts: readonly Counts[]): string {
  return createHash('sha256').update(canonicalJson({ terms, counts })).digest('hex')
}

export type Counts = {
  readonly envelope: string
  readonly records: number
  readonly nulls: number
  readonly plaintext: number
  readonly unreadable: number
  /** Missing in plans of before this was counted. */
  readonly mislabelled?: number
  /** Records by each version that they need; one that needs several counts under each. */
  readonly byVersion: Readonly<Record<string, number>>
}

export function countsOf(census: Census): Counts {
  return {
    envelope: census.envelope,
    records: census.records,
    nulls: census.nulls,
    plaintext: census.plaintext,
    unreadable: census.unreadable,
    mislabelled: census.mislabelled,
    byVersion: Object.fromEntries([...census.byVersion].map(([version, count]) => [String(version), count])),
  }
}

/**
 * How many records a run to the target would change: sealed ones that sweeps do not find under it, or for a first
 * sealing those with a value that is not sealed.
 */
export function toChange(census: Census, target: number, kind?: RunKind): number {
  if (kind === 'seal') return census.unsealed
  return census.sealed - (census.settled.get(target) ?? 0)
}

/** A version column that holds a name is the application's own language: kvx writes numbers only. */
function refuseForeignLabels({ to, kind }: PlanRequest, censuses: readonly Census[]): void {
  for (const { envelope, foreignLabels, unsealedForeign } of censuses) {
    const other = [...foreignLabels].filter(([version]) => version !== to || kind === 'new-deks')
    const count = kind === 'seal' ? unsealedForeign : other.reduce((sum, [, n]) => sum + n, 0)
    if (count === 0) continue
    throw new KvxError(
      'LAYOUT_MISMATCH',
      `the version column of ${envelope} holds no number in ${count} ${count === 1 ? 'record' : 'records'} that would change; nothing was changed`,
      {
        hint: `kvx would have to write the number ${to} there, which its application does not write. Take \`version\` out of the envelope if no reader goes by it, or let the application write numbers first.`,
        details: { envelope, records: count },
      },
    )
  }
}

function refuseUnreadable(censuses: readonly Census[]): void {
  const broken = censuses.filter(({ unreadable }) => unreadable > 0)
  const [first] = broken
  if (first === undefined) return
  const [named] = first.named
  const total = broken.reduce((sum, { unreadable }) => sum + unreadable, 0)
  const example = named === undefined ? '' : `, e.g. ${named.record}: ${unreadableReasons[named.reason]}`
  throw new KvxError(
    'UNREADABLE_RECORDS',
    `${total} ${total === 1 ? 'record does' : 'records do'} not open in ${broken.map(({ envelope }) => envelope).join(', ')}${example}; nothing was changed`,
    {
      hint: 'See them all with `kvx verify`. To set them aside and go on with the rest: `--on-error quarantine`.',
      details: { unreadable: total, envelopes: broken.map(({ envelope }) => envelope) },
    },
  )
}

/** A value under a retired version came back from somewhere: an old dump, a restored row. */
function refuseRetired(ring: Keyring, name: string, censuses: readonly Census[]): void {
  const key = keyOf(ring, name)
  for (const census of censuses) {
    for (const version of census.byVersion.keys()) {
      if (versionOf(key, name, version).retired === null) continue
      throw new KvxError(
        'VALUES_REMAIN',
        `${census.envelope} has values under ${name}@${version}, which is retired`,
        {
          hint: `Take the mark back first: \`kvx key unretire ${name}@${version}\`, then run the command again.`,
        },
      )
    }
  }
}

export function planPath(home: Home, run: string): string {
  return join(home.runs, run, 'plan.json')
}

const maxPlanBytes = 16 * 1_048_576

export type StoredPlan = {
  readonly terms: PlanTerms
  readonly counts: readonly Counts[]
  readonly digest: string
}

/**
 * The plan of a run as it was written.
 * @throws DAMAGED when it is not what the journal remembers
 */
export async function readPlan(
  home: Home,
  run: { readonly id: string; readonly planDigest: string },
): Promise<StoredPlan> {
  const path = planPath(home, run.id)
  const found = await exists(path)
  const plan = found ? parsePlan((await readFileCapped(path, { maxBytes: maxPlanBytes })).bytes) : undefined
  if (plan?.digest === run.planDigest && digestOf(plan.terms, plan.counts) === run.planDigest) return plan
  const what = found ? 'was changed after it was made' : 'is missing'
  throw new KvxError('DAMAGED', `the plan of run ${run.id} ${what}`, {
    hint: `Nothing was done. Put ${path} back as it was, from a copy of the home; then \`kvx run resume ${run.id}\`. If there is none: \`kvx run abandon ${run.id} --reason TEXT\`.`,
  })
}

function parsePlan(bytes: Buffer): StoredPlan | undefined {
  try {
    return JSON.parse(bytes.toString('utf8')) as StoredPlan
  } catch {
    return undefined
  }
}

export function encodePlan(plan: Plan): Buffer {
  const counts = plan.censuses.map(countsOf)
  return Buffer.from(`${JSON.stringify({ terms: plan.terms, counts, digest: plan.digest }, null, 2)}\n`)
}

/**
 * What the plan names must still be declared under its key; a rotation with its data takes everything under the
 * key, so nothing may have been added. Looked at before any store is opened.
 * @throws PLAN_DIFFERS
 */
export function refuseOtherNames(
  planned: PlanTerms,
  declared: readonly Pick<Workload, 'name' | 'key'>[],
  run: string,
): void {
  const now = declared.filter(({ key }) => key === planned.key).map(({ name }) => name)
  const names = Object.keys(planned.envelopes)
  const gone = names.filter((name) => !now.includes(name))
  const added = planned.kind === 'rotate' && planned.data ? now.filter((name) => !names.includes(name)) : []
  if (gone.length + added.length > 0) throw planDiffers(run, [...gone, ...added])
}

/**
 * A resume does exactly what was planned.
 * @throws PLAN_DIFFERS naming each envelope whose declaration changed since
 */
export function refuseChangedTerms(planned: PlanTerms, workloads: readonly Workload[], run: string): void {
  const now = new Map(workloads.map(({ name, normalised }) => [name, normalised]))
  const names = new Set([...Object.keys(planned.envelopes), ...now.keys()])
  const differing = [...names].filter((name) => {
    const before = planned.envelopes[name]
    const after = now.get(name)
    return before === undefined || after === undefined || !canonicalJson(before).equals(canonicalJson(after))
  })
  if (differing.length > 0) throw planDiffers(run, differing)
}

function planDiffers(run: string, differing: readonly string[]): KvxError {
  return new KvxError(
    'PLAN_DIFFERS',
    `the configuration changed since run ${run} was planned: ${differing.join(', ')}`,
    {
      hint: `Put the declaration back as it was, then \`kvx run resume ${run}\` or \`kvx run rollback ${run}\`; change it when the run is over. Where it cannot go back, as for a store that was moved: \`kvx run abandon ${run} --reason TEXT\`.`,
      details: { run, differing },
    },
  )
}
