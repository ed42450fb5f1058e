import { type ApprovedBy, refuseUnapproved } from '../approvals/gate.ts'
import { withIntent } from '../audit/with-intent.ts'
import type { PlannedCommand } from '../config/policy.ts'
import { KvxError } from '../core/errors.ts'
import { keyOf, readKeyring, versionOf } from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import { cacheTtlMs } from '../keyring/readers.ts'
import { configuredKey, type Workspace } from '../keyring/workspace.ts'
import { applyToData, partialFailure, type Applied } from './apply.ts'
import type { Events } from './events.ts'
import {
  recordWithoutBackup,
  refuseUnbacked,
  refuseUnknownRollout,
  requireRollout,
  requireSealing,
  sealingVersion,
} from './gates.ts'
import { approvedPlanStep, type Journal, type RunKind, type RunRow } from './journal.ts'
import { countsOf, makePlan, toChange, type Counts, type Plan } from './plan.ts'
import { rememberPlaces } from './places.ts'
import { writeReport } from './report.ts'
import { lockRun, refuseUnfinished, startRun } from './runs.ts'
import { declaredWorkloads, nothingDeclared, openSession, unknownWorkload, type Session } from './session.ts'
import { restedMs } from './giving-way.ts'
import { compileEnvelopes } from './envelope/compile-envelope.ts'
import { refuseSharedColumns } from './envelope/shared-columns.ts'
import type { DataWork, Rate } from './workload.ts'

export type Throttle = { readonly batch: number | undefined; readonly rate: Rate | undefined }

export type DataRequest = {
  readonly work: DataWork
  /** What the run is, where it is not the work itself: new DEKs, or a first sealing. */
  readonly kind?: 'new-deks' | 'seal'
  /** The application is stopped. */
  readonly offline?: boolean
  /** Names of envelopes; all that this work fits when empty. */
  readonly names: readonly string[]
  readonly rolledOut: boolean
  readonly withoutReason: string | undefined
  readonly onError: 'stop' | 'quarantine'
  /** Only the look: gates are told by the real run. */
  readonly dryRun: boolean
  /** The look is for a plan that others approve: what follows needs it. */
  readonly forPlan?: boolean
  readonly events: Events
}

/** A planned `rewrap` or `reencrypt`, holding the locks of its stores. Close it. */
export type PreparedRun = {
  readonly session: Session
  readonly plan: Plan
  /** Records that are not under the sealing version yet. Nothing to do when it is 0. */
  readonly pending: number
  /** What the operator declares with flags; recorded when the run starts. */
  readonly declared: Pick<DataRequest, 'rolledOut' | 'withoutReason'>
}

/**
 * Checks the gates and opens everything once. Writes nothing.
 * @throws RUN_OPEN, ROLLOUT_NOT_DECLARED, NO_TESTED_BACKUP, UNREADABLE_RECORDS, LOCKED and their like
 */
export async function prepareDataRun(
  workspace: Workspace,
  journal: Journal,
  request: DataRequest,
): Promise<PreparedRun> {
  const { names, key } = chooseWorkloads(workspace, request)
  const isLook = request.dryRun || request.forPlan === true
  if (!isLook) refuseUnapprovedData(workspace, request.kind ?? request.work, names, undefined)
  const ring = await readKeyring(workspace.home)
  const target = sealingVersion(ring, key)
  const subject = { name: key, version: target }
  const session = await openSession(workspace, { names, exclusive: true })
  try {
    await refuseUnfinished(workspace, journal, key)
    if (request.kind !== undefined)
      refuseSharedColumns(workspace.config, compileEnvelopes(workspace.config), true)
    if (request.kind === 'new-deks') refuseUnrenewable(session, request)
    const plan = await makePlan(session, {
      kind: request.kind ?? request.work,
      key,
      from: keyOf(ring, key).previous,
      to: target,
      onError: request.onError,
      data: true,
      events: request.events,
    })
    const pending = plan.censuses.reduce((sum, census) => sum + toChange(census, target, plan.terms.kind), 0)
    if (pending > 0 && !request.dryRun) {
      refuseUnknownRollout(workspace, ring, subject, request.rolledOut)
      await refuseUnbacked(workspace, ring, subject, request.withoutReason)
    }
    return { session, plan, pending, declared: request }
  } catch (error) {
    await session.close()
    throw error
  }
}

/** @throws USAGE naming the first one whose DEKs do not lie beside their values */
function refuseUnrenewable({ workloads, workspace }: Session, request: DataRequest): void {
  const key = workloads[0]?.key
  const copies = Object.entries(workspace.config.envelopes).find(
    ([, one]) => one.key === key && one.dek !== undefined && one.value === undefined,
  )
  if (copies !== undefined) {
    throw new KvxError(
      'USAGE',
      `${copies[0]} holds wrapped DEKs alone, which may be copies of those that would go`,
      {
        hint: 'A copy of an old DEK opens nothing any more. If they are no copies, take that envelope out of kvx.yaml for this run. Nothing was changed.',
      },
    )
  }
  const group = workloads.find(({ sharesDeks }) => sharesDeks)
  if (group !== undefined && request.offline !== true) {
    throw new KvxError(
      'USAGE',
      `${group.name} has DEKs for several records, and its application must be stopped to replace them`,
      {
        hint: 'A record that it adds under the old DEK meanwhile would open no more. Stop it, then the same command with `--offline`. Nothing was changed.',
      },
    )
  }
  const fixed = workloads.find(({ renewable }) => !renewable)
  if (fixed === undefined) return
  throw new KvxError('USAGE', `the DEKs of ${fixed.name} cannot be replaced`, {
    hint: 'kvx makes new DEKs where a record holds its wrapped DEK and its values, or where both tables lie in one database. Name the envelopes that do. Nothing was changed.',
  })
}

/** One run works under one key; what it takes follows from the work where nothing is named. */
function chooseWorkloads(
  workspace: Workspace,
  request: DataRequest,
): { readonly names: readonly string[]; readonly key: string } {
  const all = declaredWorkloads(workspace.config)
  if (all.length === 0 && request.names.length === 0) throw nothingDeclared(workspace.config)
  const chosen = request.names.length === 0 ? all : request.names.map((name) => named(workspace, all, name))
  const isFitting = ({ work, name }: Declared): boolean =>
    request.kind === 'seal' ? isSealable(workspace, name, request) : work === request.work
  const fitting = chosen.filter(isFitting)
  const wrong = request.names.length === 0 ? [] : chosen.filter((one) => !isFitting(one))
  const [first] = fitting
  if (request.kind === 'seal' && (first === undefined || wrong.length > 0)) throw nothingToSeal(workspace)
  if (first === undefined || wrong.length > 0)
    throw otherWork(
      request.work,
      wrong.map(({ name }) => name),
    )
  const keys = [...new Set(fitting.map(({ key }) => key))]
  if (keys.length > 1) {
    const own = fitting.filter(({ key }) => key === first.key).map(({ name }) => name)
    throw new KvxError('USAGE', `what is declared lies under several keys: ${keys.join(', ')}`, {
      hint: `One run works under one key. Name what lies under ${first.key}: \`kvx ${request.work} ${own.join(' ')}\`.`,
    })
  }
  return { names: fitting.map(({ name }) => name), key: first.key }
}

/** Named, an envelope says itself what is missing; else those are meant in which plaintext may lie. */
function isSealable({ config }: Workspace, name: string, { names }: DataRequest): boolean {
  const envelope = config.envelopes[name]
  return envelope !== undefined && (names.length > 0 || envelope.plaintext)
}

function nothingToSeal({ config }: Workspace): KvxError {
  return new KvxError('USAGE', `${config.path} declares no such envelope in which plaintext may lie`, {
    hint: 'Say `plaintext: true` in the envelope whose values shall be sealed. `docs/envelopes.md` has an example.',
  })
}

type Declared = ReturnType<typeof declaredWorkloads>[number]

function named(workspace: Workspace, all: readonly Declared[], name: string): Declared {
  const found = all.find((one) => one.name === name)
  if (found !== undefined) return found
  throw unknownWorkload(workspace.config, name)
}

function otherWork(work: DataWork, wrong: readonly string[]): KvxError {
  const other = work === 'rewrap' ? 'reencrypt' : 'rewrap'
  const what = work === 'rewrap' ? 'wrapped DEKs' : 'values directly under a key'
  const names = wrong.join(' ')
  return new KvxError(
    'USAGE',
    wrong.length > 0 ? `no ${what} in ${wrong.join(', ')}` : `nothing declared has ${what}`,
    {
      hint: `The command for it is \`kvx ${other}${names === '' ? '' : ` ${names}`}\`.`,
    },
  )
}

export type DataResult = {
  readonly run: RunRow
  readonly applied: Applied
  readonly seconds: number
  /** How much of that it rested for others; undefined where it gave way to nothing. */
  readonly restedSeconds: number | undefined
  readonly report: string
  readonly failure: KvxError | undefined
}

/** Starts the prepared run and brings it to its end. */
export async function executeDataRun(
  workspace: Workspace,
  journal: Journal,
  prepared: PreparedRun,
  options: Throttle & { readonly events: Events; readonly approvedBy?: ApprovedBy },
): Promise<DataResult> {
  const { terms } = prepared.plan
  const { approvedBy } = options
  refuseUnapprovedData(workspace, terms.kind, Object.keys(terms.envelopes), approvedBy)
  await recordDeclared(workspace, prepared)
  const run = await startRun(workspace, journal, prepared.plan, approvedPlanStep(approvedBy))
  await rememberPlaces(prepared.session, prepared.plan.censuses)
  const lock = await lockRun(workspace, run.id)
  try {
    return await workOnData(workspace, journal, prepared.session, {
      ...options,
      run,
      target: run.toVersion,
      before: prepared.plan.censuses.map(countsOf),
    })
  } finally {
    lock.release()
  }
}

/** In the policy's words: new DEKs are a way to re-encrypt. */
function refuseUnapprovedData(
  { config }: Workspace,
  kind: RunKind,
  names: readonly string[],
  by: ApprovedBy | undefined,
): void {
  const command: PlannedCommand = kind === 'new-deks' ? 'reencrypt' : kind
  const words = [command, ...names, ...(kind === 'new-deks' ? ['--new-deks'] : [])]
  refuseUnapproved(config, [command], by, words.join(' '))
}

/** A declaration is durable before the run that relies on it, so that a resume may rely on it too. */
async function recordDeclared(workspace: Workspace, { plan, session, declared }: PreparedRun): Promise<void> {
  const subject = { name: plan.terms.key, version: plan.terms.to }
  const { rollout, withoutBackup } = versionOf(
    keyOf(session.ring, subject.name),
    subject.name,
    subject.version,
  )
  const reason = withoutBackup === null ? declared.withoutReason : undefined
  const rolledOut = declared.rolledOut ? rollout === null : false
  if (!rolledOut && reason === undefined) return
  const data = { rolledOut, ...(reason === undefined ? {} : { withoutBackup: reason }) }
  const intent = { action: 'key.declare', subject: `${subject.name}@${subject.version}`, data }
  await withIntent(workspace.audit, intent, async () => {
    if (rolledOut) await requireRollout(workspace, session.ring, subject, true)
    if (reason !== undefined) await recordWithoutBackup(workspace, subject.name, subject.version, reason)
  })
}

export type DataWorkOptions = Throttle & {
  readonly events: Events
  readonly run: RunRow
  readonly target: number
  /** What the plan counted; for the report. */
  readonly before: readonly Counts[]
  /** What the run becomes when nothing is left to do; `done` unless told. */
  readonly finished?: 'done' | 'rolled-back' | 'open'
}

/** The data part of any run: sweeps, a full look, the report, the end of the run. Resumable at each instant. */
export async function workOnData(
  workspace: Workspace,
  journal: Journal,
  session: Session,
  options: DataWorkOptions,
): Promise<DataResult> {
  const { run } = options
  const started = performance.now()
  const restedBefore = restedMs() ?? 0
  requireSealing(await readKeyring(workspace.home), { name: run.key, version: options.target })
  const intent = {
    action: `run.${run.kind}`,
    subject: `${run.key}@${options.target}`,
    run: run.id,
    data: { direction: run.direction, planDigest: run.planDigest },
  }
  return withIntent(workspace.audit, intent, async (conclusion) => {
    const applied = await applyToData(session, {
      ...options,
      settleMs: settleTime(workspace, session.ring, run.key, options.target),
    })
    journal.setQuarantine(run.id, applied.quarantine)
    const seconds = (performance.now() - started) / 1000
    const failure = partialFailure(applied, run.id, run.key)
    const changed = applied.envelopes.reduce((sum, one) => sum + one.changed, 0)
    conclusion.conclude({ changed, quarantined: applied.quarantined })
    if (failure !== undefined) conclusion.exit(failure.exit)
    const ring = await readKeyring(workspace.home)
    const report = await writeReport(workspace, run, ring, {
      envelopes: applied.envelopes,
      quarantine: applied.quarantine,
      quarantined: applied.quarantined,
      seconds,
      approvedPlan: journal.planOf(run.id),
    })
    conclusion.conclude(report.named)
    journal.setStatus(run.id, failure === undefined ? (options.finished ?? 'done') : 'open')
    const rested = restedMs()
    const restedSeconds = rested === undefined ? undefined : (rested - restedBefore) / 1000
    return { run: journal.get(run.id), applied, seconds, restedSeconds, report: report.path, failure }
  })
}

/**
 * When the last sweep may begin, in milliseconds since 1970: a reader may seal with what it opened before the
 * activation for as long as its cache lives.
 */
function settleTime(workspace: Workspace, ring: Keyring, name: string, version: number): number {
  const { history } = versionOf(keyOf(ring, name), name, version)
  const activated = history.findLast(({ to }) => to === 'active')
  const ttl = cacheTtlMs(configuredKey(workspace.config, name))
  // The time of a step is cut to the second: up to a second more has to pass.
  return activated === undefined || ttl === 0 ? 0 : Date.parse(activated.at) + ttl + 1000
}
