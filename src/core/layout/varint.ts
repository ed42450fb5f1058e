/** LEB128, the variable-length integers of protobuf and of Go's `binary.PutUvarint`. */
export type Varint = { readonly value: bigint; readonly width: number }

const widest = 10
const limit = 2n ** 64n

/** The integer that the bytes begin with, in any spelling of up to 10 bytes; undefined where there is none. */
export function varintIn(bytes: Uint8Array, start = 0): Varint | undefined {
  let value = 0n
  for (let width = 1; width <= widest; width++) {
    const byte = bytes[start + width - 1]
    if (byte === undefined) return undefined
    value |= BigInt(byte & 0x7f) << BigInt(7 * (width - 1))
    if (byte < 0x80) return value < limit ? { value, width } : undefined
  }
  return undefined
}

/** True for the spelling that has no byte too many. */
export function isShortest(bytes: Uint8Array): boolean {
  return bytes.length === 1 || bytes.at(-1) !== 0
}

/** The shortest spelling of an integer from 0 to 2^64-1. */
export function varintOf(value: bigint): Uint8Array {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}
