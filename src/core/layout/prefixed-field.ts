import { further, joined, unlike, type Field } from './field.ts'
import type { Sequence } from './sequence.ts'
import { made, mismatch } from './values.ts'
import { isShortest, varintIn, varintOf } from './varint.ts'

/** How a length is written before the bytes that it counts. */
export type LengthPrefix = {
  /** The length and how many bytes say it; undefined where they are too few. */
  read(bytes: Uint8Array): { readonly length: number; readonly width: number } | undefined
  /** Undefined for a length that it can't say. */
  write(length: number): Uint8Array | undefined
}

function fixedPrefix(width: 1 | 2 | 4, order: 'be' | 'le'): LengthPrefix {
  return {
    read(bytes) {
      if (bytes.length < width) return undefined
      const prefix = Array.from(bytes.subarray(0, width))
      const digits = order === 'be' ? prefix : prefix.toReversed()
      return { length: digits.reduce((sum, byte) => sum * 256 + byte, 0), width }
    },
    write(length) {
      if (length >= 2 ** (8 * width)) return undefined
      const prefix = Buffer.alloc(width)
      if (order === 'be') prefix.writeUIntBE(length, 0, width)
      else prefix.writeUIntLE(length, 0, width)
      return prefix
    },
  }
}

const varintPrefix: LengthPrefix = {
  read(bytes) {
    const found = varintIn(bytes)
    return found && { length: Number(found.value), width: found.width }
  },
  write: (length) => varintOf(BigInt(length)),
}

export const lengthPrefixes = {
  lp8: fixedPrefix(1, 'be'),
  lp16: fixedPrefix(2, 'be'),
  lp32: fixedPrefix(4, 'be'),
  lp16le: fixedPrefix(2, 'le'),
  lp32le: fixedPrefix(4, 'le'),
  lpv: varintPrefix,
} as const

/** `lp16(…)` and its kind: the length, then the bytes. */
export function prefixedField(place: string, prefix: LengthPrefix, inner: Sequence): Field {
  return {
    place,
    size: sizeOf(prefix, inner),
    read(value, where, found) {
      const said = prefix.read(value)
      if (said === undefined || said.length !== value.length - said.width) {
        const length = value.length - (said?.width ?? 0)
        throw unlike(place, where, `the length prefix does not say ${length}`)
      }
      if (prefix === varintPrefix && !isShortest(value.subarray(0, said.width))) {
        throw unlike(place, where, 'the length prefix is not in its shortest spelling')
      }
      inner.read(value.subarray(said.width), further(where, said.width), found)
    },
    write(source) {
      const bytes = inner.write(source)
      const said = prefix.write(bytes.length)
      if (said === undefined) throw mismatch(`${place} can't hold ${bytes.length} bytes`)
      return made(source, joined([said, bytes]))
    },
  }
}

function sizeOf(prefix: LengthPrefix, inner: Sequence): Field['size'] {
  const least = (prefix.write(inner.least)?.length ?? 0) + inner.least
  if (inner.fixed !== undefined) return { kind: 'fixed', bytes: least }
  return {
    kind: 'self',
    least,
    extent(bytes) {
      const said = prefix.read(bytes)
      return said === undefined ? bytes.length + 1 : said.width + said.length
    },
  }
}
