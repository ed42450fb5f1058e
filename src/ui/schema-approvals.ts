import { z } from 'zod'
import { planFile } from '../approvals/plan-file.ts'
import { count, dataRun, destruction, hex64, retirement, rotation, text } from './schema-parts.ts'

/** What `kvx plan COMMAND` prints; the plan itself has a schema of its own. */
const planMade = z.object({
  file: text.nullable().describe('the plan; null for a dry run, and where nothing is left to do'),
  digest: hex64.describe('SHA-256 of the file'),
  required: count.describe('approvals that the policy asks for'),
  plan: planFile,
  done: z.boolean().describe('nothing is left to do'),
})

const approvals = z.object({
  required: count,
  counted: z.array(
    z.object({
      approver: text,
      kind: z.enum(['openpgp', 'ssh']),
      fingerprint: text,
      file: text,
      sha256: hex64,
    }),
  ),
  uncounted: z.array(z.object({ file: text, reason: text })),
})

/** What `kvx plan` and `kvx apply` print. */
export const approvalDocuments = {
  'kvx.plan.rewrap/1': planMade,
  'kvx.plan.reencrypt/1': planMade,
  'kvx.plan.seal/1': planMade,
  'kvx.plan.rotate/1': planMade,
  'kvx.plan.retire/1': planMade,
  'kvx.plan.destroy/1': planMade,
  'kvx.plan.show/1': z.object({
    digest: hex64,
    plan: planFile,
    approvals: approvals.nullable().describe('null where no kvx.yaml is at hand'),
  }),
  'kvx.plan.approve/1': z.object({
    digest: hex64,
    file: text.nullable().describe('the signature; null for a dry run'),
    fingerprint: text.nullable().describe('of the key that signed'),
  }),
  'kvx.apply/1': z.object({
    digest: hex64,
    approvals,
    result: z
      .union([dataRun, rotation, retirement, destruction])
      .nullable()
      .describe('what the command itself would print; null for a dry run, and where nothing is left to do'),
  }),
} as const satisfies Record<string, z.ZodType>
