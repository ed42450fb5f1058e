import { multiply, valueOf } from './gf32.ts'

/**
 * The BCH code of BIP-93 (codex32): 13 check characters that show any 8 wrong ones and mend 4, or 8 unreadable.
 *
 * BIP-93 writes the residue as a number of 65 bits; here it is a shift register of 13 values of GF(32), since a
 * bigint with share text in it could never be wiped.
 */
export const checkLength = 13

// The first of BIP-93's five constants. The others are its products with 2, 4, 8 and 16.
const generator = 0x19dc500ce73fde210n

const feedback: readonly Uint8Array[] = Array.from({ length: 32 }, (_, top) =>
  Uint8Array.from({ length: checkLength }, (_, place) => {
    const coefficient = Number((generator >> BigInt(5 * (checkLength - 1 - place))) & 31n)
    return multiply(coefficient, top)
  }),
)

/** Feeds values into a residue, which is changed in place. */
export function feed(residue: Uint8Array, values: Iterable<number>): void {
  for (const value of values) {
    const reduction = feedback[residue[0] ?? 0] ?? new Uint8Array(checkLength)
    for (let place = 0; place < checkLength - 1; place++) {
      residue[place] = (residue[place + 1] ?? 0) ^ (reduction[place] ?? 0)
    }
    residue[checkLength - 1] = value ^ (reduction[checkLength - 1] ?? 0)
  }
}

/** The residue after the human-readable part, expanded as in bech32, from the start value 1. */
export function residueAfterPrefix(prefix: string): Uint8Array {
  const codes = [...Buffer.from(prefix)]
  const residue = new Uint8Array(checkLength)
  residue[checkLength - 1] = 1
  feed(residue, [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31)])
  return residue
}

/** 13 characters as values. */
export function wordOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text), valueOf)
}

const starts = { kvx: residueAfterPrefix('kvx'), kvxtest: residueAfterPrefix('kvxtest') } as const
/** What stands before the 1 of a text: `kvxtest` in a rehearsal, so that no reader of shares takes it. */
export type SharePrefix = keyof typeof starts
// A target of kvx's own: a codex32 tool refuses a share of kvx, and kvx a string of codex32.
const kvxTarget = wordOf('keksharekvx32')

/** What is left of data and checksum together: 13 zeros where nothing was changed. It depends on the changes alone. */
export function syndromeOf(values: Uint8Array, prefix: SharePrefix = 'kvx'): Uint8Array {
  const residue = starts[prefix].slice()
  feed(residue, values)
  return residue.map((value, place) => value ^ (kvxTarget[place] ?? 0))
}

/** The 13 check values that follow `data`. */
export function checksumOf(data: Uint8Array, prefix: SharePrefix = 'kvx'): Uint8Array {
  const residue = starts[prefix].slice()
  feed(residue, data)
  feed(residue, new Uint8Array(checkLength))
  return residue.map((value, place) => value ^ (kvxTarget[place] ?? 0))
}

/** What one wrong value adds to the syndrome: `value` at a place with `after` characters behind it. */
export function errorPattern(value: number, after: number): Uint8Array {
  const residue = new Uint8Array(checkLength)
  feed(residue, [value])
  feed(residue, new Uint8Array(after))
  return residue
}
