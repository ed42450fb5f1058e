import type { SealedParts } from '../../core/cipher/cipher.ts'
import { isKvxError } from '../../core/errors.ts'
import type { Layout } from '../../core/layout/layout.ts'
import type { Parts } from '../../core/layout/values.ts'
import type { Cell, Cells, StoredRecord } from '../../stores/store.ts'
import type { Envelope, Form, Sealed } from './envelope.ts'
import { bytesOf } from './labels.ts'
import { type Inputs, noInputs } from './key-book.ts'

/** The state of the record that a ciphertext lies in: its columns, id included. */
export type RecordState = Readonly<Record<string, Cell>>

/** A sealed thing taken apart, each column's parts by themselves so that all other bytes can be put back. */
export type Instance = {
  readonly sealed: Sealed
  readonly form: Form
  /** Where in the column's document it stands; undefined where it is the whole column. */
  readonly path: string | undefined
  readonly columns: readonly { readonly column: string; readonly layout: Layout; readonly parts: Parts }[]
  /** Its own parts by their bare names. */
  readonly parts: SealedParts
}

/**
 * What one place holds. `null`: nothing. `plaintext`: not sealed. `shape`: neither, so damaged or of another
 * layout. Otherwise one instance for each form that it can be read in.
 */
export type Found = 'null' | 'plaintext' | 'shape' | readonly [Instance, ...Instance[]]

export function stateOf(id: readonly string[], record: StoredRecord): RecordState {
  const state: Record<string, Cell> = { ...record.cells }
  id.forEach((column, index) => {
    state[column] = record.id[index] ?? null
  })
  return state
}

/** Every place of a sealed thing in one record: one, or as many as its `each` reaches. */
export function parseSealed(
  sealed: Sealed,
  cells: Cells,
  { plaintext }: Pick<Envelope, 'plaintext'>,
): readonly Found[] {
  if (sealed.each === undefined) return [parseOne(sealed, cells, plaintext)]
  const [{ column } = { column: '' }] = sealed.forms[0].columns
  const cell = cells[column] ?? null
  if (cell === null) return ['null']
  const bytes = bytesOf(cell)
  if (bytes === undefined) return [plaintext ? 'plaintext' : 'shape']
  try {
    return sealed.each
      .split(bytes)
      .map(({ path, bytes: text }) => parseOne(sealed, { [column]: text }, plaintext, path))
  } catch (error) {
    // A document that cannot be taken apart may hold sealed values: it is never passed over.
    if (isKvxError(error, 'LAYOUT_MISMATCH')) return ['shape']
    throw error
  }
}

/** The places of several sealed things, one thing after the other. */
export function parseAll(
  things: readonly Sealed[],
  cells: Cells,
  envelope: Pick<Envelope, 'plaintext'>,
): readonly Found[] {
  const [only] = things
  return only !== undefined && things.length === 1
    ? parseSealed(only, cells, envelope)
    : things.flatMap((sealed) => parseSealed(sealed, cells, envelope))
}

function parseOne(sealed: Sealed, cells: Cells, plaintext: boolean, path?: string): Found {
  if (sealed.forms.length === 1) {
    const parsed = parseForm(sealed, sealed.forms[0], cells, { plaintext, path })
    return typeof parsed === 'string' ? parsed : [parsed]
  }
  const found: Instance[] = []
  let worst: 'null' | 'plaintext' | 'shape' = 'plaintext'
  for (const form of sealed.forms) {
    const parsed = parseForm(sealed, form, cells, { plaintext, path })
    if (typeof parsed !== 'string') found.push(parsed)
    else if (parsed === 'null') return 'null'
    else if (parsed === 'shape') worst = 'shape'
  }
  const [first, ...more] = found
  return first === undefined ? worst : [first, ...more]
}

function parseForm(
  sealed: Sealed,
  form: Form,
  cells: Cells,
  look: { readonly plaintext: boolean; readonly path: string | undefined },
): Instance | 'null' | Unparsed {
  const absent = absentColumns(form, cells)
  if (absent === form.columns.length) return 'null'
  if (absent > 0) return 'shape'
  const columns = form.columns.map((one) => parseColumn(one, cells, look.plaintext))
  if (!columns.every(isParsed)) return columns.find((one) => typeof one === 'string') ?? 'shape'
  return { sealed, form, path: look.path, columns, parts: ownParts(form, columns) }
}

type Unparsed = 'plaintext' | 'shape'
type ParsedColumn = Instance['columns'][number]

function isParsed(one: ParsedColumn | Unparsed): one is ParsedColumn {
  return typeof one !== 'string'
}

function parseColumn(
  { column, layout }: Form['columns'][number],
  cells: Cells,
  plaintext: boolean,
): ParsedColumn | Unparsed {
  const cell = cells[column] ?? null
  const bytes = cell === null || typeof cell === 'bigint' ? undefined : bytesOf(cell)
  if (bytes === undefined) return plaintext ? 'plaintext' : 'shape'
  try {
    return { column, layout, parts: layout.parse(bytes) }
  } catch (error) {
    if (!isKvxError(error, 'LAYOUT_MISMATCH')) throw error
    // What begins as a sealed value does, or has its constants, is a damaged one, wherever plaintext may lie.
    if (hasLiteral(layout)) return layout.hasPrefix(bytes) ? 'shape' : 'plaintext'
    return plaintext && layout.marks?.(bytes) !== true ? 'plaintext' : 'shape'
  }
}

function absentColumns({ columns }: Form, cells: Cells): number {
  let absent = 0
  for (const { column } of columns) if (cells[column] === null) absent++
  return absent
}

const nothing = new Uint8Array(0)

/** Whether every value begins with the same bytes. */
export function hasLiteral(layout: Layout): boolean {
  return !layout.hasPrefix(nothing)
}

/** The parts of all columns under their bare names. Without a prefix, one column's parts are they as they are. */
export function ownParts(form: Form, columns: Instance['columns']): SealedParts {
  const [first] = columns
  if (form.prefix === '' && columns.length === 1 && first !== undefined) return first.parts
  const own = new Map<string, Uint8Array | bigint>()
  for (const { parts } of columns) {
    for (const [name, value] of parts) {
      const mine = name.startsWith('dek.') === (form.prefix !== '')
      if (mine && !name.startsWith('#')) own.set(name.slice(form.prefix.length), value)
    }
  }
  return own
}

/** What the expressions of a form read of a record and of a value in it: most forms have none. */
export function inputsFor(
  { aad, derive, nonce }: Form,
  instance: Pick<Instance, 'parts' | 'columns'>,
  state: RecordState,
): Inputs {
  return aad === undefined && derive === undefined && nonce === undefined
    ? noInputs
    : inputsOf(instance, state)
}

/** What expressions read of a record and of a value in it. */
export function inputsOf(
  { parts, columns }: Pick<Instance, 'parts' | 'columns'>,
  state: RecordState,
): Inputs {
  const cell = (name: string): Cell => state[name] ?? null
  return {
    cell,
    newCell: cell,
    part: (name) => (name === 'header' ? headerOf(columns) : parts.get(name)),
  }
}

function headerOf(columns: Instance['columns']): Uint8Array | undefined {
  for (const { layout, parts } of columns) {
    const header = layout.header(parts)
    if (header !== undefined) return header
  }
  return undefined
}

const noAad = new Uint8Array(0)

export function aadOf({ aad }: Form, inputs: Inputs): Uint8Array {
  return aad === undefined ? noAad : aad.render(inputs)
}
