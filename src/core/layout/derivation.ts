import type { Secret } from '../secret.ts'
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
