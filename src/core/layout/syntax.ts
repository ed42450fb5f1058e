import type { Span } from './source-text.ts'

/** `nonce:12`, `dek.ct`. */
export type PartNode = Span & {
  readonly kind: 'part'
  readonly name: string
  readonly length: number | undefined
}

/** `"text"` or `0x01`. */
export type LiteralNode = Span & { readonly kind: 'literal'; readonly bytes: Uint8Array }

/** `{name}`, or `{name'}` for the value that the column will have. */
export type ColumnNode = Span & { readonly kind: 'column'; readonly name: string; readonly fresh: boolean }

/** A decimal number: an argument of a function, or a member of a JSON object. */
export type NumberNode = Span & { readonly kind: 'number'; readonly value: bigint }

/** `hex(ct)`. `named` arguments are for key derivation: `hkdf-sha256(salt="", info="v1")`. */
export type CallNode = Span & {
  readonly kind: 'call'
  readonly name: string
  readonly nameSpan: Span
  readonly args: readonly Argument[]
}

export type Argument = Span & { readonly name: string | undefined; readonly value: SequenceNode }

/**
 * `{"member": …, ...}` inside `json(…)`, `{1: …, ...}` inside `proto(…)`; `open` when other members are allowed.
 */
export type ObjectNode = Span & {
  readonly kind: 'object'
  readonly members: readonly Member[]
  readonly open: boolean
}

/** `name` is a text, or the number of a field. */
export type Member = Span & { readonly name: string | number; readonly value: SequenceNode }

/** `[…, ...]` inside `json(…)`: elements by position; `open` when more may follow. */
export type ArrayNode = Span & {
  readonly kind: 'array'
  readonly elements: readonly SequenceNode[]
  readonly open: boolean
}

export type ItemNode = PartNode | LiteralNode | ColumnNode | NumberNode | CallNode | ObjectNode | ArrayNode

/** Items one after the other. */
export type SequenceNode = Span & { readonly items: readonly ItemNode[] }
