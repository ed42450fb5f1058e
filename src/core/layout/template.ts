import { checkExpression } from './checker.ts'
import { parseExpression } from './parser.ts'
import { SourceText } from './source-text.ts'
import type { Value } from './values.ts'

/** Bytes that are made from columns and parts: the `aad` of an envelope and the like. */
export type Template = {
  readonly source: string
  /** The columns of `{name}`. */
  readonly columns: ReadonlySet<string>
  /** The columns of `{name'}`. */
  readonly newColumns: ReadonlySet<string>
  readonly partNames: ReadonlySet<string>
  /**
   * Text becomes UTF-8, bytes stay as they are, integers become decimal text unless a function says otherwise.
   * @throws LAYOUT_MISMATCH that names the column or part which is null, missing or of another type
   */
  render(context: TemplateContext): Uint8Array
}

export type TemplateContext = {
  /** The column as the store holds it. */
  cell(name: string): Value
  /** The column as it will be when the value is written. */
  newCell(name: string): Value
  /** A part of the value that is opened or sealed. */
  part?(name: string): Uint8Array | bigint | undefined
}

/** @throws LAYOUT_INVALID with the line, a caret under the place, and in the hint what to write instead */
export function compileTemplate(source: string): Template {
  const text = new SourceText('template', source)
  const { sequence, parts, columns, newColumns } = checkExpression(text, parseExpression(text))
  return {
    source,
    columns,
    newColumns,
    partNames: parts,
    render(context) {
      const bytes = sequence.write({
        cell: (name) => context.cell(name),
        newCell: (name) => context.newCell(name),
        // Names with # are the frames of layouts: a template has none.
        part: (name) => (name.startsWith('#') ? undefined : context.part?.(name)),
      })
      return sequence.joins ? bytes : new Uint8Array(bytes)
    },
  }
}
