import { join } from 'node:path'
import { requiredApprovals, requireApprovals, commandsOf } from '../approvals/gate.ts'
import { type Approvals, examineApprovals, signaturesBeside } from '../approvals/approvals.ts'
import {
  encodePlanFile,
  type PlannedWork,
  type ReadPlanFile,
  readPlanFile,
  workTitle,
} from '../approvals/plan-file.ts'
import type { Config } from '../config/config.ts'
import { parseDuration } from '../core/duration.ts'
import { type Conclusion, withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import { planApplied, readKeyring, refuseUsedPlan } from '../keyring/keyring.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { currentActor } from '../platform/actor.ts'
import { isoNow, now } from '../platform/clock.ts'
import { quotedPath, shownPath } from '../platform/file-errors.ts'
import { makeDirectory } from '../platform/files.ts'
import { writeState } from '../platform/state-file.ts'
import type { Events } from './events.ts'
import type { Journal } from './journal.ts'
import { differences, examineWork, type ExaminedWork } from './planned-work.ts'

const defaultExpiry = '7d'

export type MadePlan = {
  readonly file: ReadPlanFile
  readonly examined: Pick<ExaminedWork, 'censuses' | 'isDone'>
  /** How many approvals the policy asks for before it is applied. */
  readonly required: number
}

/** Looks at what the work would touch and writes nothing: the plan is the caller's to keep. */
export async function makePlanFile(
  workspace: Workspace,
  journal: Journal,
  work: PlannedWork,
  options: { readonly expires: string | undefined; readonly tolerance: number; readonly events: Events },
): Promise<MadePlan> {
  const expires = expiryOf(workspace.config, options.expires)
  const examined = await examineWork(workspace, journal, work, options.events)
  await examined.close()
  const plan = {
    schema: 'kvx.work-plan/1' as const,
    home: workspace.signer.publicKeyFingerprint,
    configuration: workspace.config.digest,
    created: isoNow(),
    actor: currentActor(),
    expires,
    tolerance: options.tolerance,
    work,
    facts: examined.facts,
  }
  const required = requiredApprovals(workspace.config, commandsOf(plan, workspace.config))
  return { file: encodePlanFile(plan), examined, required }
}

function expiryOf({ policy }: Config, wanted: string | undefined): string {
  const text = wanted ?? policy.approvals?.expires ?? defaultExpiry
  const ms = parseDuration(text)
  const longest = parseDuration(policy.approvals?.expires ?? '90d') ?? 0
  if (ms === undefined || ms === 0) {
    throw new KvxError('USAGE', 'how long a plan is good is a number and a unit', {
      hint: 'For example `--expires 2d` or `12h`.',
    })
  }
  if (ms > longest) {
    throw new KvxError('USAGE', `a plan is good for ${policy.approvals?.expires ?? '90d'} at most`, {
      hint: 'Say less, or change `policy.approvals.expires` in kvx.yaml.',
    })
  }
  return `${new Date(now().getTime() + ms).toISOString().slice(0, 19)}Z`
}

export type ReadApprovals = Approvals & { readonly required: number }

/** A plan with the signatures beside it and those that are named, judged by the policy of this configuration. */
export async function readApprovals(
  config: Config,
  path: string,
  named: readonly string[],
): Promise<{ readonly file: ReadPlanFile; readonly approvals: ReadApprovals }> {
  const file = await readPlanFile(path)
  const files = [...new Set([...(await signaturesBeside(path)), ...named])]
  const approvals = await examineApprovals(file, files, config.policy.approvals)
  const required = requiredApprovals(config, commandsOf(file.plan, config))
  return { file, approvals: { ...approvals, required } }
}

/**
 * Everything that can be refused before the work is looked at.
 * @throws PLAN_DIFFERS for another home or configuration, PLAN_EXPIRED, PLAN_APPLIED, APPROVAL_MISSING
 */
export async function requireApplicable(
  workspace: Workspace,
  journal: Journal,
  path: string,
  { file, approvals }: { readonly file: ReadPlanFile; readonly approvals: ReadApprovals },
): Promise<void> {
  const { plan, digest } = file
  if (plan.home !== workspace.signer.publicKeyFingerprint) {
    throw differs('it was made for another home', `This home is ${workspace.signer.publicKeyFingerprint}.`)
  }
  await refuseExpired(workspace, plan.expires)
  refuseUsedPlan(await readKeyring(workspace.home), { digest })
  const run = journal.runOfPlan(digest)
  if (run !== undefined) {
    const open = run.status === 'open' || run.status === 'waiting'
    throw planApplied(`run ${run.id}, which is ${run.status}${open ? `: \`kvx run resume ${run.id}\`` : ''}`)
  }
  requireApprovals(approvals.required, approvals, quotedPath(shownPath(path)))
  if (plan.configuration !== workspace.config.digest) {
    throw differs(
      `${workspace.config.path} was changed since`,
      'Put it back as it was, or make a new plan and have it approved.',
    )
  }
}

/** A clock that was set back does not make a plan good again. */
async function refuseExpired(workspace: Workspace, expires: string): Promise<void> {
  const { at } = await workspace.audit.head()
  const latest = Math.max(now().getTime(), at === undefined ? 0 : Date.parse(at))
  if (latest < Date.parse(expires)) return
  throw new KvxError('PLAN_EXPIRED', `the plan expired at ${expires}`, {
    hint: 'Make a new one and have it approved. Nothing was changed.',
  })
}

function differs(what: string, hint: string): KvxError {
  return new KvxError('PLAN_DIFFERS', `this is not what was planned: ${what}`, {
    hint: `${hint} Nothing was changed.`,
  })
}

/**
 * Looks at the work again: all is as it was when the plan was made.
 * @throws PLAN_DIFFERS naming each difference; what the command itself throws before its first write
 */
export async function examinePlanned(
  workspace: Workspace,
  journal: Journal,
  { plan }: ReadPlanFile,
  events: Events,
): Promise<ExaminedWork> {
  const examined = await examineWork(workspace, journal, plan.work, events)
  const found = differences(plan.facts, examined.facts, plan.tolerance)
  if (found.length === 0) return examined
  await examined.close()
  const planned = workTitle(plan.work)
  throw differs(
    found.join('; '),
    `Make a new plan with \`kvx plan ${planned} --out FILE\` and have it approved; where the application goes on writing, with \`--tolerance COUNT\`.`,
  )
}

/**
 * Keeps the plan and its approvals in the home, then works, with an entry in the log before and after that names
 * who approved it.
 */
export async function underPlan<T>(
  workspace: Workspace,
  file: ReadPlanFile,
  approvals: ReadApprovals,
  work: (conclusion: Conclusion) => Promise<T>,
): Promise<T> {
  const { plan, digest, bytes } = file
  const folder = join(workspace.home.path, 'plans', digest.slice(0, 16))
  await makeDirectory(join(workspace.home.path, 'plans'), 0o700)
  await makeDirectory(folder, 0o700)
  await writeState(join(folder, 'plan.json'), bytes)
  for (const [at, one] of approvals.counted.entries()) {
    const name = `plan.json.${at + 1}.${one.kind === 'openpgp' ? 'asc' : 'sig'}`
    await writeState(join(folder, name), one.bytes)
  }
  const data = {
    planDigest: digest,
    command: workTitle(plan.work),
    approvedBy: approvals.counted.map(({ approver, fingerprint }) => `${approver} (${fingerprint})`),
    approvalsSha256: approvals.counted.map(({ sha256 }) => sha256),
    required: approvals.required,
  }
  return withIntent(workspace.audit, { action: 'plan.apply', subject: plan.facts.key, data }, work)
}
