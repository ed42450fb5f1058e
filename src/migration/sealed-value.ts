import { isKvxError } from '../core/errors.ts'
import type { PreparedKey } from '../core/aead/prepared-key.ts'
import type { Layout } from '../core/layout/layout.ts'
import type { Parts } from '../core/layout/values.ts'
import { randomBytes } from '../platform/random.ts'
import type { Cell, Cells } from '../stores/store.ts'
import type { Sealed } from './envelope.ts'

/** A sealed value taken apart, each column's parts by themselves so that all other bytes can be put back. */
export type Parsed = {
  readonly columns: readonly { readonly column: string; readonly layout: Layout; readonly parts: Parts }[]
  readonly nonce: Uint8Array
  readonly ct: Uint8Array
  readonly tag: Uint8Array
  /** The number that the value itself carries, if its layout has one. */
  readonly version: number | undefined
}

/** `null`: nothing is there. `plaintext`: not sealed. `shape`: neither, so damaged or of another layout. */
export type ParseResult = Parsed | 'null' | 'plaintext' | 'shape'

export function parseSealed(sealed: Sealed, cells: Cells, plaintextAllowed: boolean): ParseResult {
  const present = sealed.columns.filter(({ column }) => cells[column] !== null)
  if (present.length === 0) return 'null'
  if (present.length < sealed.columns.length) return 'shape'
  const columns: { column: string; layout: Layout; parts: Parts }[] = []
  for (const { column, layout } of sealed.columns) {
    const bytes = bytesOf(cells[column] ?? null)
    if (bytes === undefined) return plaintextAllowed ? 'plaintext' : 'shape'
    try {
      columns.push({ column, layout, parts: layout.parse(bytes) })
    } catch (error) {
      if (!isKvxError(error, 'LAYOUT_MISMATCH')) throw error
      return plaintextAllowed || !layout.hasPrefix(bytes) ? 'plaintext' : 'shape'
    }
  }
  const part = (name: string): Uint8Array | bigint | undefined =>
    columns.find(({ parts }) => parts.has(name))?.parts.get(name)
  const [nonce, ct, tag, version] = [part('nonce'), part('ct'), part('tag'), part('version')]
  if (!(nonce instanceof Uint8Array) || !(ct instanceof Uint8Array) || !(tag instanceof Uint8Array))
    return 'shape'
  return { columns, nonce, ct, tag, version: typeof version === 'bigint' ? Number(version) : undefined }
}

/** Text columns are UTF-8; numbers are no sealed values. */
function bytesOf(cell: Cell): Uint8Array | undefined {
  if (typeof cell === 'string') return Buffer.from(cell, 'utf8')
  return cell instanceof Uint8Array ? cell : undefined
}

/** The state of the record that a ciphertext lies in: its columns, id included. */
export type RecordState = Readonly<Record<string, Cell>>

function aadOf(sealed: Sealed, parsed: Parsed, state: RecordState): Uint8Array {
  if (sealed.aad === undefined) return new Uint8Array(0)
  const cell = (name: string): Cell => state[name] ?? null
  return sealed.aad.render({
    cell,
    newCell: cell,
    part: (name) => parsed.columns.find(({ parts }) => parts.has(name))?.parts.get(name) ?? new Uint8Array(0),
  })
}

/**
 * The plaintext, or undefined when this key did not seal it for this record: a null AAD column, a nonce or a
 * tag of an impossible length open with no key.
 */
export function openSealed(
  sealed: Sealed,
  parsed: Parsed,
  state: RecordState,
  key: PreparedKey,
): Uint8Array | undefined {
  try {
    return sealed.aead.open(key, parsed.nonce, parsed, aadOf(sealed, parsed, state))
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_MISMATCH')) return undefined
    throw error
  }
}

/**
 * Seals `plaintext` in place of what `parsed` held: a fresh random nonce of the same length, every other byte of
 * the columns as it was. `state` is the record as it will be when this is written.
 */
export function sealAgain(
  sealed: Sealed,
  parsed: Parsed,
  work: {
    readonly plaintext: Uint8Array
    readonly key: PreparedKey
    readonly state: RecordState
    /** What a version number in the value becomes; it stays as it is when undefined. */
    readonly version: number | undefined
  },
): Cells {
  const nonce = randomBytes(parsed.nonce.length)
  const renumbered: Parsed = {
    ...parsed,
    columns: parsed.columns.map((column) => ({
      ...column,
      parts:
        column.parts.has('version') && work.version !== undefined
          ? new Map(column.parts).set('version', BigInt(work.version))
          : column.parts,
    })),
  }
  const aad = aadOf(sealed, renumbered, work.state)
  const { ct, tag } = sealed.aead.seal(work.key, nonce, work.plaintext, aad)
  const fresh: Readonly<Record<string, Uint8Array>> = { nonce, ct, tag }
  const change: Record<string, Cell> = {}
  for (const { column, layout, parts } of renumbered.columns) {
    const next = new Map(parts)
    for (const [name, bytes] of Object.entries(fresh)) if (next.has(name)) next.set(name, bytes)
    const rendered = layout.render(next)
    change[column] =
      typeof work.state[column] === 'string' ? Buffer.from(rendered).toString('utf8') : rendered
  }
  return change
}
