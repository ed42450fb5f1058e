import { isUtf8 } from 'node:buffer'
import type { OneOfMany, SealedParts } from '../../core/cipher/cipher.ts'
import { KvxError } from '../../core/errors.ts'
import type { Parts } from '../../core/layout/values.ts'
import type { Secret } from '../../core/secret.ts'
import { now } from '../../platform/clock.ts'
import { randomNonce } from '../../platform/random.ts'
import type { Cell, Cells, StoredRecord } from '../../stores/store.ts'
import { belowWrap, boundColumns, type Envelope, type Form, type Sealed } from './envelope.ts'
import {
  aadOf,
  inputsFor,
  inputsOf,
  ownParts,
  parseSealed,
  type Instance,
  type RecordState,
} from './instance.ts'
import type { Inputs, KeyBook } from './key-book.ts'
import { bytesOf, nameOfVersion, writeColumnLabel } from './labels.ts'
import { versionKey, withDek, withNonce, type KeyFor } from './open-instance.ts'
import { sharesKey } from './open-many.ts'
import { dekOf, openFirst, type OpenedRecord } from './open-record.ts'

export type SealTarget = { readonly book: KeyBook; readonly target: number }

/** A record as it was found. */
export type ToSeal = { readonly record: StoredRecord; readonly opened: OpenedRecord }

/**
 * The columns of each record sealed under `target`: wraps or values, and what says which version they need. What
 * lies directly under the key is sealed together.
 */
export function sealPage(envelope: Envelope, page: readonly ToSeal[], to: SealTarget): readonly Cells[] {
  const by = versionKey(to.book, to.target)
  const says = sayingsOf(to)
  const drafts = page.map(({ opened }) => {
    const draft = new RecordDraft(envelope, opened.state)
    draft.label(to)
    draft.sets(to)
    return draft
  })
  const together = new Map<Form, { drafts: RecordDraft[]; blanks: Blank[]; values: OneOfMany[] }>()
  for (const [at, { opened }] of page.entries()) {
    const draft = drafts[at]
    if (draft === undefined) throw new TypeError('each record has its draft')
    for (const { instance, secret } of opened.under) {
      const [form] = instance.sealed.forms
      // Of several in one record the next may be made of what the one before it became.
      const isAlone = opened.under.length === 1 && sharesKey(form)
      const blank = isAlone ? draft.blank(instance, undefined, says(instance)) : undefined
      const value = blank && form.cipher.many?.take(blank.parts, blank.aad, secret)
      if (blank === undefined || value === undefined) {
        draft.seal(instance, secret, by, says(instance))
        continue
      }
      let group = together.get(form)
      if (group === undefined) together.set(form, (group = { drafts: [], blanks: [], values: [] }))
      group.drafts.push(draft)
      group.blanks.push(blank)
      group.values.push(value)
    }
  }
  for (const [{ cipher }, { drafts: own, blanks, values }] of together) {
    const [first] = blanks
    if (first === undefined) continue
    const sealed = cipher.many?.seal(by.key(first.form, first.inputs), values) ?? []
    own.forEach((draft, at) => {
      const [blank, made] = [blanks[at], sealed[at]]
      if (blank === undefined || made === undefined) throw new TypeError('each value was sealed')
      draft.fill(blank, made)
    })
  }
  return drafts.map((draft, at) => {
    const opened = page[at]?.opened
    if (opened !== undefined && envelope.wraps.length > 0) sealLower(envelope, draft, opened)
    // Once more for those that are made of what was just sealed.
    draft.sets(to)
    return draft.changes
  })
}

/** What a value says of the version that it lies under. */
export type Says = { readonly version?: bigint; readonly keyid?: Uint8Array | undefined }

export function labelsAt({ sealed: { label } }: Instance, { book, target }: SealTarget): Says {
  return { version: BigInt(target), keyid: label && nameOfVersion(label, target, book) }
}

/** The same for each instance of a page, made once for each place of the declaration. */
function sayingsOf(to: SealTarget): (instance: Instance) => Says {
  const known = new Map<Sealed, Says>()
  return (instance) => {
    let says = known.get(instance.sealed)
    if (says === undefined) known.set(instance.sealed, (says = labelsAt(instance, to)))
    return says
  }
}

type Drafted = Omit<Instance['columns'][number], 'parts'> & {
  readonly parts: Map<string, Uint8Array | bigint>
}

/** Where a ciphertext is to go, with everything that its cipher takes besides key and plaintext. */
export type Blank = {
  readonly instance: Instance
  readonly form: Form
  /** The parts are the draft's own. */
  readonly columns: readonly Drafted[]
  readonly inputs: Inputs
  readonly parts: SealedParts
  readonly aad: Uint8Array
}

/** The record as it will be, column by column. */
export class RecordDraft {
  readonly before: RecordState
  readonly #envelope: Envelope
  readonly #changes: Record<string, Cell> = {}
  #state: RecordState

  constructor(envelope: Envelope, before: RecordState) {
    this.#envelope = envelope
    this.before = before
    this.#state = before
  }

  get state(): RecordState {
    return this.#state
  }

  get changes(): Cells {
    return this.#changes
  }

  changed(columns: Iterable<string>): boolean {
    for (const column of columns) if (Object.hasOwn(this.#changes, column)) return true
    return false
  }

  set(column: string, cell: () => Cell): void {
    const value = cell()
    this.#changes[column] = value
    this.#state = { ...this.#state, [column]: value }
  }

  label({ book, target }: SealTarget): void {
    const { version } = this.#envelope
    if (version === undefined) return
    const before = this.before[version.column] ?? null
    this.set(version.column, () => writeColumnLabel(version, before, target, book))
  }

  /** The columns that are declared to change with the record. */
  sets(to: SealTarget): void {
    for (const { column, value } of this.#envelope.sets)
      this.set(column, () => setCell(this, column, value, to))
  }

  /** Seals a plaintext where an instance lay, in the form that is written; every other byte stays as it is. */
  seal(instance: Instance, plaintext: Uint8Array, by: KeyFor, says: Says = {}): void {
    const blank = this.blank(instance, by, says)
    const { form, parts, aad, inputs } = blank
    this.fill(blank, form.cipher.seal(by.key(form, inputs), plaintext, parts, aad))
  }

  /** @param by makes the nonce of a form that stores none */
  blank(instance: Instance, by: KeyFor | undefined, says: Says): Blank {
    const [form] = instance.sealed.forms
    const columns = this.#blank(instance, form, says)
    const own = ownParts(form, columns)
    const inputs = inputsFor(form, { parts: own, columns }, this.#state)
    const parts = withNonce(own, by?.nonce(form, inputs))
    return { instance, form, columns, inputs, parts, aad: aadOf(form, inputs) }
  }

  fill({ instance, form, columns }: Blank, sealed: SealedParts): void {
    for (const column of columns) {
      putParts(form, column, sealed)
      this.#write(instance, column)
    }
  }

  /** The parts around a new ciphertext: what names the version, fresh nonces and salts, the rest as it was. */
  #blank(instance: Instance, form: Form, says: Says): readonly Drafted[] {
    const old = this.#reread(instance, form)
    return form.columns.map(({ column, layout }, at) => {
      const parts = new Map(old[at])
      const put = (name: string, value: Uint8Array | bigint | undefined): void => {
        const full = `${form.prefix}${name}`
        if (value !== undefined && layout.partNames.has(full)) parts.set(full, value)
      }
      put('version', says.version)
      put('keyid', says.keyid)
      put('nonce', form.nonce === undefined ? freshNonce(form, parts) : undefined)
      const time = `${form.prefix}time`
      if (layout.partNames.has(time) && !parts.has(time)) put('time', presentTime(layout.source))
      if (readsSalt(form))
        put('salt', randomNonce(lengthOf(parts.get(`${form.prefix}salt`)) ?? form.saltLength))
      return { column, layout, parts }
    })
  }

  /**
   * The old parts, column by column, as the columns hold them now: another value of the same column may have been
   * written since.
   */
  #reread(instance: Instance, form: Form): readonly Parts[] {
    if (form !== instance.form) return []
    return instance.columns.map(({ column, layout, parts }) => {
      if (instance.path !== undefined || !Object.hasOwn(this.#changes, column)) return parts
      const cell = this.#state[column] ?? null
      const bytes = cell === null ? undefined : bytesOf(cell)
      if (bytes === undefined) throw new TypeError('the column held a value a moment ago')
      return layout.parse(bytes)
    })
  }

  #write({ path, sealed }: Instance, { column, layout, parts }: Drafted): void {
    const rendered = layout.render(parts)
    const cell = this.#state[column] ?? null
    const bytes = path === undefined ? rendered : this.#joined(sealed, cell, path, rendered)
    // What is no text cannot go into a column as text: a first sealing writes raw bytes where text lay.
    this.set(column, () =>
      cell instanceof Uint8Array || !isUtf8(bytes) ? bytes : Buffer.from(bytes).toString('utf8'),
    )
  }

  #joined({ each }: Sealed, cell: Cell, path: string, rendered: Uint8Array): Uint8Array {
    const document = cell === null ? undefined : bytesOf(cell)
    if (each === undefined || document === undefined)
      throw new TypeError('the document was read a moment ago')
    return each.join(document, new Map([[path, rendered]]))
  }
}

function lengthOf(part: Uint8Array | bigint | undefined): number | undefined {
  return part instanceof Uint8Array ? part.length : undefined
}

function freshNonce(form: Form, parts: ReadonlyMap<string, Uint8Array | bigint>): Uint8Array | undefined {
  const length = lengthOf(parts.get(`${form.prefix}nonce`)) ?? form.nonceLength
  return length === 0 ? undefined : randomNonce(length)
}

/** Seconds since 1970, as a value without a time of its own gets them: a number, or the eight bytes `time:8`. */
function presentTime(layout: string): Uint8Array | bigint {
  const seconds = BigInt(Math.floor(now().getTime() / 1000))
  if (!/\btime:8\b/.test(layout)) return seconds
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(seconds)
  return bytes
}

/** A salt that makes key or nonce is as fresh as a nonce; others belong to the application. */
function readsSalt({ derive, nonce }: Form): boolean {
  return derive?.partNames.has('salt') === true || nonce?.partNames.has('salt') === true
}

/** Puts what the cipher made into the parts of a column that has a place for it. */
function putParts({ cipher, prefix }: Form, { layout, parts }: Drafted, sealed: SealedParts): void {
  for (const name of cipher.parts) {
    const value = sealed.get(name)
    if (value !== undefined && layout.partNames.has(prefix + name)) parts.set(prefix + name, value)
  }
}

/**
 * What lies below the outermost wrap is sealed again only where it has to be: its AAD or key binds a column that
 * changes, or it lies in a form that is only read.
 */
function sealLower(envelope: Envelope, draft: RecordDraft, opened: OpenedRecord): void {
  const stale = belowWrap(envelope).filter((sealed) => needsSealing(sealed, draft))
  if (stale.length === 0) return
  if (stale.some((sealed) => envelope.wraps.includes(sealed))) throw boundWrap(envelope)
  const key = dekOf(envelope, opened, draft.before)
  if (typeof key === 'string') throw new TypeError('the record opened a moment ago')
  try {
    for (const sealed of stale) sealValues(sealed, envelope, draft, key)
  } finally {
    key.wipe()
  }
}

function needsSealing(sealed: Sealed, draft: RecordDraft): boolean {
  return sealed.forms.length > 1 || sealed.forms.some((form) => draft.changed(boundColumns(form)))
}

function sealValues(sealed: Sealed, envelope: Envelope, draft: RecordDraft, key: Secret): void {
  for (const found of parseSealed(sealed, draft.before, envelope)) {
    if (typeof found === 'string') continue
    const opened = withDek(key, (by) => openFirst(found, draft.before, by, key))
    if (opened === undefined) throw new TypeError('the value opened a moment ago')
    const { instance, plaintext } = opened
    const bound = draft.changed(boundColumns(instance.form))
    const isSame = instance.form === sealed.forms[0]
    if (bound && isSame && instance.form.nonce !== undefined && !readsSalt(instance.form)) {
      plaintext.fill(0)
      throw fixedNonce(envelope)
    }
    if (bound || !isSame) withDek(key, (by) => draft.seal(instance, plaintext, by))
    plaintext.fill(0)
  }
}

/** Sealed again under the same DEK with the same nonce, another AAD would give the authentication key away. */
function fixedNonce({ name }: Envelope): KvxError {
  return new KvxError(
    'CONFIG_INVALID',
    `${name}: a value under a DEK has a nonce that is always the same, and a rewrap would use it again`,
    {
      hint: 'Its AAD binds a column that changes. Give the record a new DEK instead: `kvx reencrypt --new-deks`.',
    },
  )
}

function boundWrap({ name }: Envelope): KvxError {
  return new KvxError('CONFIG_INVALID', `${name}: a wrapped DEK binds a column that a rewrap would change`, {
    hint: 'Below the outermost level kvx seals values again, and no keys. Let the application move this column.',
  })
}

function setCell(
  draft: RecordDraft,
  column: string,
  value: Envelope['sets'][number]['value'],
  { book, target }: SealTarget,
): Cell {
  const inputs = inputsOf({ parts: new Map(), columns: [] }, draft.state)
  const made = book.deriveFor(target, value, { ...inputs, cell: (name) => draft.before[name] ?? null })
  const bytes = made.lend((lent) => new Uint8Array(lent))
  made.wipe()
  const before = draft.before[column] ?? null
  if (before instanceof Uint8Array || !isUtf8(bytes)) return bytes
  const text = Buffer.from(bytes).toString('utf8')
  return typeof before === 'bigint' && /^-?\d{1,18}$/.test(text) ? BigInt(text) : text
}
