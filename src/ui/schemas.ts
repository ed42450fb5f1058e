import { z } from 'zod'
import { errorCatalogue, type ErrorCode } from '../core/errors.ts'
import { approvalDocuments } from './schema-approvals.ts'
import { backupDocuments } from './schema-backups.ts'
import {
  auditEntry,
  byVersion,
  checkValue,
  ciphertextRestore,
  count,
  dataRun,
  destruction,
  discovered,
  fingerprint,
  generation,
  head,
  hex64,
  key,
  place,
  plannedRun,
  problem,
  purpose,
  restored,
  retirement,
  rotation,
  run,
  state,
  stateChange,
  text,
  time,
  version,
  wordedDigest,
  versionLimits,
} from './schema-parts.ts'

/**
 * What `--json` prints, a schema for each document. Programs read by them: a member never changes its meaning,
 * and more members may come. `npm run docs` writes them as JSON Schema to `docs/schemas/`.
 */
export const documentData = {
  /** What names no command has no document of its own. */
  'kvx.error/1': z.object({}),
  'kvx.init/1': z.object({
    config: text,
    configWritten: z.boolean(),
    home: text,
    auditFingerprint: hex64.nullable().describe('null for a dry run'),
    profiles: z
      .array(z.object({ name: text, summary: text }))
      .optional()
      .describe('with --list-profiles'),
  }),
  'kvx.keygen/1': z.object({
    name: text,
    version: version.nullable().describe('null for a bare file'),
    path: text,
    encoding: text,
    fingerprint: fingerprint.nullable(),
    checkValue: checkValue.nullable(),
    mode: z.string().regex(/^0[0-7]{3}$/),
    owner: text,
    group: text,
    readers: z.array(text),
    registered: z.boolean(),
    published: z.array(text),
    dryRun: z.boolean(),
    purpose: purpose.optional(),
  }),
  'kvx.key.list/1': z.object({ keys: z.array(key) }),
  'kvx.key.show/1': key.extend({ drift: z.array(text) }),
  'kvx.key.import/1': z.object({
    name: text,
    versions: z.array(z.object({ version, fingerprint, checkValue, state, changed: z.boolean() })),
  }),
  'kvx.key.publish/1': z.object({ name: text, published: z.array(place) }),
  'kvx.key.suspend/1': stateChange,
  'kvx.key.resume/1': stateChange,
  'kvx.key.compromise/1': stateChange,
  'kvx.key.unretire/1': stateChange,
  'kvx.check/1': z.object({
    findings: z.array(
      z.object({
        rule: text,
        severity: z.enum(['error', 'warning']),
        path: text,
        line: z.int().positive().optional().describe('of a text, from 1'),
        message: text,
        remedy: text,
      }),
    ),
    checked: count,
    baseline: text.optional().describe('the file that --write-baseline wrote'),
    files: z.array(
      z.object({
        path: text,
        encoding: text.nullable(),
        bytes: count.nullable(),
        fingerprint: fingerprint.nullable(),
        checkValue: checkValue.nullable(),
      }),
    ),
  }),
  'kvx.inspect/1': z.object({
    kind: text,
    facts: z.record(text, z.union([text, z.number(), z.boolean(), z.array(text)])),
    path: text,
    size: count,
    mode: text,
    owner: text,
    group: text,
  }),
  'kvx.verify/1': z.object({
    envelopes: z.array(
      z.object({
        name: text,
        records: count,
        byVersion: byVersion.describe(
          'records by NAME@VERSION; one whose values need several versions counts under each',
        ),
        unreadable: count,
        plaintext: count,
        mislabelled: count.describe('records that name another version than the one that opens them'),
        empty: count,
        named: z.array(z.object({ record: text, reason: text })),
      }),
    ),
  }),
  'kvx.discover/1': z.object({
    finds: z.array(discovered),
    unseen: z
      .array(z.object({ store: text, table: text.nullable(), reason: text }))
      .describe('stores and tables that could not be looked at'),
    tables: count,
    records: count.describe('records that were looked at'),
    configuration: text
      .nullable()
      .describe('of a place without a configuration: a kvx.yaml that declares the finds'),
  }),
  'kvx.rotate/1': rotation,
  'kvx.rewrap/1': z.union([dataRun, plannedRun]),
  'kvx.seal/1': z.union([dataRun, plannedRun]),
  'kvx.reencrypt/1': z.union([dataRun, plannedRun]),
  'kvx.run.list/1': z.object({ runs: z.array(run) }),
  'kvx.run.show/1': run.extend({
    steps: z.array(z.object({ name: text, at: time, detail: text })),
    quarantine: z.array(z.object({ envelope: text, record: text, reason: text })),
  }),
  'kvx.run.resume/1': z.union([dataRun, rotation, run]),
  'kvx.run.rollback/1': z.union([dataRun, run]),
  'kvx.run.restore/1': ciphertextRestore,
  'kvx.run.abandon/1': z.object({
    run: text,
    key: text,
    seals: version.nullable().describe('the version that seals from here on'),
    abandoned: z.boolean().describe('false for a dry run'),
    drift: z.array(text).describe('published places that hold something else'),
  }),
  'kvx.run.forget/1': z.object({ run: text, removed: z.boolean() }),
  'kvx.retire/1': retirement,
  'kvx.destroy/1': destruction,
  ...approvalDocuments,
  ...backupDocuments,
  'kvx.restore/1': restored,
  'kvx.ceremony.preflight/1': z.object({
    findings: z.array(z.object({ name: text, state: z.enum(['ok', 'warn', 'stop']), message: text })),
  }),
  'kvx.ceremony.plan/1': z.object({
    ceremony: text,
    kind: text,
    folder: text,
    steps: count,
    roles: z.array(z.object({ role: text, name: text.nullable() })),
    plan: wordedDigest.nullable().describe('null for a dry run'),
  }),
  'kvx.ceremony.run/1': z.object({
    folder: text,
    record: wordedDigest.nullable(),
    result: z.enum(['complete', 'incomplete']).nullable(),
    rehearsal: z.boolean(),
    deviations: z.array(count).describe('numbers of events'),
  }),
  'kvx.ceremony.sign/1': z.object({
    ceremony: text,
    record: wordedDigest,
    role: text.nullable().describe('null: the audit key of the home'),
    signature: text.nullable(),
  }),
  'kvx.ceremony.verify/1': z.object({
    ceremony: text,
    kind: text,
    rehearsal: z.boolean(),
    result: z.enum(['complete', 'incomplete']),
    record: wordedDigest,
    deviations: z.array(count),
    checks: z.array(z.object({ name: text, state: z.enum(['right', 'open', 'wrong']), message: text })),
  }),
  'kvx.template.list/1': z.object({
    templates: z.array(
      z.object({
        name: text,
        summary: text,
        parameters: z.array(z.object({ name: text, description: text, default: text.nullable() })),
        files: z.array(z.object({ path: text, description: text })),
      }),
    ),
  }),
  'kvx.template.render/1': z.object({
    name: text,
    directory: text,
    files: z.array(
      z.object({
        path: text,
        state: z
          .enum(['written', 'same', 'missing'])
          .describe('`same`: it was there already; `missing`: a dry run would write it'),
      }),
    ),
  }),
  'kvx.vault.put/1': z.object({ vault: text, members: count, generation: generation.nullable() }),
  'kvx.vault.get/1': z.object({
    vault: text,
    generation,
    member: text.optional().describe('missing where all of the vault was asked for'),
    value: z.json(),
  }),
  'kvx.vault.list/1': z.object({
    vaults: z.array(
      z.object({
        name: text,
        path: text,
        size: count.nullable(),
        generation: generation.nullable(),
        key: text.nullable(),
        checkValue: text.nullable(),
        problem: text.nullable(),
      }),
    ),
  }),
  'kvx.vault.delete/1': z.object({ vault: text, member: text.optional(), deleted: z.boolean() }),
  'kvx.vault.export/1': z.object({ vault: text, generation, bytes: count, file: text.nullable() }),
  'kvx.vault.import/1': z.object({ vault: text, bytes: count, generation: generation.nullable() }),
  'kvx.status/1': z.object({
    keys: z.array(
      z.object({
        name: text,
        purpose,
        seals: version.nullable(),
        ageDays: count.nullable(),
        sealUntil: time.nullable(),
        backedUp: z.boolean(),
        lastDrill: time.nullable(),
        drillDue: time
          .nullable()
          .describe('the policy’s interval, or a year, after the last drill or the first backup that counts'),
        backups: count.describe('proven ones of the version that seals'),
        limits: z.array(versionLimits).describe('of versions that are neither retired nor destroyed'),
      }),
    ),
    runs: z.array(run),
    due: z.array(z.object({ code: text, subject: text, message: text, command: text })),
  }),
  'kvx.completion/1': z.object({ shell: z.enum(['bash', 'zsh', 'fish']), script: text }),
  'kvx.metrics/1': z.object({
    metrics: z.array(
      z.object({
        name: text,
        help: text,
        samples: z.array(z.object({ labels: z.record(text, text), value: z.number() })),
      }),
    ),
    textfile: text.nullable().describe('the file that was written'),
  }),
  'kvx.doctor/1': z.union([
    z.object({
      examinations: z.array(
        z.object({
          name: text,
          health: z.enum(['ok', 'warn', 'stop']),
          message: text,
          remedy: text.optional(),
        }),
      ),
    }),
    z.object({ keys: z.array(key), kept: text.nullable() }).describe('with --rebuild-keyring'),
  ]),
  'kvx.audit.show/1': z.object({ entries: z.array(auditEntry), head }),
  'kvx.audit.verify/1': z.object({
    entries: count,
    head,
    problems: z.array(
      z.object({
        line: count,
        seq: count,
        code: text,
        message: text,
        document: text.optional().describe('the report or certificate that it is about'),
      }),
    ),
    problemCount: count,
    documents: z.object({
      checked: count.describe('reports and certificates that were held against the log'),
      named: count.describe('those that the log names'),
    }),
  }),
  'kvx.audit.export/1': z.object({
    format: z.enum(['jsonl', 'markdown', 'pdf']),
    file: text.nullable().describe('null for a dry run'),
    entries: count.optional(),
    documents: count.optional(),
    sha256: hex64.optional(),
  }),
  'kvx.audit.adopt/1': z.object({
    file: text,
    adopted: z.boolean(),
    entries: count.optional(),
    kept: text.optional(),
    head: head.optional(),
  }),
} as const satisfies Record<string, z.ZodType>

export type DocumentName = keyof typeof documentData

export const documentNames = Object.keys(documentData) as readonly DocumentName[]

const errorCodes = Object.keys(errorCatalogue) as [ErrorCode, ...ErrorCode[]]

/** What a refusal says in `data`: facts that are listed one by one, safe to print. */
const details = z.record(text, z.union([text, z.number(), z.boolean(), z.array(text)]))

/** The whole document: the same members around every command's `data`. */
export function documentSchema(name: DocumentName) {
  const around = {
    schema: z.literal(name),
    run: text.optional().describe('the run that it is about'),
    at: time,
    warnings: z.array(problem),
  }
  return z.discriminatedUnion('ok', [
    z.strictObject({ ...around, ok: z.literal(true), exit: z.literal(0), data: documentData[name] }),
    z.strictObject({
      ...around,
      ok: z.literal(false),
      exit: z.int().positive(),
      data: z
        .union([documentData[name], details])
        .describe('what was done until then, or the facts of the refusal'),
      error: z.strictObject({ code: z.enum(errorCodes), message: text, hint: text.nullable() }),
    }),
  ])
}
