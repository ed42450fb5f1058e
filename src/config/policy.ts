import { z } from 'zod'
import { parseSshPublicKey } from '../core/ssh-signature.ts'
import { duration, program, sshPublicKey } from './values.ts'

/** Commands that a policy can bind to approvals: those that `kvx plan` can describe beforehand. */
export const plannedCommands = ['rewrap', 'reencrypt', 'seal', 'rotate', 'retire', 'destroy'] as const
export type PlannedCommand = (typeof plannedCommands)[number]

const approver = {
  name: z.string().regex(/^[^\p{Cc}=]{1,100}$/u, 'a name is one line without ='),
  /** The last day on which the approver's signature counts, UTC. */
  until: z.iso.date('a day is written 2027-12-31').optional(),
}

const openpgpApprover = z.strictObject({
  ...approver,
  openpgp: z.string().regex(/^[0-9A-Fa-f]{40}$/, 'an OpenPGP fingerprint has 40 hex digits, without spaces'),
  /** A file with the public key; else gpg's keyring has it. */
  'key-file': z.string().min(1).optional(),
})

const sshApprover = z.strictObject({
  ...approver,
  ssh: sshPublicKey,
})

const approvals = z
  .strictObject({
    /** How many different approvers must have signed. */
    required: z.int().min(1).max(32),
    for: z.array(z.enum(plannedCommands)).min(1),
    approvers: z.array(z.union([openpgpApprover, sshApprover])).min(1),
    /** How long a plan is good, unless it says less. */
    expires: duration.default('7d'),
  })
  .refine(
    ({ required, approvers }) => required <= approvers.length,
    'more approvals are required than there are approvers',
  )
  .refine(
    ({ approvers }) => areDifferent(approvers.map(({ name }) => name)),
    'two approvers have the same name',
  )
  .refine(({ approvers }) => areDifferent(approvers.map(approverKey)), 'two approvers have the same key')

/** A section with nothing in it yet is an empty one. */
function section<T extends z.core.$ZodLooseShape>(members: T) {
  return z.preprocess((value) => value ?? {}, z.strictObject(members))
}

export const policySchema = section({
  approvals: approvals.optional(),
  /** So many proven backups of each version that seals. */
  backups: z.int().min(1).max(32).optional(),
  /** How old the last proof that a backup opens may be. */
  drill: duration.optional(),
})

export const auditSchema = section({
  /** Where entries of the log go besides: the system's log, or a program's standard input. */
  sink: z
    .union([
      z.strictObject({
        syslog: z.enum([
          'auth',
          'authpriv',
          'daemon',
          'user',
          'local0',
          'local1',
          'local2',
          'local3',
          'local4',
          'local5',
          'local6',
          'local7',
        ]),
      }),
      z.strictObject({ command: program }),
    ])
    .optional(),
})

export type Policy = z.output<typeof policySchema>
export type ApprovalPolicy = NonNullable<Policy['approvals']>
export type Approver = ApprovalPolicy['approvers'][number]
export type AuditConfig = z.output<typeof auditSchema>

/** What two entries for one key have in common, however they are written. */
function approverKey(one: z.output<typeof openpgpApprover> | z.output<typeof sshApprover>): string {
  return 'ssh' in one
    ? (parseSshPublicKey(one.ssh)?.toString('base64') ?? one.ssh)
    : one.openpgp.toUpperCase()
}

function areDifferent(texts: readonly string[]): boolean {
  return new Set(texts).size === texts.length
}
