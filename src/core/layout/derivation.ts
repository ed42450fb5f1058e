import { Secret } from '../secret.ts'
import { checkExpression } from './checker.ts'
import { parseExpression } from './parser.ts'
import { SourceText } from './source-text.ts'
import type { Value } from './values.ts'

/** Bytes made from a key, and from columns and parts besides: `hkdf-sha256(salt="", info="app:v1")`. */
export type Derivation = {
  readonly source: string
  readonly columns: ReadonlySet<string>
  readonly newColumns: ReadonlySet<string>
  readonly partNames: ReadonlySet<string>
  /**
   * A new secret, which the caller wipes. What was made on the way is wiped.
   * @throws LAYOUT_MISMATCH that names the column or part which is null, missing or of another type
   */
  derive(context: DerivationContext): Secret
}

export type DerivationContext = {
  /** What `key` stands for. */
  readonly key: Secret
  cell(name: string): Value
  newCell(name: string): Value
  part(name: string): Uint8Array | bigint | undefined
}

/** @throws LAYOUT_INVALID with the line, a caret under the place, and in the hint what to write instead */
export function compileDerivation(source: string): Derivation {
  const text = new SourceText('derivation', source)
  const { sequence, parts, columns, newColumns } = checkExpression(text, parseExpression(text))
  return {
    source,
    columns,
    newColumns,
    partNames: parts,
    derive: (context) =>
      context.key.lend((key) => {
        const scratch: Uint8Array[] = []
        try {
          const bytes = sequence.write({
            cell: (name) => context.cell(name),
            newCell: (name) => context.newCell(name),
            part: (name) => (name === 'key' ? key : context.part(name)),
            made: (made) => scratch.push(made),
          })
          return Secret.copy(bytes)
        } finally {
          for (const made of scratch) made.fill(0)
        }
      }),
  }
}
