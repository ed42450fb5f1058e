import { further, joined, unlike, within, type Field } from './field.ts'
import type { Parameter } from './computed.ts'
import type { Sequence } from './sequence.ts'
import type { Alphabet } from './text-codecs.ts'
import { made } from './values.ts'

/** How a text is broken into lines. */
export type Lines = {
  readonly width: number
  readonly break: Uint8Array
  /** True when the last line ends with a break too. */
  readonly ended: boolean
}

/** What `lines` and `wrap` take. */
export const lineParameters: readonly Parameter[] = [
  { name: 'data', inOrder: true, otherwise: 'needed', takes: 'bytes' },
  { name: 'width', inOrder: true, otherwise: 'needed', takes: 'number', least: 1, most: 1024 },
  { name: 'break', inOrder: false, otherwise: 'none', takes: 'bytes' },
]

export const newLine = Uint8Array.of(0x0a)

/**
 * `lines(base64(ct), 60)`, as Ruby's `pack('m')` and PEM write: a break behind every line. `wrap(base64(ct), 76)`,
 * as MIME encoders write: a break between two lines.
 */
export function linesField(place: string, lines: Lines, inner: Sequence): Field {
  const size = (length: number): number => length + lines.break.length * breaksIn(lines, length)
  return {
    place,
    size:
      inner.fixed === undefined
        ? { kind: 'open', least: size(inner.least), holds: alphabetWith(inner, lines.break) }
        : { kind: 'fixed', bytes: size(inner.fixed) },
    read(value, where, found) {
      const text = unbroken(lines, value)
      const again = broken(lines, text)
      const at = again.findIndex((byte, index) => byte !== value[index])
      if (at !== -1 || again.length !== value.length) {
        const offset = at === -1 ? again.length : at
        throw unlike(place, further(where, offset), `the lines are not those of ${lines.width} characters`)
      }
      inner.read(text, within(where, place), found)
    },
    write: (source) => made(source, broken(lines, inner.write(source))),
  }
}

function breaksIn({ width, ended }: Lines, length: number): number {
  const count = Math.ceil(length / width)
  return ended ? count : Math.max(0, count - 1)
}

/** What the text and its breaks consist of; `anything` where that is not known. */
function alphabetWith(inner: Sequence, lineBreak: Uint8Array): Alphabet | 'anything' {
  if (inner.holds === undefined) return 'anything'
  const alphabet = Uint8Array.from(inner.holds)
  for (const byte of lineBreak) alphabet[byte] = 1
  return alphabet
}

function broken(lines: Lines, text: Uint8Array): Uint8Array {
  const pieces: Uint8Array[] = [new Uint8Array()]
  for (let at = 0; at < text.length; at += lines.width) {
    pieces.push(text.subarray(at, at + lines.width))
    if (lines.ended || at + lines.width < text.length) pieces.push(lines.break)
  }
  return joined(pieces)
}

/** The text without what stands in the place of its breaks. */
function unbroken({ width, break: lineBreak, ended }: Lines, value: Uint8Array): Uint8Array {
  const pieces: Uint8Array[] = [new Uint8Array()]
  const end = value.length - (ended ? lineBreak.length : 0)
  for (let at = 0; at < end; at += width + lineBreak.length) {
    pieces.push(value.subarray(at, Math.min(at + width, end)))
  }
  return joined(pieces)
}
