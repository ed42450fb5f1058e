import { now } from '../platform/clock.ts'
import type { Config } from './config.ts'

/** What the policy asks for and the file itself does not keep: seen without a home. */
export type PolicyFault = { readonly at: string; readonly message: string; readonly remedy: string }

const dayMs = 86_400_000

export function policyFaults(config: Config): readonly PolicyFault[] {
  return [...unbackedKeys(config), ...formerApprovers(config)]
}

/** A policy for backups says nothing of a key that has nobody to open one. */
function unbackedKeys({ policy, keys, where }: Config): readonly PolicyFault[] {
  if (policy.backups === undefined && policy.drill === undefined) return []
  return Object.entries(keys).flatMap(([name, { backup }]) => {
    if (backup === undefined) {
      const message = `the policy asks for backups, and keys.${name} names nobody who could open one`
      const remedy = `add \`backup: { recipients: [FINGERPRINT] }\` to keys.${name}`
      return [{ at: where(['keys', name]), message, remedy }]
    }
    const kinds = (backup.recipients.length > 0 ? 1 : 0) + (backup.shares === undefined ? 0 : 1)
    const people = backup.recipients.length + (backup.shares === undefined ? 0 : 1)
    if (kinds > 0 && people >= Math.min(policy.backups ?? 1, 2)) return []
    const message = `the policy asks for ${policy.backups ?? 1} backups, and one person alone could open those of keys.${name}`
    const remedy = `name a second recipient, or shares, under keys.${name}.backup`
    return [{ at: where(['keys', name, 'backup']), message, remedy }]
  })
}

/** Approvers whose last day is over cannot approve; too few of the others, and nothing is ever approved. */
function formerApprovers({ policy, where }: Config): readonly PolicyFault[] {
  const { approvals } = policy
  if (approvals === undefined) return []
  const left = approvals.approvers.filter(
    ({ until }) => until === undefined || Date.parse(until) + dayMs > now().getTime(),
  )
  if (left.length >= approvals.required) return []
  const message = `the policy requires ${approvals.required} approvals, and only ${left.length} of its approvers may still approve`
  const remedy = 'name approvers whose `until` is not over'
  return [{ at: where(['policy', 'approvals', 'approvers']), message, remedy }]
}
