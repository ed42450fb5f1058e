import { z } from 'zod'
import { parseDuration } from '../core/duration.ts'
import { envelopeSchema } from './envelopes.ts'
import { auditSchema, policySchema } from './policy.ts'
import { type Place, publisherSchema } from './publishers.ts'
import { storeSchema } from './stores.ts'
import { duration, name, program, sshPublicKey, variable } from './values.ts'

/** What `kvx.yaml` may say. Unknown members are errors everywhere. */

const fingerprint = z
  .string()
  .regex(/^[0-9A-Fa-f]{40}$/, 'an OpenPGP fingerprint has 40 hex digits, without spaces')

const custodian = z
  .strictObject({
    name: z.string().regex(/^[^\p{Cc}=]{1,100}$/u, 'a name is one line without ='),
    openpgp: fingerprint.optional(),
    /** Another key that signs the custodian's receipts. */
    ssh: sshPublicKey.optional(),
    /** Takes the encrypted share on its standard input, to hand it over. */
    deliver: z.strictObject({ command: program, env: z.array(variable).default([]) }).optional(),
  })
  .refine(
    ({ deliver, openpgp }) => deliver === undefined || openpgp !== undefined,
    'a program gets a share only encrypted: name the custodian\u2019s openpgp',
  )

/** Who gets a share of the key, and how many of them rebuild it. */
const shares = z
  .strictObject({
    threshold: z.int().min(2).max(32),
    of: z.int().min(2).max(32),
    custodians: z.array(custodian),
  })
  .refine(({ threshold, of }) => threshold <= of, 'the threshold is at most the number of shares')
  .refine(({ of, custodians }) => custodians.length === of, 'each share needs one custodian')

const backup = z
  .strictObject({ recipients: z.array(fingerprint).default([]), shares: shares.optional() })
  .refine(({ recipients, shares }) => recipients.length > 0 || shares !== undefined, 'nobody is named')

const key = z.strictObject({
  purpose: z.enum(['kek', 'data', 'vault']),
  /** What the application makes its cipher's key of: an expression of `key`, the configured bytes. */
  derive: z.string().min(1).optional(),
  /** What new versions are made of: 32 random bytes unless told, or printable characters. */
  make: z
    .union([
      z.strictObject({ bytes: z.int().min(16).max(1024) }),
      z.strictObject({ characters: z.int().min(22).max(1024) }),
    ])
    .optional(),
  /** How long a version may seal, how long it may open, and how many values it may seal. */
  cryptoperiod: z
    .strictObject({
      seal: duration.optional(),
      open: duration.optional(),
      values: z.int().positive().optional(),
    })
    .refine(({ seal, open }) => !isLonger(seal, open), 'a version would seal what it may not open any more')
    .optional(),
  publish: z.array(publisherSchema).default([]),
  backup: backup.optional(),
})

function isLonger(one: string | undefined, other: string | undefined): boolean {
  if (one === undefined || other === undefined) return false
  return (parseDuration(one) ?? 0) > (parseDuration(other) ?? 0)
}

const vault = z.strictObject({
  /** The directory of `NAME.enc`. */
  directory: z.string().min(1),
  /** A key of purpose `vault`. */
  key: name,
})

/** A section with nothing in it yet, as `kvx init` writes it, is an empty one. */
function section<T extends z.ZodType>(member: T, named = name) {
  return z.preprocess((value) => value ?? {}, z.record(named, member))
}

/** A name that dashboards and alerts of the site already have, and what `kvx metrics` puts under it. */
const metricName = z
  .string()
  .regex(/^[a-z_][a-z0-9_]*$/, 'not a name of a metric: letters, digits, underscores')
const metric = z.union([z.strictObject({ configured: name }), z.strictObject({ failures: name })])

export const configSchema = z.strictObject({
  kvx: z.literal(1),
  home: z.string().min(1).optional(),
  /** A file, best on another machine's disk, that gets a copy of the keyring after each change. */
  'home-backup': z.string().min(1).optional(),
  /** The keys of this configuration protect nothing: shares of them are marked, and refused everywhere. */
  rehearsal: z.literal(true).optional(),
  keys: section(key),
  vaults: section(vault),
  stores: section(storeSchema),
  envelopes: section(envelopeSchema),
  metrics: section(metric, metricName),
  /** What must be approved by others, and what `kvx status --due` asks for. */
  policy: policySchema,
  audit: auditSchema,
})

export type ConfigFile = z.output<typeof configSchema>
/** A key as the rest of kvx sees it: its places in one form, with absolute paths. */
export type KeyConfig = Omit<ConfigFile['keys'][string], 'publish'> & { readonly publish: readonly Place[] }
export type VaultConfig = z.output<typeof vault>
export type MetricConfig = z.output<typeof metric>
