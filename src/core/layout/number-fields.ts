import { counted, unlike, type Field } from './field.ts'
import type { Operand } from './leaf-fields.ts'
import { alphabetOf, hex, isFault } from './text-codecs.ts'
import { integerOf, mismatch } from './values.ts'
import { isShortest, varintIn, varintOf } from './varint.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder('latin1')

function refuseNegative(name: string, value: bigint, place: string): void {
  if (value < 0n) throw mismatch(`${name} is negative, ${place} can't say that`)
}

/** How many bytes an integer has, and which comes first: the most significant one or the least. */
export type Width = { readonly bytes: 1 | 2 | 4 | 8; readonly order: 'be' | 'le' }

/** `u8`, `u16be`, `u32le`, …: an unsigned integer of a fixed number of bytes. */
export function fixedNumber(place: string, { bytes, order }: Width, operand: Operand): Field {
  const limit = 1n << BigInt(8 * bytes)
  const ordered = (number: Buffer): Buffer => (order === 'be' ? number : number.reverse())
  return {
    place,
    size: { kind: 'fixed', bytes },
    read(value, _where, found) {
      if (operand.part !== undefined)
        found.set(operand.part, BigInt(`0x${ordered(Buffer.from(value)).toString('hex')}`))
    },
    write(source) {
      const named = operand.value(source)
      const value = integerOf(named)
      refuseNegative(named.name, value, place)
      if (value >= limit)
        throw mismatch(`${named.name} is too large for the ${counted(bytes, 'byte')} of ${place}`)
      return Uint8Array.from(ordered(Buffer.from(value.toString(16).padStart(2 * bytes, '0'), 'hex')))
    },
  }
}

/** `uvarint`: LEB128, in the shortest spelling. */
export function varintField(place: string, operand: Operand): Field {
  return {
    place,
    size: {
      kind: 'self',
      least: 1,
      extent: (bytes) => varintIn(bytes)?.width ?? bytes.length + 1,
    },
    read(value, where, found) {
      const number = varintIn(value)
      if (number === undefined || !isShortest(value)) {
        throw unlike(place, where, 'this is no integer below 2^64 in its shortest spelling')
      }
      if (operand.part !== undefined) found.set(operand.part, number.value)
    },
    write(source) {
      const named = operand.value(source)
      const value = integerOf(named)
      refuseNegative(named.name, value, place)
      if (value < largest) return varintOf(value)
      throw mismatch(`${named.name} is 2^64 or more`)
    },
  }
}

const digits = alphabetOf('0123456789')
const largest = 2n ** 64n

/** `dec`: decimal digits without leading zeros, below 2^64. */
export function decimalNumber(place: string, operand: Operand): Field {
  return {
    place,
    size: { kind: 'open', least: 1, holds: digits },
    read(value, where, found) {
      const number = integerFrom(value)
      if (number === undefined)
        throw unlike(place, where, 'this is no decimal number below 2^64 without leading zeros')
      if (operand.part !== undefined) found.set(operand.part, number)
    },
    write(source) {
      const named = operand.value(source)
      const value = integerOf(named)
      refuseNegative(named.name, value, place)
      if (value >= largest) throw mismatch(`${named.name} is 2^64 or more`)
      return encoder.encode(String(value))
    },
  }
}

/** The integer of canonical decimal digits, or undefined. */
export function integerFrom(text: Uint8Array): bigint | undefined {
  if (text.length === 0 || text.length > 20 || text.some((code) => digits[code] !== 1)) return undefined
  if (text.length > 1 && text[0] === 0x30) return undefined
  const number = BigInt(decoder.decode(text))
  return number < largest ? number : undefined
}

const dashes = [8, 12, 16, 20]

/** 36 or 32 characters, in either case, to 16 bytes. */
function uuidOf(text: Uint8Array): Uint8Array | undefined {
  const lower = text.map((code) => (code >= 0x41 && code <= 0x46 ? code + 0x20 : code))
  const dashed = lower.length === 36 && dashes.every((at, index) => lower[at + index] === 0x2d)
  if (!dashed && lower.length !== 32) return undefined
  const bytes = hex.decode(dashed ? lower.filter((_, at) => ![8, 13, 18, 23].includes(at)) : lower)
  return isFault(bytes) ? undefined : bytes
}

function uuidText(bytes: Uint8Array): Uint8Array {
  const text = hex.encode(bytes)
  const cuts = [0, ...dashes, 32]
  const groups = cuts.slice(1).map((end, at) => decoder.decode(text.subarray(cuts[at], end)))
  return encoder.encode(groups.join('-'))
}

/** `uuid`: the 16 bytes of a UUID's text. Bytes of a column that are 16 already stay as they are. */
export function uuidField(place: string, operand: Operand): Field {
  return {
    place,
    size: { kind: 'fixed', bytes: 16 },
    read(value, _where, found) {
      if (operand.part !== undefined) found.set(operand.part, uuidText(value))
    },
    write(source) {
      const { name, value } = operand.value(source)
      if (value instanceof Uint8Array && value.length === 16) return value
      const text = typeof value === 'string' ? encoder.encode(value) : value
      const bytes = text instanceof Uint8Array ? uuidOf(text) : undefined
      if (bytes !== undefined) return bytes
      throw mismatch(`${name} is ${value === null ? 'null' : 'not a UUID'}`)
    },
  }
}
