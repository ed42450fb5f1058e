import { varintIn } from './varint.ts'

/** One field on the wire: where its tag begins, where its value, and where it ends. */
export type WireField = {
  readonly number: number
  readonly wire: Wire
  readonly start: number
  /** Behind the tag, and behind the length where there is one. */
  readonly content: number
  readonly end: number
}

/** `bytes` are strings, byte fields and messages. */
export type Wire = 'varint' | 'fixed64' | 'bytes' | 'fixed32'

/** Called for what is no message, with the offset. */
export type WireRefusal = (at: number, reason: string) => never

/** Takes one message of protobuf apart, without its nested ones, in one pass. */
export function scanProto(bytes: Uint8Array, refuse: WireRefusal): readonly WireField[] {
  const fields: WireField[] = []
  let at = 0
  while (at < bytes.length) {
    const field = fieldAt(bytes, at, refuse)
    fields.push(field)
    at = field.end
  }
  return fields
}

const wires: ReadonlyMap<number, Wire> = new Map([
  [0, 'varint'],
  [1, 'fixed64'],
  [2, 'bytes'],
  [5, 'fixed32'],
])

/** The number that stands for a wire type in a tag. */
export const wireNumbers: Readonly<Record<Wire, number>> = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 }

function fieldAt(bytes: Uint8Array, start: number, refuse: WireRefusal): WireField {
  const tag = varintIn(bytes, start)
  if (tag === undefined || tag.value >= 2n ** 32n) return refuse(start, 'this is no tag of protobuf')
  const number = Number(tag.value >> 3n)
  const wire = wires.get(Number(tag.value & 7n))
  if (number === 0 || wire === undefined) return refuse(start, 'this is no tag of protobuf')
  const from = start + tag.width
  const [content, end] = spanOf(bytes, from, wire, refuse)
  if (end > bytes.length) return refuse(start, 'this field of protobuf ends too early')
  return { number, wire, start, content, end }
}

function spanOf(bytes: Uint8Array, from: number, wire: Wire, refuse: WireRefusal): readonly [number, number] {
  if (wire === 'fixed64') return [from, from + 8]
  if (wire === 'fixed32') return [from, from + 4]
  const found = varintIn(bytes, from)
  if (found === undefined) return refuse(from, 'this is no integer of protobuf')
  const content = from + found.width
  return wire === 'varint' ? [from, content] : [content, content + Number(found.value)]
}
