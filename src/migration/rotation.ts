import { type ApprovedBy, refuseUnapprovedRotation } from '../approvals/gate.ts'
import { withIntent } from '../audit/with-intent.ts'
import type { KeyConfig } from '../config/schema.ts'
import { KvxError } from '../core/errors.ts'
import {
  activate,
  changeKeyring,
  keyOf,
  readKeyring,
  requireActivatable,
  versionOf,
} from '../keyring/keyring.ts'
import type { Keyring, Rollout } from '../keyring/keyring-file.ts'
import {
  makePublisher,
  publishKey,
  refuseForeignKeys,
  type PublishedPlace,
} from '../keyring/publish/publish.ts'
import { everyReader, hasPreviousSlots, isProbed, probeReaders, reloadReaders } from '../keyring/readers.ts'
import { configuredKey, type Workspace } from '../keyring/workspace.ts'
import { currentActor } from '../platform/actor.ts'
import { isPrintable, newLength } from '../keyring/new-material.ts'
import { isoNow } from '../platform/clock.ts'
import { workOnData, type DataResult, type Throttle } from './data-run.ts'
import type { Events } from './events.ts'
import { requireRollout } from './gates.ts'
import { approvedPlanStep, type Journal, type RunRow } from './journal.ts'
import { compileEnvelopes } from './envelope/compile-envelope.ts'
import { underKey } from './envelope/envelope.ts'
import {
  ensureBackup,
  ensureCanary,
  makeMaterial,
  refuseNumbersUsedUp,
  reserve,
  withoutBackup,
} from './key-steps.ts'
import { makePlan, type Counts, type Plan, type PlanTerms } from './plan.ts'
import { rememberPlaces } from './places.ts'
import { refuseUnfinished, startRun } from './runs.ts'
import { declaredPlaces, emptySession, openSession, type Session } from './session.ts'

/**
 * `offline`: the application is stopped, both slots change at once. `staged`: readers get the new version in the
 * previous slot first, so that each of them can open it before anyone seals with it.
 */
export type RotationMode = 'offline' | 'staged'

export type RotationRequest = {
  readonly name: string
  readonly mode: RotationMode
  readonly data: boolean
  readonly withoutReason: string | undefined
  readonly stageOnly: boolean
  readonly onError: 'stop' | 'quarantine'
  readonly dryRun: boolean
  /** The look is for a plan that others approve: what follows needs it. */
  readonly forPlan?: boolean
  readonly events: Events
}

export type PreparedRotation = {
  readonly session: Session
  readonly plan: Plan
  readonly mode: RotationMode
  /** What was asked for and the plan does not say: a resume after a crash does no more and needs no flags again. */
  readonly facts: Readonly<Record<string, string>>
}

/**
 * Checks what can be checked before a new key exists, and with `data` opens everything once: a record that does
 * not open stops the rotation here, with nothing changed.
 */
export async function prepareRotation(
  workspace: Workspace,
  journal: Journal,
  request: RotationRequest,
): Promise<PreparedRotation> {
  const { name, mode } = request
  const config = configuredKey(workspace.config, name)
  if (!request.dryRun && request.forPlan !== true)
    refuseUnapprovedRotation(
      workspace.config,
      { ...request, key: name, offline: mode === 'offline' },
      undefined,
    )
  const ring = await readKeyring(workspace.home)
  const key = keyOf(ring, name)
  await refuseUnfinished(workspace, journal, name)
  refuseOccupiedSlot(ring, name, config)
  refuseOneSlot(name, config, request)
  refuseUnfitKey(workspace, name, config)
  refuseNumbersUsedUp(name, key.next)
  for (const place of config.publish) await makePublisher(place, key).check()
  await refuseForeignKeys(ring, name, config)
  if (!request.dryRun && config.backup === undefined && request.withoutReason === undefined)
    throw withoutBackup(name, key.next)
  if (key.seals === null) {
    throw new KvxError(
      'STATE_TRANSITION',
      `no version of ${name} is active, so there is nothing to rotate from`,
      {
        hint: `See \`kvx key show ${name}\`.`,
      },
    )
  }
  // A rotation without data needs no store, and goes on whatever is done to the declarations meanwhile.
  const session = request.data
    ? await openSession(workspace, { key: name, exclusive: true })
    : await emptySession(workspace)
  try {
    const plan = await makePlan(session, {
      kind: 'rotate',
      key: name,
      from: key.seals,
      to: key.next,
      onError: request.onError,
      data: request.data,
      events: request.events,
    })
    return { session, plan, mode, facts: factsOf(request) }
  } catch (error) {
    await session.close()
    throw error
  }
}

function factsOf({ mode, stageOnly, withoutReason }: RotationRequest): Readonly<Record<string, string>> {
  return {
    mode,
    ...(stageOnly ? { 'stage-only': '' } : {}),
    ...(withoutReason === undefined ? {} : { 'without-backup': withoutReason }),
  }
}

/** What readers cannot use is refused before there is a new key. */
function refuseUnfitKey(workspace: Workspace, name: string, config: KeyConfig): void {
  const length = newLength(config)
  if (!isPrintable(config) && config.publish.some(({ encoding }) => encoding === 'ascii')) {
    throw new KvxError('USAGE', `${name} is published as printable text, and new keys are random bytes`, {
      hint: `Say what new keys are made of: \`make: { characters: 32 }\` under keys.${name}, as many as the application takes.`,
    })
  }
  for (const envelope of compileEnvelopes(workspace.config)) {
    if (envelope.key !== name) continue
    for (const form of underKey(envelope).flatMap(({ forms }) => forms)) {
      const { cipher, derive } = form
      if (derive !== undefined || cipher.kind === 'legacy' || cipher.acceptsKeyLength(length)) continue
      throw new KvxError(
        'USAGE',
        `${envelope.name} takes keys of ${cipher.keyLengths} bytes (${cipher.name}), and new keys of ${name} have ${length}`,
        {
          hint: `Say how many bytes new keys have: \`make: { bytes: ${/\d+/.exec(cipher.keyLengths)?.[0] ?? 32} }\` under keys.${name}. Nothing was changed.`,
        },
      )
    }
  }
}

/** @throws SLOT_OCCUPIED while readers need the previous slot for a version that is not retired */
export function refuseOccupiedSlot(ring: Keyring, name: string, config: KeyConfig): void {
  const key = keyOf(ring, name)
  const { previous } = key
  if (previous === null || !config.publish.some((place) => place.previous !== undefined)) return
  const subject = `${name}@${previous}`
  const isSuspended = versionOf(key, name, previous).state === 'suspended'
  const first = isSuspended
    ? `Take it back into use (\`kvx key resume ${subject} --reason TEXT\`), move`
    : 'Move'
  throw new KvxError(
    'SLOT_OCCUPIED',
    `the previous slot of ${name} still holds ${subject}, which is ${isSuspended ? 'suspended and ' : ''}not retired`,
    {
      hint: `${first} what lies under it (\`kvx rewrap\` or \`kvx reencrypt\`), then \`kvx retire ${subject}\`.`,
    },
  )
}

function refuseOneSlot(name: string, config: KeyConfig, request: RotationRequest): void {
  if (hasPreviousSlots(config)) return
  if (request.mode === 'staged') {
    throw new KvxError('USAGE', `readers of ${name} have one slot and cannot open with a second key`, {
      hint: `Stop ${everyReader(config)}, then \`kvx rotate ${name} --offline --then data\`.`,
    })
  }
  if (request.data) return
  throw new KvxError(
    'USAGE',
    `readers of ${name} have one slot: a new key alone would leave them unable to open anything`,
    {
      hint: `Let the data follow in the same run: \`kvx rotate ${name} --offline --then data\`.`,
    },
  )
}

export type RotationOptions = Throttle & {
  readonly mode: RotationMode
  /** Go on from staged to active. */
  readonly activate: boolean
  /** Stop when readers have the new version, even where a probe could say that all of them do. */
  readonly stageOnly: boolean
  /** The operator says that every reader has the staged version. */
  readonly rolledOut: boolean
  readonly withoutReason: string | undefined
  readonly events: Events
}

export type RotationResult = {
  readonly run: RunRow
  /** `staged`: readers have the new version, it does not seal yet. */
  readonly reached: 'staged' | 'active'
  readonly places: readonly PublishedPlace[]
  readonly data: DataResult | undefined
}

/** A rotation under way. `before` is what its plan counted. */
export type Rotation = {
  readonly run: RunRow
  readonly terms: PlanTerms
  readonly before: readonly Counts[]
  readonly session: Session
}

/** Opens the run and reserves the number of the new version. */
export async function startRotation(
  workspace: Workspace,
  journal: Journal,
  prepared: PreparedRotation,
  approvedBy?: ApprovedBy,
): Promise<RunRow> {
  const offline = prepared.mode === 'offline'
  refuseUnapprovedRotation(workspace.config, { ...prepared.plan.terms, offline }, approvedBy)
  const facts = { ...prepared.facts, ...approvedPlanStep(approvedBy) }
  const run = await startRun(workspace, journal, prepared.plan, facts)
  // What is declared under the key now is what its retirement must have looked at, also without data.
  const workloads = declaredPlaces(workspace.config, prepared.plan.terms.key)
  await rememberPlaces({ workspace, workloads }, prepared.plan.censuses)
  return run
}

/**
 * Brings a rotation as far as it may go. Every step looks at what is there and does what is missing: the same
 * call serves the first attempt and each resume.
 * @throws NO_TESTED_BACKUP, ROLLOUT_NOT_DECLARED: the run waits and goes on with the next call
 */
export async function continueRotation(
  workspace: Workspace,
  journal: Journal,
  rotation: Rotation,
  options: RotationOptions,
): Promise<RotationResult> {
  const { run, terms } = rotation
  const config = configuredKey(workspace.config, run.key)
  const intent = {
    action: 'key.rotate',
    subject: `${run.key}@${run.toVersion}`,
    run: run.id,
    data: { mode: options.mode },
  }
  const stopped = await withIntent(workspace.audit, intent, async (conclusion) => {
    const asked = new Map(journal.steps(run.id).map(({ name, detail }) => [name, detail]))
    const withoutReason = options.withoutReason ?? asked.get('without-backup')
    await keySteps(workspace, journal, run, { config, withoutReason })
    const found = await readKeyring(workspace.home)
    if (keyOf(found, run.key).seals !== run.toVersion) requireActivatable(found, run.key, run.toVersion)
    const stageOnly = options.stageOnly || asked.has('stage-only')
    const reached = await bringToReaders(workspace, journal, run, { ...options, stageOnly, config })
    conclusion.conclude({ reached })
    return reached
  })
  if (stopped === 'staged') {
    journal.setStatus(run.id, 'waiting')
    return { run: journal.get(run.id), reached: 'staged', places: [], data: undefined }
  }
  const oneSlot = !hasPreviousSlots(config)
  const data = terms.data ? await moveData(workspace, journal, rotation, options) : undefined
  // Records that open with no known key hold nothing back: the others need their readers.
  const held = data?.failure !== undefined && data.failure.code !== 'RECORDS_QUARANTINED'
  const places = oneSlot && !held ? await publishKey(workspace.home, { name: run.key, config }) : []
  if (oneSlot && !held) await reloadReaders(config)
  if (data?.failure === undefined) journal.setStatus(run.id, 'done')
  return { run: journal.get(run.id), reached: 'active', places, data }
}

async function keySteps(
  workspace: Workspace,
  journal: Journal,
  run: RunRow,
  key: { readonly config: KeyConfig; readonly withoutReason: string | undefined },
): Promise<void> {
  const version = await reserve(workspace, run.key, run.id)
  if (version !== run.toVersion) {
    throw new KvxError(
      'PLAN_DIFFERS',
      `run ${run.id} was planned for ${run.key}@${run.toVersion}, and the next number is ${version}`,
      {
        hint: `Undo it with \`kvx run rollback ${run.id}\` and rotate again.`,
      },
    )
  }
  const at = { name: run.key, version, run: run.id }
  await makeMaterial(workspace, at)
  // Before the backup: a split takes a key that its canary proves, and sealing it is no use of the key.
  await ensureCanary(workspace, at)
  try {
    await ensureBackup(workspace, at, key)
  } catch (error) {
    if (error instanceof KvxError && error.code === 'NO_TESTED_BACKUP') journal.setStatus(run.id, 'waiting')
    throw error
  }
  journal.setStatus(run.id, 'open')
}

/** From a proven key to a sealing one, in the order in which readers can follow. */
async function bringToReaders(
  workspace: Workspace,
  journal: Journal,
  run: RunRow,
  options: RotationOptions & { readonly config: KeyConfig },
): Promise<'staged' | 'active'> {
  const { config } = options
  const { home } = workspace
  const { name, version } = { name: run.key, version: run.toVersion }
  if (options.mode === 'staged') {
    await stage(workspace, name, version, config)
    if (!journal.hasStep(run.id, 'staged')) {
      await reloadReaders(config)
      journal.markStep(run.id, 'staged')
    }
    if (!options.activate && (options.stageOnly || !isProbed(config))) return 'staged'
    await gateRollout(workspace, { name, version }, { config, rolledOut: options.rolledOut })
  }
  await changeKeyring(home, (ring) => {
    activate(ring, name, version, `run ${run.id}`)
    const record = versionOf(keyOf(ring, name), name, version)
    record.rollout ??= { how: 'offline', at: isoNow(), actor: currentActor() } satisfies Rollout
  })
  // Readers with one slot get the key only when their data is under it: a restart in between fails closed.
  await publishKey(home, { name, config }, { withdraw: !hasPreviousSlots(config) })
  if (!journal.hasStep(run.id, 'activated')) {
    if (hasPreviousSlots(config)) await reloadReaders(config)
    journal.markStep(run.id, 'activated')
  }
  return 'active'
}

async function stage(workspace: Workspace, name: string, version: number, config: KeyConfig): Promise<void> {
  await changeKeyring(workspace.home, (ring) => {
    const key = keyOf(ring, name)
    if (key.seals !== version) key.staged = version
  })
  await publishKey(workspace.home, { name, config })
}

async function gateRollout(
  workspace: Workspace,
  subject: { readonly name: string; readonly version: number },
  key: { readonly config: KeyConfig; readonly rolledOut: boolean },
): Promise<void> {
  const { name, version } = subject
  if (isProbed(key.config) && !key.rolledOut) {
    await probeReaders(key.config, `${name}@${version}`)
    await changeKeyring(workspace.home, (ring) => {
      versionOf(keyOf(ring, name), name, version).rollout ??= {
        how: 'probed',
        at: isoNow(),
        actor: currentActor(),
      }
    })
    return
  }
  await requireRollout(workspace, await readKeyring(workspace.home), subject, key.rolledOut)
}

/** The data part needs key books that know the new version, so its session is opened now. */
async function moveData(
  workspace: Workspace,
  journal: Journal,
  rotation: Rotation,
  options: RotationOptions,
): Promise<DataResult> {
  await rotation.session.close()
  const session = await openSession(workspace, { key: rotation.run.key, exclusive: true })
  try {
    const { run, before } = rotation
    return await workOnData(workspace, journal, session, {
      ...options,
      run,
      target: run.toVersion,
      before,
      finished: 'open',
    })
  } finally {
    await session.close()
  }
}
