import type { KvxError } from '../errors.ts'
import type { Alphabet } from './text-codecs.ts'
import { mismatch, type Source } from './values.ts'

/**
 * How long a field is:
 * `fixed` by its description, `self` because it says so in its first bytes, `open` because something else must
 * end it. An open field holds bytes of an alphabet, text that stops before what follows it, or any bytes.
 */
export type Size =
  | { readonly kind: 'fixed'; readonly bytes: number }
  | {
      readonly kind: 'self'
      readonly least: number
      /** The length of the field that `bytes` begin with, as far as they can tell. */
      extent(bytes: Uint8Array): number
    }
  | {
      readonly kind: 'open'
      readonly least: number
      readonly holds: Alphabet | 'text' | 'anything'
      /** For a field that shows its own end, wherever nothing behind it has to. */
      extent?(bytes: Uint8Array): number
    }

/** Where in a value one looks: at `offset`, or `inner` bytes into what `layer` at `offset` decodes to. */
export type Where = { readonly offset: number; readonly layer?: string; readonly inner: number }

export const startOfValue: Where = { offset: 0, inner: 0 }

/** The first offsets of a value, made once: a place is passed for every field and read for errors alone. */
const offsets: readonly Where[] = Array.from({ length: 256 }, (_, offset) => ({ offset, inner: 0 }))

export function further(where: Where, bytes: number): Where {
  if (bytes === 0) return where
  if (where === startOfValue) return offsets[bytes] ?? { offset: bytes, inner: 0 }
  return where.layer === undefined
    ? { ...where, offset: where.offset + bytes }
    : { ...where, inner: where.inner + bytes }
}

/** Where the first byte is of what a layer decodes to. */
export function within(where: Where, layer: string): Where {
  return where.layer === undefined ? { offset: where.offset, layer, inner: 0 } : { ...where, layer, inner: 0 }
}

export type Found = Map<string, Uint8Array | bigint>

/** One item of an expression, ready to work. Layouts read and write, templates only write. */
export type Field = {
  /** The item as the operator wrote it. */
  readonly place: string
  readonly size: Size
  /** The bytes of a literal, which may end the field before it. */
  readonly literal?: Uint8Array
  /** Of a document: whether it has the constants that are described. */
  readonly marks?: (bytes: Uint8Array) => boolean
  /**
   * Takes exactly its own bytes and adds what it finds.
   * @throws LAYOUT_MISMATCH
   */
  read(bytes: Uint8Array, where: Where, found: Found): void
  /** The same for bytes between others, of a field that keeps them and never refuses any. */
  readonly take?: (bytes: Uint8Array, from: number, to: number, found: Found) => void
  /** @throws LAYOUT_MISMATCH */
  write(source: Source): Uint8Array
}

/** LAYOUT_MISMATCH with the place in the layout and the offset in the value, and nothing of the value. */
export function unlike(place: string, where: Where, reason: string): KvxError {
  const spot =
    where.layer === undefined
      ? `offset ${where.offset}`
      : `byte ${where.inner} of what ${where.layer} at offset ${where.offset} decodes to`
  return mismatch(`the value does not match ${place} at ${spot}: ${reason}`, {
    place,
    offset: where.offset,
    ...(where.layer === undefined ? {} : { layer: where.layer, inner: where.inner }),
  })
}

/** Bytes between others, as a view: a copy is more than twice as much for the collector, and one more to wipe. */
export function between(bytes: Uint8Array, from: number, to: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + from, to - from)
}

/** The least number of bytes of a field. */
export function leastOf(size: Size): number {
  return size.kind === 'fixed' ? size.bytes : size.least
}

export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const [only] = pieces
  if (only !== undefined && pieces.length === 1) return only
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at])
}

export function counted(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`
}
