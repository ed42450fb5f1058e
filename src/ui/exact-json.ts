type Exact = typeof JSON & {
  /** A value that `JSON.stringify` writes as exactly this text (ECMAScript 2026; in every Node that kvx runs on). */
  rawJSON(text: string): object
}

type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown

/** Digits that a double may not hold, or a form that JavaScript writes in another way: `1.50`, `1E2`, `-0`. */
const mayChange = /\d{16}|\d[.eE]|-0/

const keep: Reviver = (_key, value, { source }) =>
  typeof value === 'number' && source !== undefined && String(value) !== source
    ? (JSON as Exact).rawJSON(source)
    : value

/**
 * Parses JSON so that `JSON.stringify` writes every number as it stood: one over 2^53 is not rounded, `1.50` keeps
 * its zero, and `1e400` does not become null.
 */
export function parseExact(text: string): unknown {
  if (!mayChange.test(text)) return JSON.parse(text) as unknown
  return JSON.parse(text, keep as (key: string, value: unknown) => unknown) as unknown
}
