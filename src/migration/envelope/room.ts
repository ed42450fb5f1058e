import { isKvxError, KvxError } from '../../core/errors.ts'
import type { Cells, StoredRecord } from '../../stores/store.ts'
import { displayId } from '../cells.ts'
import type { OpenEnvelope } from '../envelope-workload.ts'
import { plaintextValues, sealFirst } from './seal-first.ts'

const pageSize = 500

/**
 * Whether the columns take what a first sealing would write: sealed values are longer than their plaintext, and not
 * every column takes bytes. A layout grows with its value, so the longest plaintext of each column tells for all.
 * @throws STORE_SHAPE naming the column and the record; nothing was written
 */
export async function requireRoom({ envelope, store, book }: OpenEnvelope, target: number): Promise<void> {
  if (store.unfit === undefined) return
  const longest = new Map<string, { readonly record: StoredRecord; readonly length: number }>()
  for await (const page of store.scan(envelope.set, pageSize)) {
    for (const record of page) {
      for (const { column, bytes } of plaintextValues(envelope, record)) {
        const { length } = bytes
        if (length > (longest.get(column)?.length ?? -1)) longest.set(column, { record, length })
      }
    }
  }
  for (const { record } of longest.values()) {
    const unfit = await store.unfit(envelope.set, changeOf(record))
    if (unfit === undefined) continue
    throw new KvxError(
      'STORE_SHAPE',
      `${envelope.name}: column ${JSON.stringify(unfit.column)} cannot hold the sealed value of record ${displayId(record.id)}: ${unfit.why}; nothing was changed`,
      {
        hint: 'Give the column a type that holds it, such as text without a length for a layout of text or bytes for a raw one; or declare another layout.',
      },
    )
  }

  function changeOf(record: StoredRecord): Cells {
    try {
      const first = sealFirst(envelope, record, { book, target })
      first?.dek?.wipe()
      return first?.change ?? {}
    } catch (error) {
      // Its DEK does not open: the run sets it aside and does not write it.
      if (isKvxError(error, 'UNREADABLE_RECORDS')) return {}
      throw error
    }
  }
}
