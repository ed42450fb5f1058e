import { isKvxError } from '../../core/errors.ts'
import type { CipherKey, OneOfMany } from '../../core/cipher/cipher.ts'
import type { Form } from './envelope.ts'
import { aadOf, inputsFor, type Instance, type RecordState } from './instance.ts'
import { readsRecord, type KeyBook } from './key-book.ts'
import { openInstance, versionKey } from './open-instance.ts'

/** One sealed thing with the record that it lies in. */
export type PlaceOfRecord = { readonly instance: Instance; readonly state: RecordState }

/** Whether one key opens every value of this form, and nothing but the cipher says whether it did. */
export function sharesKey({ cipher, derive, nonce, test }: Form): boolean {
  return (
    cipher.many !== undefined &&
    nonce === undefined &&
    test === undefined &&
    (derive === undefined || !readsRecord(derive))
  )
}

/**
 * What each place holds under a version, or under the random key that must open nothing: as `openInstance` of one
 * after the other, for less. The caller wipes what opened.
 */
export function openMany(
  places: readonly PlaceOfRecord[],
  book: KeyBook,
  version: number | 'control',
): readonly (Uint8Array | undefined)[] {
  const by = versionKey(book, version)
  const opened: (Uint8Array | undefined)[] = places.map(() => undefined)
  const together = new Map<Form, { key: CipherKey; at: number[]; values: OneOfMany[] }>()
  for (const [at, place] of places.entries()) {
    const { form } = place.instance
    const value = sharesKey(form) ? valueOf(place) : undefined
    if (value === undefined) {
      opened[at] = openInstance(place.instance, place.state, by)
      continue
    }
    let group = together.get(form)
    if (group === undefined) {
      const key = by.key(form, inputsFor(form, place.instance, place.state))
      together.set(form, (group = { key, at: [], values: [] }))
    }
    group.at.push(at)
    group.values.push(value)
  }
  for (const [{ cipher }, { key, at, values }] of together) {
    const plaintexts = cipher.many?.open(key, values) ?? []
    plaintexts.forEach((plaintext, index) => (opened[at[index] ?? -1] = plaintext))
  }
  return opened
}

/** Undefined for a value that is opened by itself, as one that no key opens since its AAD cannot be made. */
function valueOf({ instance, state }: PlaceOfRecord): OneOfMany | undefined {
  try {
    const { form, parts } = instance
    return form.cipher.many?.take(parts, aadOf(form, inputsFor(form, instance, state)))
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_MISMATCH')) return undefined
    throw error
  }
}
