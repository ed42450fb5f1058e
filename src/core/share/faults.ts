import { KvxError } from '../errors.ts'

/** Why a text is no share; stands in `details.fault` of the error. */
export type ShareFault =
  | 'REHEARSAL'
  | 'PREFIX'
  | 'LENGTH'
  | 'CHARSET'
  | 'UNREADABLE'
  | 'CHECKSUM'
  | 'VERSION'
  | 'FIELD'
  | 'PADDING'

/** Where a character stands on a card: 4 lines of 6, 6, 6 and 4 groups of 4. All count from 1. */
export type Place = { readonly line: number; readonly group: number; readonly character: number }

/** The place of a character of the share text, which counts from 0 with its prefix. */
export function placeOf(index: number): Place {
  return {
    line: Math.floor(index / 24) + 1,
    group: Math.floor((index % 24) / 4) + 1,
    character: (index % 4) + 1,
  }
}

/** `line 2, group 5`; each group once. */
export function describeGroups(indices: readonly number[]): string {
  const groups = indices.map(placeOf).map(({ line, group }) => `line ${line}, group ${group}`)
  return [...new Set(groups)].join(' and ')
}

/** A refusal of a share: a code, a place, never its text. */
export function shareFault(
  fault: ShareFault,
  message: string,
  more: { readonly hint?: string; readonly at?: readonly number[] } = {},
): KvxError {
  const places = (more.at ?? []).map(placeOf)
  const [first] = places
  return new KvxError('DAMAGED', message, {
    hint: more.hint ?? 'read the card again and enter the share once more',
    details: {
      fault,
      ...(first === undefined ? {} : { line: first.line, group: first.group }),
      ...(places.length === 0
        ? {}
        : { places: [...new Set(places.map(({ line, group }) => `${line}.${group}`))] }),
    },
  })
}

/** The fault of an error of this folder, or undefined for others. */
export function shareFaultOf(error: unknown): ShareFault | undefined {
  if (!(error instanceof KvxError)) return undefined
  const { fault } = error.details
  return faults.find((known) => known === fault)
}

const faults: readonly ShareFault[] = [
  'REHEARSAL',
  'PREFIX',
  'LENGTH',
  'CHARSET',
  'UNREADABLE',
  'CHECKSUM',
  'VERSION',
  'FIELD',
  'PADDING',
]
