import { isKvxError } from '../../core/errors.ts'
import type { Layout } from '../../core/layout/layout.ts'
import type { Parts } from '../../core/layout/values.ts'
import { Secret } from '../../core/secret.ts'
import type { StoredRecord } from '../../stores/store.ts'
import type { Envelope, Form, Sealed } from './envelope.ts'
import { parseAll, parseSealed, stateOf, type Found, type Instance, type RecordState } from './instance.ts'
import type { KeyBook } from './key-book.ts'
import { asVersion, readColumnLabel, versionOfName, type Label } from './labels.ts'
import { DekKey, openInstance, versionKey, withDek, type KeyFor } from './open-instance.ts'
import { openMany, type PlaceOfRecord, sharesKey } from './open-many.ts'
import type { UnreadableReason } from './reasons.ts'

/** One secret of a record that lies directly under the configured key: its outermost wrap, or one of its values. */
export type UnderKey = {
  readonly instance: Instance
  readonly version: number
  readonly secret: Uint8Array
}

/** What a record says of itself, in its version column and inside its values. */
export type Labels = {
  /** The version that the record is wholly under, labels and forms included: a run to it has nothing to do here. */
  readonly settled: number | undefined
  /** Versions that it names and that differ from the one which opens that part. */
  readonly wrong: ReadonlySet<number>
  /** Whether its version column says something that kvx could not write: only the application knows what it means. */
  readonly foreign: boolean
}

/** What a look at one record found. `wipe` the opened ones after use. */
export type Opened =
  | { readonly kind: 'null' }
  /** `foreign` as in {@link Labels}. */
  | { readonly kind: 'plaintext'; readonly foreign: boolean }
  | { readonly kind: 'unreadable'; readonly reason: UnreadableReason }
  | OpenedRecord

export type OpenedRecord = {
  readonly kind: 'sealed'
  /** The record as it was looked at. */
  readonly state: RecordState
  /** Every version of the key that the record needs: one, or several where its values lie under several. */
  readonly versions: ReadonlySet<number>
  readonly labels: Labels
  /** Whether a value that is not sealed lies among the sealed ones. */
  readonly bare: boolean
  readonly under: readonly UnderKey[]
  readonly wipe: () => void
}

type Look = OpenOptions & {
  readonly state: RecordState
  /** What may lie under the key: the outermost wrap, or the values. */
  readonly under: readonly Found[]
}

/** What is known of a record that was just written. */
export type Expected = {
  readonly version: number
  /** Whether this is the very secret that was sealed, over values that opened with it and were not written. */
  readonly isProven: (secret: Uint8Array) => boolean
}

type OpenOptions = {
  readonly envelope: Envelope
  readonly book: KeyBook
  /** Of a run that makes new DEKs: a record under another DEK is not settled yet. */
  readonly isFresh?: ((dek: Secret) => boolean) | undefined
  readonly expected?: Expected | undefined
}

/** Opens a record through its whole declared chain with whichever known version does it. */
export function openRecord(
  envelope: Envelope,
  record: StoredRecord,
  book: KeyBook,
  more?: Pick<OpenOptions, 'isFresh' | 'expected'>,
): Opened {
  return openLook(lookAt(record, { envelope, book, ...more }), nothingAhead)
}

/**
 * Opens the records of a page: what lies directly under the key together, since most of it lies under one version.
 * When it throws, nothing is left open.
 */
export function openPage(records: readonly StoredRecord[], options: OpenOptions): readonly Opened[] {
  const looks = records.map((record) => lookAt(record, options))
  const ahead = openAhead(looks, options.book)
  const opened: Opened[] = []
  try {
    for (const look of looks) opened.push(openLook(look, ahead))
    return opened
  } catch (error) {
    for (const one of opened) if (one.kind === 'sealed') one.wipe()
    throw error
  } finally {
    wipeAll([...ahead.values()])
  }
}

function lookAt(record: StoredRecord, { envelope, book, isFresh, expected }: OpenOptions): Look {
  const state = stateOf(envelope.set.id, record)
  const [outer] = envelope.wraps
  const under =
    outer === undefined ? valuesOf({ envelope, state }) : parseSealed(outer, state, { plaintext: false })
  return { envelope, book, isFresh, expected, state, under }
}

function valuesOf({ envelope, state }: Pick<Look, 'envelope' | 'state'>): readonly Found[] {
  return parseAll(envelope.values, state, envelope)
}

/** What opened already. Whoever takes a secret out of it owns it. */
type Ahead = Map<Instance, UnderKey>

const nothingAhead: Ahead = new Map()

/** The first form of each place under the versions that may open it, one version after the other. */
function openAhead(looks: readonly Look[], book: KeyBook): Ahead {
  const ahead: Ahead = new Map()
  let left: (PlaceOfRecord & { readonly versions: readonly number[] })[] = []
  for (const look of looks) {
    for (const found of look.under) {
      if (typeof found === 'string' || !sharesKey(found[0].form)) continue
      left.push({ instance: found[0], state: look.state, versions: versionsFor(found[0], look) })
    }
  }
  for (let turn = 0; left.length > 0; turn++) {
    for (const [version, places] of Map.groupBy(left, ({ versions }) => versions[turn])) {
      if (version === undefined) continue
      openMany(places, book, version).forEach((secret, at) => {
        const instance = places[at]?.instance
        if (secret !== undefined && instance !== undefined) ahead.set(instance, { instance, version, secret })
      })
    }
    left = left.filter(({ instance, versions }) => !ahead.has(instance) && versions.length > turn + 1)
  }
  return ahead
}

function openLook(look: Look, ahead: Ahead): Opened {
  const [outer] = look.envelope.wraps
  return outer === undefined ? openDirect(look, ahead) : openWrapped(look, outer, ahead)
}

function openDirect(look: Look, ahead: Ahead): Opened {
  const { envelope } = look
  const under: UnderKey[] = []
  let plaintext = false
  for (const found of look.under) {
    if (found === 'null') continue
    if (found === 'plaintext') {
      plaintext = true
      continue
    }
    const opened = found === 'shape' ? found : openUnderKey(found, look, ahead)
    if (typeof opened === 'string') {
      wipeAll(under)
      return { kind: 'unreadable', reason: opened }
    }
    under.push(opened)
  }
  if (plaintext && under.length > 0 && !envelope.plaintext) {
    wipeAll(under)
    return { kind: 'unreadable', reason: 'not-sealed' }
  }
  if (under.length === 0) return plaintext ? unsealed(look) : { kind: 'null' }
  return sealedRecord(look, under, { outdated: false, bare: plaintext })
}

function openWrapped(look: Look, outer: Sealed, ahead: Ahead): Opened {
  const { envelope, expected } = look
  const [wrap = 'null'] = look.under
  if (wrap === 'null') return withoutDek(look, valuesOf(look))
  if (typeof wrap === 'string') {
    // A wrap that lies inside its value is not there where the value is plaintext.
    const isInside =
      outer.forms[0].prefix !== '' &&
      valuesOf(look).every((found) => found === 'null' || found === 'plaintext')
    return isInside && envelope.plaintext ? unsealed(look) : { kind: 'unreadable', reason: 'shape' }
  }
  const found = openUnderKey(wrap, look, ahead)
  if (typeof found === 'string') return { kind: 'unreadable', reason: found }
  if (expected?.isProven(found.secret) === true)
    return sealedRecord(look, [found], { outdated: false, bare: false })
  const values = valuesOf(look)
  const bare = values.includes('plaintext')
  const lower = bare && !envelope.plaintext ? 'not-sealed' : openLower(look, found, values)
  if (typeof lower !== 'string') return sealedRecord(look, [found], { outdated: lower.outdated, bare })
  wipeAll([found])
  return { kind: 'unreadable', reason: lower }
}

/** A record with nothing sealed in it. */
function unsealed({ envelope, state, book }: Look): Opened {
  return { kind: 'plaintext', foreign: columnLabel(envelope, state, book) === 'foreign' }
}

function withoutDek(look: Look, values: readonly Found[]): Opened {
  if (values.every((found) => found === 'null')) return { kind: 'null' }
  if (values.every((found) => found === 'null' || found === 'plaintext')) return unsealed(look)
  return { kind: 'unreadable', reason: 'dek-missing' }
}

/**
 * Everything below the outermost wrap must open; what opens is wiped at once.
 * @returns whether something of it lies in a form that is only read
 */
function openLower(
  { envelope, state, book, isFresh }: Look,
  found: UnderKey,
  values: readonly Found[],
): { readonly outdated: boolean } | UnreadableReason {
  const key = chainKey(envelope, found.secret, state)
  if (typeof key === 'string') return key
  try {
    const opened = openValues(values, key, { state, book })
    return typeof opened !== 'string' && isFresh?.(key) === false ? { outdated: true } : opened
  } finally {
    key.wipe()
  }
}

/** The DEK of a record that was opened: what its values lie under. The caller wipes it. */
export function dekOf(
  envelope: Pick<Envelope, 'wraps'>,
  { under: [found] }: OpenedRecord,
  state: RecordState,
): Secret | UnreadableReason {
  if (found === undefined) throw new TypeError('a sealed record has something under the key')
  return chainKey(envelope, found.secret, state)
}

/** The key of the innermost level: the outermost wrap's secret, unwrapped once more for each level below it. */
export function chainKey(
  { wraps: [outer, ...inside] }: Pick<Envelope, 'wraps'>,
  plaintext: Uint8Array,
  state: RecordState,
): Secret | UnreadableReason {
  if (outer === undefined) throw new TypeError('the envelope has a wrapped DEK')
  let key = unwrapped(outer, plaintext)
  for (const wrap of inside) {
    if (key === undefined) return 'dek-length'
    const [found = 'null'] = parseSealed(wrap, state, { plaintext: false })
    const inner = typeof found === 'string' ? undefined : withDek(key, (by) => openFirst(found, state, by))
    key.wipe()
    if (inner === undefined) return typeof found === 'string' ? 'dek-missing' : 'value-under-dek'
    key = unwrapped(wrap, inner.plaintext)
    inner.plaintext.fill(0)
  }
  return key ?? 'dek-length'
}

/** The key that a wrap's plaintext holds; undefined when it is not laid out as declared. */
function unwrapped({ holds }: Sealed, plaintext: Uint8Array): Secret | undefined {
  if (holds === undefined) return Secret.copy(plaintext)
  // Its parts are wiped, those that are decoded and those that lie in it: the plaintext itself is needed further on.
  const own = new Uint8Array(plaintext)
  const parts = heldParts(holds, own)
  const key = parts?.get('ct')
  const secret = key instanceof Uint8Array ? Secret.copy(key) : undefined
  for (const part of [own, ...(parts?.values() ?? [])]) if (part instanceof Uint8Array) part.fill(0)
  return secret
}

function heldParts(layout: Layout, plaintext: Uint8Array): Parts | undefined {
  try {
    return layout.parse(plaintext)
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_MISMATCH')) return undefined
    throw error
  }
}

/** The book tells values that lie directly under the configured key. */
type ValueLook = { readonly state: RecordState; readonly book: KeyBook }

/** Opens values with the innermost key. */
export function openValues(
  values: readonly Found[],
  key: Secret,
  { state, book }: ValueLook,
): { readonly outdated: boolean } | UnreadableReason {
  let outdated = false
  const by = new DekKey(key)
  try {
    for (const found of values) {
      if (found === 'shape') return 'shape'
      if (typeof found === 'string') continue
      if (found.every(({ form }) => !takes(form, key))) return 'dek-length'
      const one = openFirst(found, state, by, key)
      if (one === undefined)
        return opensDirectly(found, state, book) ? 'under-key-directly' : 'value-under-dek'
      one.plaintext.fill(0)
      by.wipe()
      outdated ||= one.instance.form !== one.instance.sealed.forms[0]
    }
    return { outdated }
  } finally {
    by.wipe()
  }
}

function takes({ cipher, derive }: Form, key: Secret): boolean {
  return derive !== undefined || cipher.acceptsKeyLength(key.length)
}

/** The first form in which this key opens a place. The caller wipes the plaintext. */
export function openFirst(
  found: readonly Instance[],
  state: RecordState,
  by: KeyFor,
  key?: Secret,
): { readonly instance: Instance; readonly plaintext: Uint8Array } | undefined {
  for (const instance of found) {
    if (key !== undefined && !takes(instance.form, key)) continue
    const plaintext = openInstance(instance, state, by)
    if (plaintext !== undefined) return { instance, plaintext }
  }
  return undefined
}

function opensDirectly(found: readonly Instance[], state: RecordState, book: KeyBook): boolean {
  return book.versions.some((version) =>
    found.some((instance) => {
      if (!book.fits(version, instance.form)) return false
      const opened = openInstance(instance, state, versionKey(book, version))
      opened?.fill(0)
      return opened !== undefined
    }),
  )
}

/** Opens one place with whichever version does it, in the form that is written before one that is only read. */
function openUnderKey(
  found: readonly [Instance, ...Instance[]],
  look: Look,
  ahead: Ahead,
): UnderKey | UnreadableReason {
  const known = ahead.get(found[0])
  if (known !== undefined) {
    ahead.delete(found[0])
    look.book.prefer(known.version)
    return known
  }
  for (const instance of found) {
    const opened =
      instance.form.cipher.kind === 'legacy' ? openLegacy(instance, look) : tryVersions(instance, look)
    if (opened !== undefined) return opened
  }
  return 'no-known-key'
}

function tryVersions(instance: Instance, look: Look): UnderKey | undefined {
  const { state, book, expected } = look
  for (const version of versionsFor(instance, look)) {
    const secret = openInstance(instance, state, versionKey(book, version))
    if (secret === undefined) continue
    if (expected === undefined) book.prefer(version)
    return { instance, version, secret }
  }
  return undefined
}

/** The versions whose key the form takes, the likeliest first. */
function versionsFor(instance: Instance, { envelope, state, book, expected }: Look): readonly number[] {
  const label = expected?.version ?? labelOf(instance, book) ?? columnLabel(envelope, state, book)
  return book.candidates(instance.form, typeof label === 'number' ? label : undefined)
}

/** So many bytes of a plaintext that passes its test are no accident: without a label fewer prove no key. */
const provingLength = 12

/**
 * A cipher without authentication gives garbage with a wrong key and no error, so exactly one known key may pass
 * the plaintext's test, and without a label that names the version it has to be long enough to mean something.
 */
function openLegacy(
  instance: Instance,
  { envelope, state, book }: Look,
): UnderKey | UnreadableReason | undefined {
  const label = labelOf(instance, book) ?? columnLabel(envelope, state, book)
  const fitting = book.fitting(instance.form)
  const labelled = typeof label === 'number'
  const candidates = [...fitting].filter((version) => !labelled || version === label)
  const passed: UnderKey[] = []
  for (const version of candidates) {
    const secret = openInstance(instance, state, versionKey(book, version))
    if (secret !== undefined) passed.push({ instance, version, secret })
  }
  const [only, ...others] = passed
  if (only === undefined) return undefined
  if (others.length === 0 && (labelled || only.secret.length >= provingLength)) return only
  wipeAll(passed)
  return 'key-ambiguous'
}

/** The version that a value itself names. */
function labelOf({ parts, sealed }: Instance, book: KeyBook): Label {
  const version = parts.get('version')
  if (typeof version === 'bigint') return asVersion(version)
  const name = parts.get('keyid')
  if (sealed.label === undefined || !(name instanceof Uint8Array)) return undefined
  return versionOfName(sealed.label, name, book)
}

function columnLabel({ version }: Envelope, state: RecordState, book: KeyBook): Label {
  return version === undefined ? undefined : readColumnLabel(version, state[version.column] ?? null, book)
}

function sealedRecord(
  look: Look,
  under: readonly UnderKey[],
  { outdated, bare }: { readonly outdated: boolean; readonly bare: boolean },
): Opened {
  const versions = versionsOf(under)
  const labels = labelsOf(look, { under, versions, outdated })
  return { kind: 'sealed', state: look.state, versions, labels, bare, under, wipe: () => wipeAll(under) }
}

const single = new Map<number, ReadonlySet<number>>()
const none: ReadonlySet<number> = new Set()

/** The same set for all records of one version. */
function versionsOf(under: readonly UnderKey[]): ReadonlySet<number> {
  const [first] = under
  if (under.length !== 1 || first === undefined) return new Set(under.map((one) => one.version))
  const known = single.get(first.version) ?? new Set([first.version])
  single.set(first.version, known)
  return known
}

type Seen = {
  readonly under: readonly UnderKey[]
  readonly versions: ReadonlySet<number>
  readonly outdated: boolean
}

function labelsOf({ envelope, state, book }: Look, { under, versions, outdated }: Seen): Labels {
  const column = columnLabel(envelope, state, book)
  let wrong = none
  let unknown = false
  for (const { version, instance } of under) {
    const own = labelOf(instance, book)
    unknown ||= own === 'foreign'
    if (typeof own === 'number' && own !== version) wrong = new Set([...wrong, own])
    if (typeof column === 'number' && column !== version) wrong = new Set([...wrong, column])
  }
  const [version] = versions
  const old = outdated || under.some(({ instance: { form, sealed } }) => form !== sealed.forms[0])
  // A column that is empty is written by a run; one that says something else stays as it is.
  const labelled = envelope.version === undefined || column !== undefined
  const whole = versions.size === 1 && wrong.size === 0 && labelled && !unknown && !old
  return { settled: whole ? version : undefined, wrong, foreign: column === 'foreign' }
}

function wipeAll(under: readonly UnderKey[]): void {
  for (const { secret } of under) secret.fill(0)
}

/** Whether the record already is as a run to `target` would leave it, its labels included. */
export function isUnder(opened: Opened, target: number): boolean {
  return opened.kind !== 'sealed' || opened.labels.settled === target
}
