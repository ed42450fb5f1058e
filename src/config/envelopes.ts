import { z } from 'zod'
import type { StoreConfig } from './stores.ts'
import { name } from './values.ts'

/** What `envelopes:` of `kvx.yaml` may say. `docs/layouts.md` is the reference of the expressions in it. */

const expression = z.string().min(1)

/** How the bytes of a sealed value lie and with what they are sealed. */
const form = {
  layout: z.union([expression, z.record(z.string(), expression)]),
  /** An AEAD, a cipher with a MAC, or a key wrap. */
  aead: z.string().optional(),
  aad: expression.optional(),
  /** What makes the cipher's key of the key that is configured, or of the DEK. */
  derive: expression.optional(),
  /** What makes the nonce, where it is not stored. */
  nonce: expression.optional(),
  mac: expression.optional(),
  'mac-key': expression.optional(),
  'cipher-key': expression.optional(),
  'initial-value': z
    .string()
    .regex(/^(0x)?([0-9a-fA-F]{2})+$/, 'an initial value is hex digits')
    .optional(),
}

/** A name for each version, as an application writes them: `{ 1: "2024", 2: "2026" }`. */
const names = z.record(z.string().regex(/^[1-9]\d{0,8}$/, 'a version is a number'), z.string().min(1))

const keyid = z.union([expression, names])

const sealed = z.strictObject({
  column: z.string().min(1).optional(),
  ...form,
  /** A cipher without authentication, which kvx opens to convert from and never writes. */
  legacy: z.string().optional(),
  'plaintext-test': expression.optional(),
  /** The places in a document of JSON that hold such a value each: `*`, `items.*.secret`. */
  each: z.string().min(1).optional(),
  /** What the part `keyid` says of a version. */
  keyid: keyid.optional(),
  /** What values become in the same sweep. */
  to: z.strictObject(form).optional(),
})

/** A wrapped key. Without a layout its parts are the `dek.` ones of the value's. */
const wrapped = sealed.extend({
  layout: form.layout.optional(),
  /** How the key lies inside its wrap: `raw`, `base64`, `base64url`, `hex`, or a layout whose `ct` it is. */
  encoding: expression.default('raw'),
  /** Columns whose values tell which records have the same DEK, each with a wrap of it. */
  'group-by': z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).optional(),
  /** A table of its own, whose `id` columns the values name in their columns `on`. */
  table: z.string().min(1).optional(),
  id: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).optional(),
  on: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).optional(),
})

/** The column that says which version a record needs: a number, a text around it, names, or what a key makes. */
const version = z.union([
  z.string().min(1),
  z.strictObject({
    column: z.string().min(1),
    layout: expression.optional(),
    names: names.optional(),
    keyid: expression.optional(),
  }),
])

export const envelopeSchema = z.strictObject({
  store: name,
  /** The pattern of a directory or bucket stands in for the table, and the file's path for the id. */
  table: z.string().min(1).optional(),
  id: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).optional(),
  key: name,
  /** Three levels: the configured key wraps a KEK, which wraps the DEK. */
  kek: wrapped.omit({ table: true, id: true, on: true, 'group-by': true }).optional(),
  dek: wrapped.optional(),
  /** Left out, the wrapped DEK alone is known: what it opens lies elsewhere. */
  value: z.union([sealed, z.array(sealed).min(1)]).optional(),
  version: version.optional(),
  /** Columns that change together with a record, each from an expression. */
  set: z.record(z.string().min(1), expression).default({}),
  plaintext: z.boolean().default(false),
})

export const envelopeMembers: readonly string[] = Object.keys(envelopeSchema.shape)
export const formMembers: readonly string[] = Object.keys(form)
export const sealedMembers: readonly string[] = Object.keys(sealed.shape)
export const wrappedMembers: readonly string[] = Object.keys(wrapped.shape)

export type WrittenEnvelope = z.output<typeof envelopeSchema>
export type FormConfig = z.output<ReturnType<typeof z.strictObject<typeof form>>>
export type SealedConfig = z.output<typeof sealed>
export type WrappedConfig = z.output<typeof wrapped>
export type VersionConfig = z.output<typeof version>

/** An envelope with what its store implies. */
export type EnvelopeConfig = WrittenEnvelope & { readonly table: string; readonly id: string | string[] }

/**
 * Table, id and column of an envelope in a directory store follow from the store where they are left out.
 * @returns the name of the member that is missing, in a store of tables
 */
export function completeEnvelope(
  envelope: WrittenEnvelope,
  store: StoreConfig,
): EnvelopeConfig | 'table' | 'id' {
  if (store.driver === 'directory' || store.driver === 's3') return inFiles(envelope, store)
  const { table, id } = envelope
  if (table !== undefined && id !== undefined) return { ...envelope, table, id }
  return table === undefined ? 'table' : 'id'
}

const defaultIds = { file: 'path', json: 'path', jsonl: ['path', 'line'], records: ['path', 'index'] }

function inFiles(
  envelope: WrittenEnvelope,
  store: StoreConfig & { driver: 'directory' | 's3' },
): EnvelopeConfig {
  const { match, format } = store
  const whole = format !== 'json' && format !== 'jsonl'
  const named = <T extends { readonly layout?: unknown; readonly column?: string | undefined }>(
    part: T,
  ): T =>
    whole && (typeof part.layout === 'string' || part.layout === undefined)
      ? { ...part, column: part.column ?? 'content' }
      : part
  const { dek, kek, value } = envelope
  return {
    ...envelope,
    table: envelope.table ?? match,
    id: envelope.id ?? defaultIds[format],
    ...(dek && { dek: named(dek) }),
    ...(kek && { kek: named(kek) }),
    ...(value && { value: Array.isArray(value) ? value.map(named) : named(value) }),
  }
}
