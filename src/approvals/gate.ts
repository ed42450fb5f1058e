import type { Config } from '../config/config.ts'
import type { PlannedCommand } from '../config/policy.ts'
import { KvxError } from '../core/errors.ts'
import type { Approvals } from './approvals.ts'
import type { PlanFile } from './plan-file.ts'

/** What lets work begin where a policy asks for approvals: the digest of the plan that was approved. */
export type ApprovedBy = { readonly digest: string }

/** How many approvals the policy asks for before one of these commands; 0 where it says nothing of them. */
export function requiredApprovals(config: Config, commands: readonly PlannedCommand[]): number {
  const { approvals } = config.policy
  return commands.some((command) => approvals?.for.includes(command)) ? (approvals?.required ?? 0) : 0
}

/**
 * Stops a command that the policy binds to approvals, unless it carries out a plan that has them.
 * @param words what to plan instead, for the hint: `rewrap app.secrets`
 * @throws APPROVAL_MISSING
 */
export function refuseUnapproved(
  config: Config,
  commands: readonly PlannedCommand[],
  by: ApprovedBy | undefined,
  words: string,
): void {
  const required = requiredApprovals(config, commands)
  if (by !== undefined || required === 0) return
  const bound = commands.filter((command) => config.policy.approvals?.for.includes(command))
  throw new KvxError(
    'APPROVAL_MISSING',
    `the policy asks for ${required} ${required === 1 ? 'approval' : 'approvals'} before a ${bound.join(' and a ')}; nothing was changed`,
    {
      hint: `Write down what shall be done: \`kvx plan ${words} --out plan.json\`. Approvers sign it (\`kvx plan approve plan.json\`), then \`kvx apply plan.json\`.`,
      details: { required, command: bound[0] ?? '' },
    },
  )
}

/** The same for a rotation. @throws APPROVAL_MISSING */
export function refuseUnapprovedRotation(
  config: Config,
  what: { readonly key: string; readonly data: boolean; readonly offline: boolean },
  by: ApprovedBy | undefined,
): void {
  const commands = what.data ? rotationCommands(config, what.key) : (['rotate'] as const)
  const flags = [...(what.offline ? ['--offline'] : []), ...(what.data ? ['--then data'] : [])]
  refuseUnapproved(config, commands, by, ['rotate', what.key, ...flags].join(' '))
}

/** @throws APPROVAL_MISSING telling who has signed, and of each other signature why it does not count */
export function requireApprovals(required: number, { counted, uncounted }: Approvals, path: string): void {
  if (counted.length >= required) return
  const names = counted.map(({ approver }) => approver)
  const others = uncounted.map(({ file, reason }) => `${file}: ${reason}`)
  throw new KvxError(
    'APPROVAL_MISSING',
    [
      `the plan has ${counted.length} of ${required} approvals${names.length === 0 ? '' : ` (${names.join(', ')})`}`,
      ...others,
    ].join('; '),
    {
      hint: `Nothing was changed. An approver signs with \`kvx plan approve ${path}\`; the signature lies beside the plan. \`kvx plan show ${path}\` tells what counts.`,
      details: { required, approved: names, uncounted: others },
    },
  )
}

/** What a plan does, in the policy's words: a rotation that moves the data does that as well. */
export function commandsOf(
  { work, facts }: Pick<PlanFile, 'work' | 'facts'>,
  config: Config,
): readonly PlannedCommand[] {
  return work.command === 'rotate' && work.data ? rotationCommands(config, facts.key) : [work.command]
}

/** A rotation with its data is also the command that would move them. */
function rotationCommands(config: Config, key: string): readonly PlannedCommand[] {
  const wraps = Object.values(config.envelopes).filter((one) => one.key === key)
  const vaults = Object.values(config.vaults).filter((one) => one.key === key)
  return [
    'rotate',
    ...(wraps.some(({ dek }) => dek !== undefined) ? (['rewrap'] as const) : []),
    ...(wraps.some(({ dek }) => dek === undefined) || vaults.length > 0 ? (['reencrypt'] as const) : []),
  ]
}
