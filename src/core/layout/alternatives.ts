import { KvxError, isKvxError } from '../errors.ts'
import type { Layout } from './layout.ts'
import type { Parts } from './values.ts'

/** Where a value's parts remember which alternative read it. */
const remembered = '#alternative'

/**
 * `A | B`: a value has the layout of the first alternative that reads it, and is written in the same one again.
 * What was never read is written in the first.
 */
export function alternatives(source: string, layouts: readonly Layout[]): Layout {
  const [first] = layouts
  if (first === undefined) throw new TypeError('there is at least one alternative')
  const chosen = (parts: Parts): Layout => layouts[Number(parts.get(remembered) ?? 0n)] ?? first
  return {
    source,
    partNames: first.partNames,
    fixedLength: layouts.every((each) => each.fixedLength === first.fixedLength)
      ? first.fixedLength
      : undefined,
    hasPrefix: (bytes) => layouts.some((each) => each.hasPrefix(bytes)),
    marks: layouts.every(({ marks }) => marks !== undefined)
      ? (bytes) => layouts.some(({ marks }) => marks?.(bytes) === true)
      : undefined,
    parse: (bytes) => firstThatReads(layouts, bytes),
    render: (parts) => chosen(parts).render(parts),
    header: (parts) => chosen(parts).header(parts),
  }
}

function firstThatReads(layouts: readonly Layout[], bytes: Uint8Array): Parts {
  const errors: KvxError[] = []
  for (const [at, layout] of layouts.entries()) {
    try {
      return new Map([...layout.parse(bytes), [remembered, BigInt(at)]])
    } catch (error) {
      if (!isKvxError(error, 'LAYOUT_MISMATCH')) throw error
      errors.push(error)
    }
  }
  const furthest = errors.toSorted((one, other) => offsetOf(other) - offsetOf(one))[0]
  throw new KvxError(
    'LAYOUT_MISMATCH',
    `none of the ${layouts.length} alternatives: ${furthest?.message ?? ''}`,
    { details: furthest?.details ?? {} },
  )
}

function offsetOf({ details }: KvxError): number {
  const { offset } = details
  return typeof offset === 'number' ? offset : 0
}
