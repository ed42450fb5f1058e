import { z } from 'zod'

/** Shapes that stand in several documents of `--json`. */

export const text = z.string()
export const count = z.int().nonnegative()
export const version = z.int().positive()
export const time = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
  .describe('UTC')
export const hex64 = z.string().regex(/^[0-9a-f]{64}$/)
export const fingerprint = hex64.describe('of the key: 64 hex digits')
export const checkValue = z
  .string()
  .regex(/^[0-9A-F]{10}$/)
  .describe('the first ten digits of the fingerprint, for people')
export const wordedDigest = z
  .object({ sha256: hex64, words: z.string() })
  .describe('a SHA-256 in hex and as 32 words of the PGP word list')
export const generation = z.string().regex(/^\d+$/).describe('a number that can pass 2^53')
export const head = z
  .string()
  .regex(/^\d+:[0-9a-f]{64}$/)
  .describe('number and SHA-256 of the last entry of the log')
export const state = z.enum([
  'pre-activation',
  'active',
  'suspended',
  'deactivated',
  'compromised',
  'destroyed',
])
export const purpose = z.enum(['kek', 'data', 'vault'])
export const subject = z.string().describe('NAME@VERSION')
export const place = z.object({ place: text, changed: z.boolean() })
export const byVersion = z.record(text, count)

const given = { at: time, actor: text }

const versionRecord = z.object({
  version,
  state,
  fingerprint: fingerprint.nullable(),
  checkValue: checkValue.nullable(),
  bytes: z.int().positive().nullable(),
  origin: z.enum(['generated', 'import', 'restore']),
  created: time,
  rollout: z.object({ how: text, ...given }).nullable(),
  retired: z.object({ certificate: text, ...given }).nullable(),
  withoutBackup: z.object({ reason: text, ...given }).nullable(),
  history: z.array(z.object({ from: state, to: state, reason: text, ...given })),
})

export const key = z.object({
  name: text,
  purpose,
  seals: version.nullable().describe('the version that seals'),
  previous: version.nullable().describe('the version in the previous slot of published places'),
  staged: version.nullable(),
  versions: z.array(versionRecord),
})

export const stateChange = z.object({
  name: text,
  version,
  done: z.boolean().describe('false for a dry run'),
})

export const counts = z.object({
  envelope: text,
  records: count,
  nulls: count,
  plaintext: count,
  unreadable: count,
  mislabelled: count.optional().describe('records that name another version than the one that opens them'),
  byVersion: byVersion.describe(
    'records by the version that they need; one that needs several counts under each',
  ),
})

const moved = z.object({
  name: text,
  records: count,
  changed: count,
  unchanged: count,
  retried: count.describe('lost to a concurrent writer and read again'),
  quarantined: count,
})

export const dataRun = z.object({
  run: text,
  envelopes: z.array(moved),
  seconds: z.number().nonnegative(),
  restedSeconds: z
    .number()
    .nonnegative()
    .optional()
    .describe('how much of that it gave way, with `--rate auto`'),
  report: text.describe('path of the signed report'),
})

/** What a dry run prints, and a run that has nothing to do. */
export const plannedRun = z.object({
  run: z.null(),
  envelopes: z.array(counts),
  seconds: z.literal(0),
  report: z.null(),
  pending: count.describe('records that are not under the version that seals'),
})

export const run = z.object({
  id: text,
  kind: z.enum(['rotate', 'rewrap', 'reencrypt', 'new-deks', 'seal']),
  status: z.enum(['open', 'waiting', 'done', 'rolled-back', 'abandoned']),
  key: text,
  fromVersion: version.nullable(),
  toVersion: version,
  direction: z.enum(['forward', 'back']),
  planDigest: hex64,
  actor: text,
  created: time,
  updated: time,
})

const rotationVersion = z.object({ version, fingerprint: fingerprint.nullable(), state }).nullable()
export const rotation = z.object({
  name: text,
  reached: z.enum(['planned', 'staged', 'active', 'unstaged']),
  from: rotationVersion,
  to: rotationVersion,
  published: z.array(text),
  backup: z.object({ proven: z.boolean() }),
  envelopes: z.array(moved),
  report: text.nullable(),
})

export const recipient = z.object({ fingerprint: text, userId: text.optional(), expires: time.nullable() })
export const backup = z.object({
  id: text,
  name: text,
  version,
  file: text,
  recipients: z.array(recipient),
  tested: z.boolean().describe('a private key at hand opened it'),
  state: z.enum(['untested', 'tested', 'confirmed']),
  fingerprint,
  checkValue,
  created: time,
})
export const problem = z.object({ code: text, message: text })

const share = z.object({
  index: z.int().positive(),
  custodian: text,
  openpgp: text.nullable().optional(),
  expires: time.nullable().optional(),
  file: text.nullable(),
  confirmed: z.boolean().optional(),
  deliveredAt: time.nullable().optional().describe('when a program took the file, to hand it over'),
  confirmedAt: time.nullable().optional(),
  signedBy: text.nullable().optional().describe('fingerprint of the key that signed the last receipt'),
})
export const shareSet = z.object({
  set: text,
  name: text,
  version,
  threshold: z.int(),
  of: z.int(),
  fingerprint,
  checkValue,
  created: time,
  ceremony: z.object({ id: text, nonce: text }).nullable().describe('in which it was dealt'),
  shares: z.array(share),
  state: z.enum(['pending', 'active', 'superseded', 'closed', 'aborted']),
  accepted: z.object({ shares: z.array(z.int()), reason: text, at: time, by: text }).nullable(),
  supersedes: z.array(text).optional().describe('sets that it takes the place of once it is active'),
  manifest: text,
})
export const plannedSplit = z.object({
  set: z.null(),
  threshold: z.int(),
  of: z.int(),
  shares: z.array(share),
  state: z.null(),
  manifest: z.null(),
})

export const auditEntry = z.object({
  seq: z.int().positive(),
  at: time,
  actor: text,
  action: text,
  phase: z.enum(['intent', 'result', 'note']),
  run: text.optional(),
  subject: text.optional(),
  data: z.record(text, z.union([text, z.number(), z.boolean(), z.array(text)])),
  exit: z.int().optional(),
  prev: hex64,
  key: text,
  sig: text,
})

const restoredKey = {
  name: text,
  version,
  fingerprint,
  checkValue,
  path: text,
  proven: z.boolean(),
  changed: z.boolean(),
}
export const restored = z.union([
  z.object({ ...restoredKey, source: z.literal('gpg') }),
  z.object({
    ...restoredKey,
    name: text.nullable(),
    version: version.nullable(),
    source: z.literal('shares'),
    set: text,
    used: z.array(z.int()),
    suspects: z.array(z.int()),
  }),
  z.object({
    ...restoredKey,
    name: text.nullable(),
    version: version.nullable(),
    source: z.enum(['ssss', 'vault']),
    used: z.array(z.int()),
  }),
  z.object({
    source: z.literal('home'),
    home: text,
    config: text,
    auditFingerprint: hex64,
    missing: z.array(z.object({ subject, backup: text.optional() })),
    configWritten: z.boolean(),
    warnings: z.array(problem),
  }),
  z.object({ home: text, config: text }).describe('a dry run of --from home'),
])

const ledgerEntry = z.object({
  kind: z.enum(['run-backup', 'application-backup', 'published']),
  message: text,
  settle: text.optional().describe('the command that settles it'),
})
const erased = z.object({ fileSystem: text, inPlace: z.boolean() }).nullable()
export const destruction = z.union([
  z.object({ name: text, version, due: time, ledger: z.array(ledgerEntry) }).describe('scheduled'),
  z.object({ name: text, version, due: z.null() }).describe('cancelled'),
  z.object({ name: text, version, scheduled: z.literal(false) }).describe('a dry run'),
  z.object({
    destroyed: z.array(z.object({ subject, erased, backupsThatHoldIt: z.array(text) })),
    due: z.array(subject).optional(),
  }),
])

export const ciphertextRestore = z.object({
  restored: count,
  inserted: count,
  same: count,
  changedSince: count.describe('written by something else since the run'),
  unreadable: count.describe('of a dry run: their old bytes open with no key of this home'),
})

/** What `discover` found in one place; holds no part of a value. */
export const discovered = z.object({
  store: text,
  table: text,
  columns: z.array(text).describe('several where the parts of a value are spread over them'),
  records: z.string().regex(/^\d+$/).nullable().describe('a number that can pass 2^53'),
  looked: count,
  looks: text,
  opens: byVersion.describe('values that were looked at by the NAME@VERSION that opens them'),
  level: z
    .enum(['key', 'wrapped-key', 'below', 'unknown'])
    .describe(
      'sealed under the key, a key wrapped under it, sealed under a wrapped key, or opened by nothing',
    ),
  confidence: z.enum(['certain', 'likely', 'possible']),
  belongsTo: text.nullable().describe('the envelope, declared or proposed, that should name it'),
  declaration: text.nullable().describe('lines for kvx.yaml below `envelopes:`'),
  notes: z.array(text),
})

export const retirement = z.object({
  name: text,
  version,
  retired: z.boolean(),
  certificate: text.optional(),
  scans: z.array(z.array(counts)).optional(),
  published: z.array(place).optional(),
})

export const versionLimits = z.object({
  version,
  sealUntil: time.nullable().describe('when it stops sealing'),
  openUntil: time.nullable().describe('when it stops opening'),
  values: count.nullable().describe('found under it by the last full verify; null before one'),
  maxValues: count,
})
