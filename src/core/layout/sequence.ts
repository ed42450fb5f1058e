import type { KvxError } from '../errors.ts'
import {
  between,
  counted,
  further,
  joined,
  leastOf,
  unlike,
  type Field,
  type Found,
  type Where,
} from './field.ts'
import type { SourceText, Span } from './source-text.ts'
import type { Alphabet } from './text-codecs.ts'
import { made, mismatch, type Source } from './values.ts'

/** Fields one after the other, which fill their bytes exactly. */
export type Sequence = {
  /** The sum of the lengths when every field has one. */
  readonly fixed: number | undefined
  readonly least: number
  readonly place: string
  /** The bytes that every value begins with, where the first field is a literal. */
  readonly prefix: Uint8Array | undefined
  /** Of one document: whether it has the constants that tell a sealed one from any other. */
  readonly marks: ((bytes: Uint8Array) => boolean) | undefined
  /** Of one open field of text: the bytes that it can hold. */
  readonly holds: Alphabet | undefined
  read(bytes: Uint8Array, where: Where, found: Found): void
  /** Of one field its own bytes, of several a buffer of theirs alone. */
  write(source: Source): Uint8Array
  readonly joins: boolean
  /** What `write` joins: for those who take the bytes one after the other. */
  pieces(source: Source): readonly Uint8Array[]
}

/** Answers where the field that begins at `start` ends; beyond the bytes when they are too few. */
type End = (bytes: Uint8Array, start: number) => number

type Step = { readonly field: Field; readonly end: End; readonly delimiter: Uint8Array | undefined }

/**
 * Decides for each field how its end is found, in one pass over the value.
 * @param spans where each field stands in the source, for errors
 * @throws LAYOUT_INVALID when the end of a field can't be known
 */
export function sequenceOf(fields: readonly Field[], spans: readonly Span[], source: SourceText): Sequence {
  const sizes = fields.map((field) => field.size)
  const fixed = sizes.every((size) => size.kind === 'fixed')
    ? sizes.reduce((sum, size) => sum + leastOf(size), 0)
    : undefined
  const span = { start: spans[0]?.start ?? 0, end: spans.at(-1)?.end ?? 0 }
  const place = source.slice(span)
  const steps = source.kind === 'layout' ? fields.map((_, at) => stepAt({ fields, spans, source }, at)) : []
  return {
    fixed,
    least: sizes.reduce((sum, size) => sum + leastOf(size), 0),
    place,
    prefix: fields[0]?.literal,
    marks: fields.length === 1 ? fields[0]?.marks : undefined,
    holds: fields.length === 1 ? alphabetOf(fields[0]) : undefined,
    read: (bytes, where, found) => {
      if (fixed !== undefined && bytes.length !== fixed) {
        throw unlike(place, where, `${counted(bytes.length, 'byte')} stand there, ${fixed} are described`)
      }
      readSteps(steps, bytes, { place, where, found })
    },
    joins: fields.length > 1,
    pieces: (values) => fields.map((field) => field.write(values)),
    write: (values) => {
      const pieces = fields.map((field) => field.write(values))
      steps.forEach((step, at) => checkDelimiter(step, pieces[at]))
      return pieces.length === 1 ? joined(pieces) : made(values, joined(pieces))
    },
  }
}

function alphabetOf(field: Field | undefined): Alphabet | undefined {
  const size = field?.size
  return size?.kind === 'open' && typeof size.holds !== 'string' ? size.holds : undefined
}

type Reading = { readonly place: string; readonly where: Where; readonly found: Found }

function readSteps(steps: readonly Step[], bytes: Uint8Array, { place, where, found }: Reading): void {
  let at = 0
  for (const { field, end } of steps) {
    const to = end(bytes, at)
    const least = at + leastOf(field.size)
    if (to > bytes.length || least > bytes.length) {
      throw unlike(field.place, further(where, at), 'the value ends too early')
    }
    if (least > to) throw unlike(field.place, further(where, at), 'something else stands there')
    if (field.take === undefined) field.read(cut(bytes, at, to), further(where, at), found)
    else field.take(bytes, at, to, found)
    at = to
  }
  if (at < bytes.length) {
    const rest = counted(bytes.length - at, 'byte')
    throw unlike(place, further(where, at), `${rest} more than is described`)
  }
}

function cut(bytes: Uint8Array, from: number, to: number): Uint8Array {
  return from === 0 && to === bytes.length ? bytes : between(bytes, from, to)
}

type Compiling = {
  readonly fields: readonly Field[]
  readonly spans: readonly Span[]
  readonly source: SourceText
}

function stepAt(compiling: Compiling, at: number): Step {
  const field = fieldAt(compiling, at)
  const { size } = field
  if (size.kind === 'fixed') return { field, end: (_, start) => start + size.bytes, delimiter: undefined }
  if (size.kind === 'self') {
    return { field, end: (bytes, start) => start + size.extent(bytes.subarray(start)), delimiter: undefined }
  }
  const behind = compiling.fields.slice(at + 1)
  if (behind.every((each) => each.size.kind === 'fixed')) {
    const tail = behind.reduce((sum, each) => sum + leastOf(each.size), 0)
    return { field, end: (bytes, start) => Math.max(start, bytes.length - tail), delimiter: undefined }
  }
  if (size.extent !== undefined) {
    return {
      field,
      end: (bytes, start) => start + (size.extent?.(bytes.subarray(start)) ?? 0),
      delimiter: undefined,
    }
  }
  const delimiter = behind[0]?.literal
  const first = delimiter?.[0]
  if (delimiter === undefined || first === undefined) throw endless(compiling, at)
  if (size.holds === 'text') {
    return { field, end: (bytes, start) => indexOf(bytes, delimiter, start), delimiter }
  }
  const { holds } = size
  if (holds === 'anything' || holds[first] === 1) throw swallowing(compiling, at)
  return { field, end: (bytes, start) => endOfRun(bytes, start, holds), delimiter: undefined }
}

function fieldAt({ fields }: Compiling, at: number): Field {
  const field = fields[at]
  if (field === undefined) throw new TypeError('there is no such field')
  return field
}

function endOfRun(bytes: Uint8Array, start: number, alphabet: Uint8Array): number {
  let at = start
  while (at < bytes.length && alphabet[bytes[at] ?? 0] === 1) at++
  return at
}

/** The start of the delimiter, or the end of the bytes where there is none: reading it then fails. */
function indexOf(bytes: Uint8Array, delimiter: Uint8Array, start: number): number {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const at = view.indexOf(delimiter, start)
  return at === -1 ? bytes.length : at
}

/** Text before a delimiter must not bring that delimiter along: reading would end it there. */
function checkDelimiter({ field, delimiter }: Step, piece: Uint8Array | undefined): void {
  if (delimiter === undefined || piece === undefined) return
  if (indexOf(joined([piece, delimiter]), delimiter, 0) === piece.length) return
  throw mismatch(`the new bytes of ${field.place} contain the delimiter that follows it`)
}

/** An open field is followed by another one, directly or behind fields of fixed length. */
function endless({ fields, spans, source }: Compiling, at: number): KvxError {
  const other = fields.findIndex((field, index) => index > at && field.size.kind !== 'fixed')
  const here = source.slice(spans[at] ?? { start: 0, end: 0 })
  const there = source.slice(spans[other] ?? { start: 0, end: 0 })
  const close = other === at + 1 ? 'stand next to each other' : 'have no delimiter between them'
  return source.error(
    spans[other] ?? { start: 0, end: 0 },
    `${here} and ${there} ${close} and neither has a length, so nobody can tell where ${here} ends`,
    `give one of them its length, e.g. tag:16, or put the delimiter that the value has behind ${here}`,
  )
}

function swallowing({ fields, spans, source }: Compiling, at: number): KvxError {
  const here = source.slice(spans[at] ?? { start: 0, end: 0 })
  const delimiter = fieldAt({ fields, spans, source }, at + 1).place
  return source.error(
    spans[at] ?? { start: 0, end: 0 },
    `${here} can itself hold the bytes of ${delimiter}, so nobody can tell where it ends`,
    `give it its length, e.g. ct:32, or the encoding that it has: hex(…), or utf8(…) for a text without ${delimiter}`,
  )
}
