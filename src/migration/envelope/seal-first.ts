import { createHash, timingSafeEqual, type Hash } from 'node:crypto'
import { KvxError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import { randomSecret } from '../../platform/random.ts'
import type { Cell, Cells, StoredRecord } from '../../stores/store.ts'
import type { Envelope, Sealed } from './envelope.ts'
import { parseSealed, stateOf, type Instance, type RecordState } from './instance.ts'
import { openInstance, versionKey, withDek, type KeyFor } from './open-instance.ts'
import { dekOf, openFirst, openRecord } from './open-record.ts'
import { labelsAt, RecordDraft, type SealTarget } from './seal-record.ts'
import { addPlaintext, readBackFailed } from './read-back.ts'

/** A record whose plaintext values are sealed, as it is to be written. */
export type FirstSealed = {
  readonly change: Cells
  /** The values that were plaintext, as they lay there. */
  readonly plain: Cells
  /** A DEK that was made for the record; undefined where it had one, or needs none. */
  readonly dek: Secret | undefined
  /** SHA-256 over the plaintexts. */
  readonly digest: Buffer
}

const dekLengths = [32, 16, 24, 48, 64, 96]

/** As many bytes as every value's cipher takes. */
function dekLength({ values }: Envelope): number {
  const forms = values.map(({ forms: [form] }) => form)
  const fits = (length: number): boolean =>
    forms.every(({ cipher, derive }) => derive !== undefined || cipher.acceptsKeyLength(length))
  return dekLengths.find(fits) ?? 32
}

/** The declared values of a record that are not sealed, with their bytes. */
export function plaintextValues(
  envelope: Envelope,
  record: StoredRecord,
): readonly { readonly sealed: Sealed; readonly column: string; readonly bytes: Uint8Array }[] {
  const state = stateOf(envelope.set.id, record)
  return envelope.values.flatMap((sealed) => {
    const [column] = sealed.forms[0].columns
    const [found, ...more] = parseSealed(sealed, state, { plaintext: true })
    if (found !== 'plaintext' || more.length > 0 || column === undefined) return []
    const bytes = bytesIn(state[column.column] ?? null)
    return bytes === undefined ? [] : [{ sealed, column: column.column, bytes }]
  })
}

function bytesIn(cell: Cell): Uint8Array | undefined {
  if (typeof cell === 'string') return Buffer.from(cell, 'utf8')
  if (typeof cell === 'bigint') return Buffer.from(String(cell))
  return cell instanceof Uint8Array ? cell : undefined
}

/**
 * Seals what is plaintext in a record: under the target, or under the record's DEK, which is made where it has none.
 * @returns undefined for a record that has nothing to seal
 * @throws UNREADABLE_RECORDS when the DEK that the record has does not open
 */
export function sealFirst(envelope: Envelope, record: StoredRecord, to: SealTarget): FirstSealed | undefined {
  const plain = plaintextValues(envelope, record)
  if (plain.length === 0) return undefined
  const draft = new RecordDraft(envelope, stateOf(envelope.set.id, record))
  const digest = createHash('sha256')
  for (const { bytes } of plain) addPlaintext(digest, bytes)
  const sealAll = (by: KeyFor, under: boolean): void => {
    for (const { sealed, bytes } of plain) {
      const blank = blankInstance(sealed)
      draft.seal(blank, bytes, by, under ? labelsAt(blank, to) : {})
    }
  }
  // The label is that of what lies under the key: a DEK that stays keeps its own.
  if (envelope.wraps.length === 0) draft.label(to)
  const dek = envelope.wraps.length === 0 ? undefined : dekFor(envelope, draft, record, to)
  if (dek === undefined) sealAll(versionKey(to.book, to.target), true)
  else withDek(dek.key, (by) => sealAll(by, false))
  draft.sets(to)
  if (dek?.isNew === false) dek.key.wipe()
  return {
    change: draft.changes,
    plain: Object.fromEntries(plain.map(({ column }) => [column, record.cells[column] ?? null])),
    dek: dek?.isNew === true ? dek.key : undefined,
    digest: digest.digest(),
  }
}

/** A place that holds nothing of its form yet. */
function blankInstance(sealed: Sealed): Instance {
  const [form] = sealed.forms
  return { sealed, form: { ...form }, path: undefined, columns: [], parts: new Map() }
}

/** The record's own DEK, or a new one, wrapped in the draft. */
function dekFor(
  envelope: Envelope,
  draft: RecordDraft,
  record: StoredRecord,
  to: SealTarget,
): { readonly key: Secret; readonly isNew: boolean } {
  const [outer] = envelope.wraps
  if (outer === undefined) throw new TypeError('the envelope has a wrapped DEK')
  const opened = openRecord({ ...envelope, values: [] }, record, to.book)
  if (opened.kind === 'sealed') {
    const key = dekOf(envelope, opened, draft.before)
    opened.wipe()
    if (typeof key !== 'string') return { key, isNew: false }
  }
  if (opened.kind === 'unreadable' || opened.kind === 'sealed')
    throw new KvxError('UNREADABLE_RECORDS', `${envelope.name}: the DEK of a record does not open`, {
      hint: '`kvx verify` names it. Nothing of its batch was changed.',
    })
  draft.label(to)
  const key = randomSecret(dekLength(envelope))
  const blank = blankInstance(outer)
  const held = heldBy(outer, key)
  draft.seal(blank, held, versionKey(to.book, to.target), labelsAt(blank, to))
  held.fill(0)
  return { key, isNew: true }
}

function heldBy({ holds }: Sealed, key: Secret): Uint8Array {
  return key.lend((bytes) =>
    holds === undefined ? new Uint8Array(bytes) : holds.render(new Map([['ct', new Uint8Array(bytes)]])),
  )
}

/**
 * The proof of a first sealing: everything declared is sealed, the target opens it to the very bytes that lay there,
 * and a random key opens nothing.
 * @throws READ_BACK_FAILED
 */
export function proveFirst(
  envelope: Envelope,
  written: StoredRecord,
  first: FirstSealed,
  { book, target }: SealTarget,
): void {
  if (plaintextValues(envelope, written).length > 0) throw readBackFailed(envelope, 'still holds plaintext')
  const after = openRecord(envelope, written, book)
  if (after.kind !== 'sealed') throw readBackFailed(envelope, 'does not open')
  try {
    const state = stateOf(envelope.set.id, written)
    const key = envelope.wraps.length === 0 ? undefined : dekOf(envelope, after, state)
    if (typeof key === 'string') throw readBackFailed(envelope, 'does not open')
    const digest = createHash('sha256')
    for (const sealed of envelope.values) {
      const [column] = sealed.forms[0].columns
      if (column === undefined || !Object.hasOwn(first.plain, column.column)) continue
      const [found = 'null'] = parseSealed(sealed, state, envelope)
      if (typeof found === 'string') throw readBackFailed(envelope, 'is not sealed')
      addOpened(digest, envelope, found, { state, key, to: { book, target } })
    }
    key?.wipe()
    if (!timingSafeEqual(digest.digest(), first.digest)) throw readBackFailed(envelope, 'holds another value')
  } finally {
    after.wipe()
  }
}

function addOpened(
  digest: Hash,
  envelope: Envelope,
  found: readonly Instance[],
  {
    state,
    key,
    to,
  }: { readonly state: RecordState; readonly key: Secret | undefined; readonly to: SealTarget },
): void {
  const opened =
    key === undefined
      ? openFirst(found, state, versionKey(to.book, to.target))
      : withDek(key, (by) => openFirst(found, state, by, key))
  if (opened === undefined) throw readBackFailed(envelope, 'does not open')
  addPlaintext(digest, opened.plaintext)
  opened.plaintext.fill(0)
  const wrong = openInstance(opened.instance, state, versionKey(to.book, 'control'))
  wrong?.fill(0)
  if (wrong !== undefined) throw readBackFailed(envelope, 'opens with a wrong key too')
}

/** Whether a first sealing can write this envelope at all, before it writes anything. */
export function requireFirstSealable(envelope: Envelope): void {
  const refuse = (why: string, hint: string): never => {
    throw new KvxError('USAGE', `${envelope.name}: ${why}; nothing was changed`, { hint })
  }
  if (!envelope.plaintext)
    refuse('it does not say that plaintext may lie there', 'Say `plaintext: true` in the envelope.')
  if (envelope.joined !== undefined || envelope.wraps.length > 1 || envelope.values.length === 0)
    refuse(
      'its DEKs do not lie beside its values',
      'kvx seals values under the key, or under a DEK in their own record.',
    )
  for (const sealed of envelope.values) {
    if (sealed.each !== undefined || sealed.forms[0].columns.length !== 1)
      refuse('its values do not have a column each', 'Let the application seal these.')
  }
  for (const sealed of [...envelope.wraps, ...envelope.values]) requireRenderable(sealed, refuse)
}

/** A layout that keeps bytes of the old value has nothing to keep in a new one. */
function requireRenderable({ forms: [form] }: Sealed, refuse: (why: string, hint: string) => never): void {
  for (const { layout } of form.columns) {
    if (!/\bskip\b|\.\.\./.test(layout.source)) continue
    refuse(
      `\`${layout.source}\` keeps bytes that a new value does not have`,
      'Write these bytes as literals.',
    )
  }
}
