import { z } from 'zod'
import { KvxError } from '../core/errors.ts'

/**
 * `keyring.json`: everything that is known of each key but its bytes. Written whole by the durable recipe,
 * under the home's lock.
 */

const state = z.enum(['pre-activation', 'active', 'suspended', 'deactivated', 'compromised', 'destroyed'])
const at = z.iso.datetime()

/** 64 hex digits. */
const fingerprint = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .nullable()

const rollout = z.strictObject({
  /** import: the application sealed with it before kvx came; first: nothing was sealed before it. */
  how: z.enum(['import', 'first', 'offline', 'declared', 'probed']),
  at,
  actor: z.string(),
})

const version = z.strictObject({
  state,
  /** Null while the number is only reserved. */
  fingerprint,
  /** Length of the material. */
  bytes: z.int().positive().nullable(),
  origin: z.enum(['generated', 'import', 'restore']),
  created: at,
  /** The run that made it, if one did. */
  run: z.string().nullable(),
  canary: z.string().nullable(),
  rollout: rollout.nullable(),
  /** The signed mark of `retire`: when, by whom, and the certificate's file under the home. */
  retired: z.strictObject({ at, actor: z.string(), certificate: z.string() }).nullable(),
  /**
   * A destruction that waits: its material goes when `due` is over and nothing needs it. `begun` is written before
   * the first byte of the key file is overwritten: from then on the file proves nothing and is not read.
   */
  destruction: z
    .strictObject({
      scheduled: at,
      due: at,
      actor: z.string(),
      begun: at.optional(),
      /** The digest of the plan file that was approved for it. */
      plan: z.string().optional(),
    })
    .nullable(),
  withoutBackup: z.strictObject({ reason: z.string(), at, actor: z.string() }).nullable(),
  history: z.array(z.strictObject({ at, from: state, to: state, actor: z.string(), reason: z.string() })),
})

const key = z.strictObject({
  purpose: z.enum(['kek', 'data', 'vault']),
  /** The number that the next new version gets. Numbers are never used twice. */
  next: z.int().positive(),
  /** The version that seals, a pointer of its own: activation and rollback move it. */
  seals: z.int().positive().nullable(),
  /** The version that published places hold in their previous slot. */
  previous: z.int().positive().nullable(),
  /** A version that readers get in the previous slot before it seals; null when none is staged. */
  staged: z.int().positive().nullable(),
  /**
   * What was handed over last to places that only a program knows, by the place's name: fingerprints, null for an
   * empty slot.
   */
  handed: z.record(z.string(), z.strictObject({ current: fingerprint, previous: fingerprint })).optional(),
  versions: z.record(z.string().regex(/^[1-9]\d*$/), version),
})

const keyring = z.strictObject({
  schema: z.literal('kvx.keyring/1'),
  /** Grows with every write. */
  generation: z.int().nonnegative(),
  keys: z.record(z.string(), key),
  /** Digests of the plan files whose work changed this file: each is carried out once. */
  plans: z.array(z.string().regex(/^[0-9a-f]{64}$/)).optional(),
})

export type Keyring = z.output<typeof keyring>
export type KeyRecord = z.output<typeof key>
export type VersionRecord = z.output<typeof version>
export type Rollout = z.output<typeof rollout>

export function emptyKeyring(): Keyring {
  return { schema: 'kvx.keyring/1', generation: 0, keys: {} }
}

export function encodeKeyring(ring: Keyring): Buffer {
  return Buffer.from(`${JSON.stringify(ring, null, 2)}\n`)
}

/** @throws KEYRING_DAMAGED naming the file and the member, never a value */
export function parseKeyring(path: string, bytes: Buffer): Keyring {
  let data: unknown
  try {
    data = JSON.parse(bytes.toString('utf8'))
  } catch {
    throw damaged(path, 'it is not JSON')
  }
  const parsed = keyring.safeParse(data)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw damaged(path, `${issue?.path.map(String).join('.') ?? ''} is not what kvx wrote`)
}

function damaged(path: string, what: string): KvxError {
  return new KvxError('KEYRING_DAMAGED', `${path} is damaged: ${what}`, {
    hint: `The keys lie in the folder keys/ beside it and were not touched. Put back the newest good copy of ${path}, or make it again: \`kvx doctor --rebuild-keyring\`.`,
  })
}
