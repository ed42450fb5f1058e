import { timingSafeEqual } from 'node:crypto'
import { prepareKey } from '../core/aead/aead.ts'
import type { PreparedKey } from '../core/aead/prepared-key.ts'
import { KvxError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { Cell, Cells, StoredRecord } from '../stores/store.ts'
import type { Envelope, Sealed } from './envelope.ts'
import type { KeyBook } from './key-book.ts'
import { openSealed, parseSealed, sealAgain, type Parsed, type RecordState } from './sealed-value.ts'

/** Why a record does not open, in words that stand in reports. */
export const unreadableReasons = {
  shape: 'it does not fit the declared layout',
  'no-known-key': 'no key of this home opens it (missing key, or damaged)',
  'dek-missing': 'it has a value and no wrapped DEK',
  'dek-length': 'its DEK has another length than the declared AEAD takes',
  'value-under-dek': 'its DEK opens, its value does not open with that DEK',
  'under-key-directly': 'its value opens directly under the key, although a DEK is declared',
  'version-column': 'its version column holds no number, and the record needs another version',
  'not-sealed': 'one of its values is not sealed as declared, although others beside it are',
} as const

export type UnreadableReason = keyof typeof unreadableReasons

/** One secret of a record that lies directly under the configured key: its DEK, or one of its values. */
type UnderKey = {
  readonly sealed: Sealed
  readonly parsed: Parsed
  readonly version: number
  readonly secret: Uint8Array
}

/** What a record says of itself, in its version column and in numbers inside its values. */
export type Labels = {
  /** The version that the record is wholly under, its labels included: a run to it has nothing to do here. */
  readonly settled: number | undefined
  /** Numbers that it carries and that differ from the version which opens that part. */
  readonly wrong: ReadonlySet<number>
  /** Whether its version column holds something that is no number: only the application knows what it means. */
  readonly foreign: boolean
}

/** What a look at one record found. `wipe` the opened ones after use. */
export type Opened =
  | { readonly kind: 'null' | 'plaintext' }
  | { readonly kind: 'unreadable'; readonly reason: UnreadableReason }
  | {
      readonly kind: 'sealed'
      /** Every version of the key that the record needs: one, or several where its values lie under several. */
      readonly versions: ReadonlySet<number>
      readonly labels: Labels
      readonly under: readonly UnderKey[]
      readonly wipe: () => void
    }

export function stateOf(envelope: Envelope, record: StoredRecord): RecordState {
  const state: Record<string, Cell> = { ...record.cells }
  envelope.set.id.forEach((column, index) => {
    state[column] = record.id[index] ?? null
  })
  return state
}

/** Opens a record through its whole declared chain with whichever known version does it. */
export function openRecord(envelope: Envelope, record: StoredRecord, book: KeyBook): Opened {
  const state = stateOf(envelope, record)
  return envelope.dek === undefined
    ? openDirect(envelope, state, book)
    : openWrapped(envelope, envelope.dek, state, book)
}

function openDirect(envelope: Envelope, state: RecordState, book: KeyBook): Opened {
  const under: UnderKey[] = []
  let plaintext = false
  for (const sealed of envelope.values) {
    const parsed = parseSealed(sealed, state, envelope.plaintext)
    if (parsed === 'null') continue
    if (parsed === 'plaintext') {
      plaintext = true
      continue
    }
    const found = parsed === 'shape' ? undefined : tryVersions(envelope, { sealed, parsed, state }, book)
    if (found === undefined) {
      wipeAll(under)
      return { kind: 'unreadable', reason: parsed === 'shape' ? 'shape' : 'no-known-key' }
    }
    under.push(found)
  }
  if (plaintext && under.length > 0 && !envelope.plaintext) {
    wipeAll(under)
    return { kind: 'unreadable', reason: 'not-sealed' }
  }
  return under.length === 0
    ? { kind: plaintext ? 'plaintext' : 'null' }
    : sealedRecord(envelope, state, under)
}

function openWrapped(envelope: Envelope, dek: Sealed, state: RecordState, book: KeyBook): Opened {
  const values = envelope.values.map((sealed) => ({
    sealed,
    parsed: parseSealed(sealed, state, envelope.plaintext),
  }))
  const wrap = parseSealed(dek, state, false)
  if (wrap === 'null') {
    if (values.every(({ parsed }) => parsed === 'null')) return { kind: 'null' }
    if (values.every(({ parsed }) => parsed === 'null' || parsed === 'plaintext'))
      return { kind: 'plaintext' }
    return { kind: 'unreadable', reason: 'dek-missing' }
  }
  if (typeof wrap === 'string') return { kind: 'unreadable', reason: 'shape' }
  const found = tryVersions(envelope, { sealed: dek, parsed: wrap, state }, book)
  if (found === undefined) return { kind: 'unreadable', reason: 'no-known-key' }
  const bare = !envelope.plaintext && values.some(({ parsed }) => parsed === 'plaintext')
  const reason = bare ? 'not-sealed' : valuesFail(values, found.secret, state, book)
  if (reason === undefined) return sealedRecord(envelope, state, [found])
  wipeAll([found])
  return { kind: 'unreadable', reason }
}

/** Every value of the record must open with the DEK; the plaintext is wiped at once. */
function valuesFail(
  values: readonly { readonly sealed: Sealed; readonly parsed: ReturnType<typeof parseSealed> }[],
  dek: Uint8Array,
  state: RecordState,
  book: KeyBook,
): UnreadableReason | undefined {
  for (const { sealed, parsed } of values) {
    if (parsed === 'shape') return 'shape'
    if (typeof parsed === 'string') continue
    if (dek.length !== sealed.aead.keyLength) return 'dek-length'
    const opened = withDek(dek, sealed, (key) => openSealed(sealed, parsed, state, key))
    if (opened !== undefined) {
      opened.fill(0)
      continue
    }
    return opensDirectly(sealed, parsed, state, book) ? 'under-key-directly' : 'value-under-dek'
  }
  return undefined
}

function withDek<T>(dek: Uint8Array, sealed: Sealed, use: (key: PreparedKey) => T): T {
  const secret = Secret.copy(dek)
  const key = prepareKey(sealed.aead, secret)
  try {
    return use(key)
  } finally {
    key.wipe()
    secret.wipe()
  }
}

function opensDirectly(sealed: Sealed, parsed: Parsed, state: RecordState, book: KeyBook): boolean {
  return book.versions.some((version) => {
    if (!book.fits(version, sealed.aead)) return false
    const opened = openSealed(sealed, parsed, state, book.key(version, sealed.aead))
    opened?.fill(0)
    return opened !== undefined
  })
}

function tryVersions(
  envelope: Envelope,
  at: { readonly sealed: Sealed; readonly parsed: Parsed; readonly state: RecordState },
  book: KeyBook,
): UnderKey | undefined {
  const { sealed, parsed, state } = at
  const fitting = book.fitting(sealed.aead)
  for (const version of book.candidates(parsed.version ?? columnVersion(envelope, state))) {
    if (!fitting.has(version)) continue
    const secret = openSealed(sealed, parsed, state, book.key(version, sealed.aead))
    if (secret === undefined) continue
    book.prefer(version)
    return { sealed, parsed, version, secret }
  }
  return undefined
}

function columnVersion(envelope: Envelope, state: RecordState): number | undefined {
  if (envelope.versionColumn === undefined) return undefined
  const cell = state[envelope.versionColumn]
  if (typeof cell === 'bigint' || typeof cell === 'number') return Number(cell)
  return typeof cell === 'string' && /^\d{1,9}$/.test(cell) ? Number(cell) : undefined
}

function sealedRecord(envelope: Envelope, state: RecordState, under: readonly UnderKey[]): Opened {
  const versions = new Set(under.map((one) => one.version))
  return {
    kind: 'sealed',
    versions,
    labels: labelsOf(envelope, state, under),
    under,
    wipe: () => wipeAll(under),
  }
}

function labelsOf(envelope: Envelope, state: RecordState, under: readonly UnderKey[]): Labels {
  const column = columnVersion(envelope, state)
  const cell = envelope.versionColumn === undefined ? null : (state[envelope.versionColumn] ?? null)
  const foreign = cell !== null && column === undefined
  const wrong = new Set<number>()
  for (const { version, parsed } of under) {
    for (const label of [parsed.version, column]) {
      if (label !== undefined && label !== version) wrong.add(label)
    }
  }
  const [version, ...more] = new Set(under.map((one) => one.version))
  // A column that is empty is written by a run; one that is no number stays as it is.
  const labelled = envelope.versionColumn === undefined || foreign || column !== undefined
  const settled = more.length === 0 && wrong.size === 0 && labelled ? version : undefined
  return { settled, wrong, foreign }
}

function wipeAll(under: readonly UnderKey[]): void {
  for (const { secret } of under) secret.fill(0)
}

/** Whether the record already is as a run to `target` would leave it, its version column included. */
export function isUnder(opened: Opened, target: number): boolean {
  return opened.kind !== 'sealed' || opened.labels.settled === target
}

/** The columns of the record sealed under `target`: DEKs or values, and what says which version they need. */
export function sealUnder(
  envelope: Envelope,
  record: StoredRecord,
  opened: Opened & { kind: 'sealed' },
  to: { readonly book: KeyBook; readonly target: number },
): Cells {
  const state: Record<string, Cell> = { ...stateOf(envelope, record) }
  const change: Record<string, Cell> = {}
  const column = envelope.versionColumn
  if (column !== undefined) {
    change[column] = typeof state[column] === 'string' ? String(to.target) : BigInt(to.target)
    state[column] = change[column]
  }
  for (const { sealed, parsed, secret } of opened.under) {
    const key = to.book.key(to.target, sealed.aead)
    Object.assign(change, sealAgain(sealed, parsed, { plaintext: secret, key, state, version: to.target }))
    if (envelope.dek !== undefined) Object.assign(change, boundValues(envelope, record, secret, state))
  }
  return change
}

/** Values whose AAD binds the version column open no more when it changes: they are sealed again under their DEK. */
function boundValues(
  envelope: Envelope,
  record: StoredRecord,
  dek: Uint8Array,
  state: RecordState,
): Record<string, Cell> {
  const change: Record<string, Cell> = {}
  const before = stateOf(envelope, record)
  for (const sealed of envelope.values) {
    const bound = [...(sealed.aad?.columns ?? []), ...(sealed.aad?.newColumns ?? [])]
    if (envelope.versionColumn === undefined || !bound.includes(envelope.versionColumn)) continue
    const parsed = parseSealed(sealed, before, envelope.plaintext)
    if (typeof parsed === 'string') continue
    withDek(dek, sealed, (key) => {
      const plaintext = openSealed(sealed, parsed, before, key)
      if (plaintext === undefined) throw new TypeError('the value opened a moment ago')
      Object.assign(change, sealAgain(sealed, parsed, { plaintext, key, state, version: undefined }))
      plaintext.fill(0)
    })
  }
  return change
}

/**
 * The proof of a rewritten record, made from what the store gave back: the target opens it to the very bytes
 * that it held, every value opens through the chain, and neither a version that it was under nor a random key
 * opens it any more.
 * @throws READ_BACK_FAILED
 */
export function proveRewritten(
  envelope: Envelope,
  written: StoredRecord,
  before: Opened & { kind: 'sealed' },
  to: { readonly book: KeyBook; readonly target: number },
): void {
  const after = openRecord(envelope, written, to.book)
  const failed = (what: string): KvxError =>
    new KvxError(
      'READ_BACK_FAILED',
      `${envelope.name}: a record that was just written ${what}; the batch was rolled back`,
      {
        hint: 'Something changes values on their way (a trigger, a generated column, another program), or the declaration is wrong. `kvx verify` shows what lies there.',
      },
    )
  if (after.kind !== 'sealed') throw failed('does not open')
  try {
    if (!isUnder(after, to.target)) throw failed(`is not under version ${to.target}`)
    after.under.forEach((one, index) => {
      const original = before.under[index]
      if (original === undefined || !sameBytes(one.secret, original.secret))
        throw failed('holds another secret')
      const state = stateOf(envelope, written)
      const old = original.version === to.target ? [] : [to.book.key(original.version, one.sealed.aead)]
      for (const wrong of [...old, to.book.control(one.sealed.aead)]) {
        if (openSealed(one.sealed, one.parsed, state, wrong) !== undefined)
          throw failed('opens with a wrong key too')
      }
    })
  } finally {
    after.wipe()
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}
