import { alternatives } from './alternatives.ts'
import { checkExpression, type Checked } from './checker.ts'
import { joined, startOfValue, type Found } from './field.ts'
import { parseAlternatives } from './parser.ts'
import { SourceText } from './source-text.ts'
import type { Parts, Source } from './values.ts'

/** How the bytes of a value are laid out. `docs/layouts.md` is the reference of the language. */
export type Layout = {
  readonly source: string
  /** The parts that `parse` finds, `dek.` ones included. */
  readonly partNames: ReadonlySet<string>
  /** The length of every value in bytes, where the layout allows one only. */
  readonly fixedLength: number | undefined
  /**
   * False for a value that does not begin with the literal that the layout begins with: it was never sealed so.
   * True where the layout begins with something else, since only parsing tells then.
   */
  hasPrefix(bytes: Uint8Array): boolean
  /**
   * Whether a document has the constants that the layout describes, whatever else is in it: then it was sealed so,
   * and one that does not parse is damaged. Undefined for a layout without any.
   */
  readonly marks: ((bytes: Uint8Array) => boolean) | undefined
  /**
   * Takes a value apart, in one pass. `render(parse(value))` gives the same bytes again.
   * Parts that lie in the value as they are stay there: they are views on `bytes`, and change with them.
   * @throws LAYOUT_MISMATCH that names the place in the layout and the offset in the value, and no byte of it
   */
  parse(bytes: Uint8Array): Parts
  /**
   * Puts a value together. Take the parts of an old value and replace what is new: the rest of the value,
   * bytes of `skip` and other members of JSON, then stays as it was.
   * @throws LAYOUT_MISMATCH when a part is missing or does not fit
   */
  render(parts: Parts): Uint8Array
  /**
   * The bytes that `header(…)` marks, as they will stand in the value that these parts give; undefined for a
   * layout without one. They are authenticated: take them after the nonce was replaced.
   * @throws LAYOUT_MISMATCH when a part is missing or does not fit
   */
  header(parts: Parts): Uint8Array | undefined
}

/** @throws LAYOUT_INVALID with the line, a caret under the place, and in the hint what to write instead */
export function compileLayout(source: string): Layout {
  const text = new SourceText('layout', source)
  const nodes = parseAlternatives(text)
  const layouts = nodes.map((node) => oneLayout(source, checkExpression(text, node)))
  const [first, second] = layouts
  if (first === undefined || second === undefined) return first ?? nowhere()
  const odd = layouts.findIndex(({ partNames }) => {
    return (
      partNames.size !== first.partNames.size || [...partNames].some((name) => !first.partNames.has(name))
    )
  })
  if (odd === -1) return alternatives(source, layouts)
  const names = [...first.partNames].join(', ')
  const message = `this alternative has other parts than the first one, which has ${names}`
  throw text.error(nodes[odd] ?? { start: 0, end: 0 }, message, 'name the same parts in every alternative')
}

function oneLayout(source: string, { sequence, parts, header }: Checked): Layout {
  return {
    source,
    partNames: parts,
    fixedLength: sequence.fixed,
    hasPrefix: (bytes) => sequence.prefix === undefined || startsWith(bytes, sequence.prefix),
    marks: sequence.marks,
    parse(bytes) {
      const found: Found = new Map()
      sequence.read(bytes, startOfValue, found)
      return found
    },
    render(values) {
      const bytes = sequence.write(sourceOf(values))
      return sequence.joins ? bytes : new Uint8Array(bytes)
    },
    header(values) {
      const source = sourceOf(values)
      return header && new Uint8Array(joined(header.map((field) => field.write(source))))
    },
  }
}

function sourceOf(values: Parts): Source {
  return { part: (name) => values.get(name), cell: noColumn, newCell: noColumn }
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return prefix.every((byte, index) => bytes[index] === byte)
}

function noColumn(): never {
  throw new TypeError('a layout has no columns')
}

function nowhere(): never {
  throw new TypeError('a layout has at least one alternative')
}
