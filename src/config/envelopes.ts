import { z } from 'zod'
import type { StoreConfig } from './stores.ts'
import { name } from './values.ts'

/** What `envelopes:` of `kvx.yaml` may say. */

const sealed = z.strictObject({
  column: z.string().min(1).optional(),
  layout: z.union([z.string().min(1), z.record(z.string(), z.string().min(1))]),
  aead: z.string(),
  aad: z.string().optional(),
})

export const envelopeSchema = z.strictObject({
  store: name,
  /** A directory store's pattern stands in for the table, and the file's path for the id. */
  table: z.string().min(1).optional(),
  id: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).optional(),
  key: name,
  dek: sealed.optional(),
  value: z.union([sealed, z.array(sealed).min(1)]),
  version: z.string().min(1).optional(),
  plaintext: z.boolean().default(false),
})

export const envelopeMembers: readonly string[] = Object.keys(envelopeSchema.shape)
export const sealedMembers: readonly string[] = Object.keys(sealed.shape)

export type WrittenEnvelope = z.output<typeof envelopeSchema>
export type SealedConfig = z.output<typeof sealed>

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
  if (store.driver === 'directory') return inDirectory(envelope, store)
  const { table, id } = envelope
  if (table !== undefined && id !== undefined) return { ...envelope, table, id }
  return table === undefined ? 'table' : 'id'
}

function inDirectory(
  envelope: WrittenEnvelope,
  store: StoreConfig & { driver: 'directory' },
): EnvelopeConfig {
  const { match, format } = store
  const named = (part: SealedConfig): SealedConfig =>
    format === 'file' && typeof part.layout === 'string' ? { column: 'content', ...part } : part
  const { dek, value } = envelope
  return {
    ...envelope,
    table: envelope.table ?? match,
    id: envelope.id ?? (format === 'jsonl' ? ['path', 'line'] : 'path'),
    ...(dek && { dek: named(dek) }),
    value: Array.isArray(value) ? value.map(named) : named(value),
  }
}
