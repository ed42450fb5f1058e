import { createHash, timingSafeEqual, type Hash } from 'node:crypto'
import type { Secret } from '../../core/secret.ts'
import { randomSecret } from '../../platform/random.ts'
import type { Cells, StoredRecord } from '../../stores/store.ts'
import type { Envelope, Sealed } from './envelope.ts'
import { parseSealed, stateOf, type Instance, type RecordState } from './instance.ts'
import type { KeyBook } from './key-book.ts'
import { openInstance, versionKey, withDek } from './open-instance.ts'
import { chainKey, dekOf, isUnder, openFirst, openRecord, type OpenedRecord } from './open-record.ts'
import { RecordDraft, labelsAt, type SealTarget } from './seal-record.ts'
import { addPlaintext, readBackFailed } from './read-back.ts'

/** A record whose values lie under a new DEK, as it is to be written. */
export type Renewed = {
  readonly change: Cells
  /** The columns of the change that hold the wrapped DEK. */
  readonly wrapped: Cells
  readonly dek: Secret
  /** The DEK that it replaces: it must open nothing any more. */
  readonly old: Secret
  /** SHA-256 over the values. */
  readonly values: Buffer
}

/** A wrapped DEK and the one that takes its place. Wipe both. */
export type NewDek = { readonly old: Secret; readonly dek: Secret }

/** `shared`: the new DEK of the record's group, where it has one. */
export type NewDekTarget = SealTarget & { readonly shared?: Secret }

/**
 * Seals a record's values under a new DEK of the same length, and that under the target. Wipe both DEKs.
 */
export function renewDek(
  envelope: Envelope,
  record: StoredRecord,
  opened: OpenedRecord,
  to: NewDekTarget,
): Renewed {
  const draft = new RecordDraft(envelope, stateOf(envelope.set.id, record))
  const deks = newDekIn(envelope, draft, opened, to)
  const wrapped = { ...draft.changes }
  const values = createHash('sha256')
  for (const sealed of envelope.values) sealValues(envelope, draft, sealed, { ...deks, values })
  draft.sets(to)
  return { change: draft.changes, wrapped, ...deks, values: values.digest() }
}

/** Puts a new DEK into a record's wrap, under the target. */
function newDekIn(envelope: Envelope, draft: RecordDraft, opened: OpenedRecord, to: NewDekTarget): NewDek {
  const [found] = opened.under
  const old = dekOf(envelope, opened, draft.before)
  if (found === undefined || typeof old === 'string') throw new TypeError('the record opened a moment ago')
  const dek = to.shared ?? randomSecret(old.length)
  draft.label(to)
  sealWraps(envelope, draft, { found: found.instance, secret: found.secret, dek, to })
  return { old, dek }
}

/** The values of one record of a group, under the group's new DEK. */
export function underNewDek(
  envelope: Envelope,
  record: StoredRecord,
  deks: NewDek,
): { readonly change: Cells; readonly values: Buffer } {
  const draft = new RecordDraft(envelope, stateOf(envelope.set.id, record))
  const values = createHash('sha256')
  for (const sealed of envelope.values) sealValues(envelope, draft, sealed, { ...deks, values })
  return { change: draft.changes, values: values.digest() }
}

type Wrapping = {
  readonly found: Instance
  readonly secret: Uint8Array
  readonly dek: Secret
  readonly to: SealTarget
}

/** The innermost wrap holds the new DEK; a KEK above it stays what it is, under the target. */
function sealWraps(envelope: Envelope, draft: RecordDraft, { found, secret, dek, to }: Wrapping): void {
  const by = versionKey(to.book, to.target)
  const says = labelsAt(found, to)
  const [outer, inner] = envelope.wraps
  if (outer === undefined) throw new TypeError('the record has a wrapped DEK')
  if (inner === undefined) {
    const plaintext = heldAnew(outer, secret, dek)
    draft.seal(found, plaintext, by, says)
    plaintext.fill(0)
    return
  }
  draft.seal(found, secret, by, says)
  const kek = chainKey({ wraps: [outer] }, secret, draft.before)
  if (typeof kek === 'string') throw new TypeError('the record opened a moment ago')
  withDek(kek, (with_) => {
    const [place = 'null'] = parseSealed(inner, draft.before, { plaintext: false })
    const old = typeof place === 'string' ? undefined : openFirst(place, draft.before, with_)
    if (old === undefined) throw new TypeError('the record opened a moment ago')
    const plaintext = heldAnew(inner, old.plaintext, dek)
    draft.seal(old.instance, plaintext, with_)
    for (const bytes of [old.plaintext, plaintext]) bytes.fill(0)
  })
  kek.wipe()
}

/** What a wrap holds, with another key in its place. */
function heldAnew({ holds }: Sealed, plaintext: Uint8Array, dek: Secret): Uint8Array {
  return dek.lend((bytes) =>
    holds === undefined
      ? new Uint8Array(bytes)
      : holds.render(new Map(holds.parse(plaintext)).set('ct', new Uint8Array(bytes))),
  )
}

function sealValues(
  envelope: Envelope,
  draft: RecordDraft,
  sealed: Sealed,
  { old, dek, values }: { readonly old: Secret; readonly dek: Secret; readonly values: Hash },
): void {
  for (const found of parseSealed(sealed, draft.before, envelope)) {
    if (typeof found === 'string') continue
    const opened = withDek(old, (by) => openFirst(found, draft.before, by, old))
    if (opened === undefined) throw new TypeError('the value opened a moment ago')
    addPlaintext(values, opened.plaintext)
    withDek(dek, (by) => draft.seal(opened.instance, opened.plaintext, by))
    opened.plaintext.fill(0)
  }
}

/**
 * The proof of a record with a new DEK: it lies under the target, the new DEK opens every value to what it held,
 * and neither the old DEK nor a random key opens one.
 * @throws READ_BACK_FAILED
 */
export function proveRenewed(
  envelope: Envelope,
  written: StoredRecord,
  renewed: Renewed,
  { book, target }: SealTarget,
): void {
  const after = openRecord(envelope, written, book, { isFresh: (dek) => dek.equals(renewed.dek) })
  if (after.kind !== 'sealed') throw readBackFailed(envelope, 'does not open')
  try {
    if (!isUnder(after, target)) throw readBackFailed(envelope, 'is not under its new DEK')
    proveValues(envelope, written, renewed, book)
  } finally {
    after.wipe()
  }
}

/**
 * The same for values whose wrapped DEK lies elsewhere.
 * @throws READ_BACK_FAILED
 */
export function proveValues(
  envelope: Envelope,
  written: StoredRecord,
  renewed: NewDek & Pick<Renewed, 'values'>,
  book: KeyBook,
): void {
  const state = stateOf(envelope.set.id, written)
  const values = createHash('sha256')
  for (const sealed of envelope.values) {
    for (const found of parseSealed(sealed, state, envelope)) {
      if (typeof found !== 'string') proveValue(envelope, found, state, { renewed, book, values })
    }
  }
  if (!timingSafeEqual(values.digest(), renewed.values)) throw readBackFailed(envelope, 'holds another value')
}

function proveValue(
  envelope: Envelope,
  found: readonly Instance[],
  state: RecordState,
  { renewed, book, values }: { readonly renewed: NewDek; readonly book: KeyBook; readonly values: Hash },
): void {
  const opened = withDek(renewed.dek, (by) => openFirst(found, state, by, renewed.dek))
  if (opened === undefined) throw readBackFailed(envelope, 'does not open with its new DEK')
  addPlaintext(values, opened.plaintext)
  opened.plaintext.fill(0)
  const { instance } = opened
  const wrong = [
    withDek(renewed.old, (by) => openInstance(instance, state, by)),
    openInstance(instance, state, versionKey(book, 'control')),
  ]
  for (const plaintext of wrong) plaintext?.fill(0)
  if (wrong.some((plaintext) => plaintext !== undefined))
    throw readBackFailed(envelope, 'opens with a wrong key too')
}
