import { timingSafeEqual } from 'node:crypto'
import type { StoredRecord } from '../../stores/store.ts'
import type { Envelope } from './envelope.ts'
import { stateOf } from './instance.ts'
import { openInstance, versionKey } from './open-instance.ts'
import { isUnder, openRecord, type OpenedRecord } from './open-record.ts'
import type { SealTarget } from './seal-record.ts'
import { readBackFailed } from './read-back.ts'

/**
 * The proof of a rewritten record, made from what the store gave back: the target opens it to the very bytes
 * that it held, every value opens through the chain, and neither a version that it was under nor a random key
 * opens it any more.
 * @throws READ_BACK_FAILED
 */
export function proveRewritten(
  envelope: Envelope,
  written: StoredRecord,
  before: OpenedRecord,
  { book, target }: SealTarget,
): void {
  const after = openRecord(envelope, written, book)
  if (after.kind !== 'sealed') throw readBackFailed(envelope, 'does not open')
  try {
    if (!isUnder(after, target)) throw readBackFailed(envelope, `is not under version ${target}`)
    if (after.under.length !== before.under.length)
      throw readBackFailed(envelope, 'holds another number of values')
    const state = stateOf(envelope.set.id, written)
    after.under.forEach(({ secret, instance }, index) => {
      const original = before.under[index]
      if (original === undefined || !sameBytes(secret, original.secret))
        throw readBackFailed(envelope, 'holds another secret')
      const old = original.version === target || !book.fits(original.version, instance.form)
      for (const wrong of old ? (['control'] as const) : ([original.version, 'control'] as const)) {
        const opened = openInstance(instance, state, versionKey(book, wrong))
        opened?.fill(0)
        if (opened !== undefined) throw readBackFailed(envelope, 'opens with a wrong key too')
      }
    })
  } finally {
    after.wipe()
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}
