import type { Secret } from '../../core/secret.ts'

/** One version of a key that is tried. */
export type TrialKey = {
  readonly name: string
  readonly version: number
  readonly material: Secret
}

export function subjectOf({ name, version }: Pick<TrialKey, 'name' | 'version'>): string {
  return `${name}@${version}`
}

/** `certain`: a known key opens it. `likely`: a mark, or a shape that only sealed values have. `possible`: random bytes. */
export type Confidence = 'certain' | 'likely' | 'possible'

/**
 * `key`: sealed directly under the key. `wrapped-key`: under the key lies a key, which may open values that nobody
 * declared. `below`: sealed under a wrapped key of the same record. `unknown`: nothing opens it.
 */
export type Level = 'key' | 'wrapped-key' | 'below' | 'unknown'

/** Values that look sealed, or are, where no envelope declares any. Holds no part of a value. */
export type Find = {
  readonly store: string
  readonly table: string
  /** One column, or those over which the parts of a value are spread. */
  readonly columns: readonly string[]
  /** About how many records there are; undefined when counting is expensive. */
  readonly records: bigint | undefined
  /** Values that were looked at. */
  readonly looked: number
  /** What they look like, in words. */
  readonly looks: string
  /** Of the values that were looked at, how many each version opens, by NAME@VERSION. */
  readonly opens: Readonly<Record<string, number>>
  readonly level: Level
  readonly confidence: Confidence
  /** The declared envelope whose wrapped key opens it: `value` of that envelope is where it belongs. */
  readonly belongsTo: string | undefined
  /** Lines for kvx.yaml below `envelopes:`, or undefined when nobody can tell how it is laid out. */
  readonly declaration: string | undefined
  /** What to know before it is declared. */
  readonly notes: readonly string[]
}

/** A store, or a table of it, that could not be looked at, and why. */
export type Unseen = { readonly store: string; readonly table: string | undefined; readonly reason: string }

export type Discovery = {
  readonly finds: readonly Find[]
  readonly unseen: readonly Unseen[]
  readonly tables: number
  readonly records: number
}
