import { checkExpression } from './checker.ts'
import { parseExpression } from './parser.ts'
import { SourceText } from './source-text.ts'

/** The bytes that a MAC covers, made from the parts of one value and `aad`. */
export type MacInput = {
  /** Without `aad`. */
  readonly partNames: ReadonlySet<string>
  readonly takesAad: boolean
  /**
   * The bytes in pieces, so that nothing as long as the value is copied.
   * @param part the parts of the value, and `aad`
   */
  pieces(part: (name: string) => Uint8Array | bigint | undefined): readonly Uint8Array[]
}

/** @throws LAYOUT_INVALID with the line, a caret under the place, and in the hint what to write instead */
export function compileMacInput(source: string): MacInput {
  const text = new SourceText('mac', source)
  const { sequence, parts } = checkExpression(text, parseExpression(text))
  return {
    partNames: new Set([...parts].filter((name) => name !== 'aad')),
    takesAad: parts.has('aad'),
    pieces: (part) => sequence.pieces({ part, cell: noColumn, newCell: noColumn }),
  }
}

function noColumn(): never {
  throw new TypeError('a mac has no columns')
}
