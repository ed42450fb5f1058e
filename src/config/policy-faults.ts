import { now } from '../platform/clock.ts'
import type { Config } from './config.ts'

/** What the policy asks for and the file itself does not keep: seen without a home. */
export type PolicyFault = { readonly message: string; readonly remedy: string }

const dayMs = 86_400_000

export function policyFaults(config: Config): readonly PolicyFault[] {
  return [...unbackedKeys(config), ...formerApprovers(config)]
}

/** A policy for backups says nothing of a key that has nobody to open one. */
function unbackedKeys(config: Config): readonly PolicyFault[] {
  const { policy, keys } = config
  if (policy.backups === undefined && policy.drill === undefined) return []
  return Object.entries(keys)
    .filter(([, { backup }]) => backup === undefined)
    .map(([name]) => ({
      message: `${config.where(['keys', name])}: the policy asks for backups, and keys.${name} names nobody who could open one`,
      remedy: `add \`backup: { recipients: [FINGERPRINT] }\` to keys.${name}`,
    }))
}

/** Approvers whose last day is over cannot approve; too few of the others, and nothing is ever approved. */
function formerApprovers(config: Config): readonly PolicyFault[] {
  const { approvals } = config.policy
  if (approvals === undefined) return []
  const left = approvals.approvers.filter(
    ({ until }) => until === undefined || Date.parse(until) + dayMs > now().getTime(),
  )
  if (left.length >= approvals.required) return []
  const message = `${config.where(['policy', 'approvals'])}: the policy requires ${approvals.required} approvals, and only ${left.length} of its approvers may still approve`
  const remedy = 'name approvers whose `until` is not over'
  return [{ message, remedy }]
}
