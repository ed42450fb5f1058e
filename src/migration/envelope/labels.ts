import { isKvxError, KvxError } from '../../core/errors.ts'
import type { Derivation } from '../../core/layout/derivation.ts'
import type { Layout } from '../../core/layout/layout.ts'
import type { Cell } from '../../stores/store.ts'
import type { KeyBook } from './key-book.ts'

/**
 * What a value or a column says of the version that it needs. `foreign`: it says something that this declaration
 * has no version for. Undefined: it says nothing.
 */
export type Label = number | 'foreign' | undefined

/** How an application names the versions of its key. */
export type VersionNames =
  | { readonly kind: 'names'; readonly byVersion: ReadonlyMap<number, string> }
  | { readonly kind: 'key'; readonly of: Derivation }

/** The part `keyid` of a value. */
export type ValueLabel = VersionNames

/** A column of the record. */
export type ColumnLabel = {
  readonly column: string
  readonly kind: 'number' | 'layout' | 'names'
  readonly layout: Layout | undefined
  readonly names: VersionNames | undefined
}

/** Which version a name stands for. */
export function versionOfName(names: VersionNames, name: Uint8Array, book: KeyBook): Label {
  const wanted = Buffer.from(name)
  for (const version of names.kind === 'names' ? names.byVersion.keys() : book.versions) {
    if (wanted.equals(nameOfVersion(names, version, book))) return version
  }
  return 'foreign'
}

/** @throws CONFIG_INVALID for a version that has no name yet */
export function nameOfVersion(names: VersionNames, version: number, book: KeyBook): Buffer {
  if (names.kind === 'key') return book.nameOf(version, names.of)
  const name = names.byVersion.get(version)
  if (name !== undefined) return Buffer.from(name, 'utf8')
  throw new KvxError('CONFIG_INVALID', `there is no name for version ${version} of ${book.name}`, {
    hint: `Say under \`names\` what the application calls it: \`${version}: NAME\`. Nothing was changed.`,
  })
}

export function readColumnLabel(label: ColumnLabel, cell: Cell, book: KeyBook): Label {
  if (cell === null) return undefined
  if (label.kind === 'number') return readNumber(cell)
  const bytes = bytesOf(cell)
  if (bytes === undefined) return 'foreign'
  if (label.names !== undefined) return versionOfName(label.names, bytes, book)
  try {
    const version = label.layout?.parse(bytes).get('version')
    return typeof version === 'bigint' ? asVersion(version) : 'foreign'
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_MISMATCH')) return 'foreign'
    throw error
  }
}

function readNumber(cell: Exclude<Cell, null>): Label {
  if (typeof cell === 'bigint' || typeof cell === 'number') return Number(cell)
  return typeof cell === 'string' && /^\d{1,9}$/.test(cell) ? Number(cell) : 'foreign'
}

/** A number of the layout as a version; those that no keyring has are as foreign as text. */
export function asVersion(value: bigint): Label {
  return value >= 0n && value <= 0xffff_ffffn ? Number(value) : 'foreign'
}

/** The column's cell for a version, of the type that it has. */
export function writeColumnLabel(label: ColumnLabel, before: Cell, version: number, book: KeyBook): Cell {
  if (label.kind === 'number') return typeof before === 'string' ? String(version) : BigInt(version)
  const bytes =
    label.names === undefined ? rendered(label, before, version) : nameOfVersion(label.names, version, book)
  return before instanceof Uint8Array ? bytes : Buffer.from(bytes).toString('utf8')
}

function rendered({ layout }: ColumnLabel, before: Cell, version: number): Uint8Array {
  if (layout === undefined) throw new TypeError('a label of this kind has a layout')
  const bytes = before === null ? undefined : bytesOf(before)
  const parts = bytes === undefined ? new Map<string, Uint8Array | bigint>() : layout.parse(bytes)
  return layout.render(new Map(parts).set('version', BigInt(version)))
}

/** Text columns are UTF-8; integers are their decimal text. Reals hold nothing that could be read. */
export function bytesOf(cell: Exclude<Cell, null>): Uint8Array | undefined {
  if (typeof cell === 'string') return Buffer.from(cell, 'utf8')
  if (typeof cell === 'bigint') return Buffer.from(String(cell))
  return cell instanceof Uint8Array ? cell : undefined
}
