import { timingSafeEqual } from 'node:crypto'
import type { Cells, StoredRecord } from '../../stores/store.ts'
import { belowWrap, boundColumns, columnsOf, type Envelope, type Sealed } from './envelope.ts'
import { openMany, type PlaceOfRecord } from './open-many.ts'
import { isUnder, openRecord, type OpenedRecord, type UnderKey } from './open-record.ts'
import type { SealTarget } from './seal-record.ts'
import { readBackFailed } from './read-back.ts'

/** What a record held directly under the key. It is kept until the write is proven, and nothing else of the opening. */
export type Held = readonly Pick<UnderKey, 'version' | 'secret'>[]

export function heldBy({ under }: OpenedRecord): Held {
  return under.map(({ version, secret }) => ({ version, secret }))
}

/** A record that was rewritten: as it was, what was to be written, and as the store gave it back. */
export type Rewritten = {
  readonly record: StoredRecord
  readonly before: Held
  readonly change: Cells
  readonly written: StoredRecord
}

/**
 * The proof of rewritten records, made from what the store gave back: the target opens each to the very bytes
 * that it held, every value opens through the chain, and neither a version that it was under nor a random key
 * opens it any more.
 *
 * What the target opens is opened one by one by the cipher of node:crypto, whatever sealed it.
 * @throws READ_BACK_FAILED
 */
export function proveRewritten(
  envelope: Envelope,
  rewritten: readonly Rewritten[],
  { book, target }: SealTarget,
): void {
  // What must open nothing, by the key that is tried.
  const wrong = new Map<number | 'control', PlaceOfRecord[]>([['control', []]])
  for (const { record, before, change, written } of rewritten) {
    const isKept = leavesLowerLevels(envelope, record, { change, written })
    const isProven = (secret: Uint8Array): boolean => isKept && sameBytes(secret, before[0]?.secret)
    const after = openRecord(envelope, written, book, { expected: { version: target, isProven } })
    if (after.kind !== 'sealed') throw readBackFailed(envelope, 'does not open')
    try {
      if (!isUnder(after, target)) throw readBackFailed(envelope, `is not under version ${target}`)
      if (after.under.length !== before.length)
        throw readBackFailed(envelope, 'holds another number of values')
      const { state } = after
      after.under.forEach(({ secret, instance }, index) => {
        const original = before[index]
        if (original === undefined || !sameBytes(secret, original.secret))
          throw readBackFailed(envelope, 'holds another secret')
        wrong.get('control')?.push({ instance, state })
        const { version } = original
        if (version === target || !book.fits(version, instance.form)) return
        const places = wrong.get(version) ?? []
        places.push({ instance, state })
        wrong.set(version, places)
      })
    } finally {
      after.wipe()
    }
  }
  for (const [version, places] of wrong) {
    const opened = openMany(places, book, version).filter((plaintext) => plaintext !== undefined)
    for (const plaintext of opened) plaintext.fill(0)
    if (opened.length > 0) throw readBackFailed(envelope, 'opens with a wrong key too')
  }
}

/**
 * Whether everything below the outermost wrap is, byte by byte, what opened before the write, and hangs on nothing
 * that was written: the same DEK then opens it again.
 */
function leavesLowerLevels(
  envelope: Envelope,
  record: StoredRecord,
  { change, written }: Pick<Rewritten, 'change' | 'written'>,
): boolean {
  if (envelope.wraps.length === 0) return false
  const lower = belowWrap(envelope)
  if (lower.some(({ forms }) => forms.length > 1)) return false
  return lowerColumns(envelope, lower).every((column) => {
    const id = envelope.set.id.indexOf(column)
    return id !== -1
      ? sameCell(record.id[id], written.id[id])
      : !Object.hasOwn(change, column) && sameCell(record.cells[column], written.cells[column])
  })
}

const lowerColumnsOf = new WeakMap<Envelope, readonly string[]>()

/** Every column that the lower levels lie in or are bound to. */
function lowerColumns(envelope: Envelope, lower: readonly Sealed[]): readonly string[] {
  const known = lowerColumnsOf.get(envelope)
  if (known !== undefined) return known
  const columns = lower.flatMap((sealed) => [
    ...columnsOf(sealed),
    ...sealed.forms.flatMap((form) => [...boundColumns(form)]),
  ])
  lowerColumnsOf.set(envelope, columns)
  return columns
}

function sameCell(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0
  return a === b
}

function sameBytes(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return a.length === b?.length && timingSafeEqual(a, b)
}
