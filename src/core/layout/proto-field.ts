import { further, joined, sameBytes, unlike, type Field, type Found, type Where } from './field.ts'
import type { Operand } from './leaf-fields.ts'
import { scanProto, wireNumbers, type Wire, type WireField } from './proto-scan.ts'
import type { Sequence } from './sequence.ts'
import { integerOf, made, mismatch, type Source } from './values.ts'
import { varintIn, varintOf } from './varint.ts'

/** What a layout says about one field of a message. */
export type ProtoRule =
  /** A string, a byte field or a message, whose bytes hold the sequence. */
  | { readonly kind: 'bytes'; readonly place: string; readonly sequence: Sequence }
  /** `varint(version)`. */
  | { readonly kind: 'number'; readonly place: string; readonly operand: Operand }

export type MessageRule = {
  readonly place: string
  readonly fields: ReadonlyMap<number, ProtoRule>
  /** True when fields may be there that are not named. */
  readonly open: boolean
}

/**
 * `proto({…})`: a message of which some fields hold parts. Like a document of JSON it is kept as a whole under
 * the name `frame`, and rendering replaces what changed. Without a frame the named fields are written in their
 * order.
 */
export function protoField(place: string, message: MessageRule, frame: string): Field {
  return {
    place,
    size: { kind: 'open', least: 0, holds: 'anything' },
    read(bytes, where, found) {
      readMessage({ bytes, where }, message, found)
      found.set(frame, new Uint8Array(bytes))
    },
    write(source) {
      const bytes = source.part(frame)
      const pieces = bytes instanceof Uint8Array ? changed(bytes, message, source) : fresh(message, source)
      return made(source, joined([new Uint8Array(), ...pieces]))
    },
  }
}

type Message = { readonly bytes: Uint8Array; readonly where: Where }

function scan({ bytes, where }: Message, message: MessageRule): readonly WireField[] {
  const fields = scanProto(bytes, (at, reason) => {
    throw unlike(message.place, further(where, at), reason)
  })
  const counts = new Map<number, number>()
  for (const { number } of fields) counts.set(number, (counts.get(number) ?? 0) + 1)
  for (const number of message.fields.keys()) {
    const count = counts.get(number) ?? 0
    if (count === 1) continue
    const reason = `field ${number} ${count === 0 ? 'is missing' : 'occurs more than once'}`
    throw unlike(message.place, where, reason)
  }
  const other = fields.find((field) => !message.fields.has(field.number))
  if (message.open || other === undefined) return fields
  const reason = `field ${other.number} is there and not named (add ... to allow others)`
  throw unlike(message.place, further(where, other.start), reason)
}

function readMessage(message: Message, rules: MessageRule, found: Found): void {
  for (const field of scan(message, rules)) {
    const rule = rules.fields.get(field.number)
    if (rule === undefined) continue
    const here = further(message.where, field.content)
    const content = contentOf(message, field, rule)
    if (rule.kind === 'bytes') rule.sequence.read(content, here, found)
    else readNumber(content, rule, here, found)
  }
}

function contentOf({ bytes, where }: Message, field: WireField, rule: ProtoRule): Uint8Array {
  if (field.wire === wireOf(rule)) return bytes.subarray(field.content, field.end)
  const reason = `field ${field.number} is no ${rule.kind === 'bytes' ? 'bytes' : 'integer'}`
  throw unlike(rule.place, further(where, field.start), reason)
}

function wireOf(rule: ProtoRule): Wire {
  return rule.kind === 'bytes' ? 'bytes' : 'varint'
}

function readNumber(
  bytes: Uint8Array,
  { operand, place }: Extract<ProtoRule, { kind: 'number' }>,
  where: Where,
  found: Found,
): void {
  const value = varintIn(bytes)?.value ?? 0n
  if (operand.part !== undefined) found.set(operand.part, value)
  else if (value !== operand.value(noSource).value) throw unlike(place, where, 'another number stands there')
}

/** A number of the layout itself needs nothing. */
const noSource: Source = { part: () => undefined, cell: () => null, newCell: () => null }

/** What did not change stays as it is spelled. */
function changed(bytes: Uint8Array, rules: MessageRule, source: Source): readonly Uint8Array[] {
  const message = { bytes, where: { offset: 0, inner: 0 } }
  return scan(message, rules).map((field) => {
    const old = bytes.subarray(field.start, field.end)
    const rule = rules.fields.get(field.number)
    if (rule === undefined) return old
    const content = bytes.subarray(field.content, field.end)
    if (rule.kind === 'number') {
      const number = numberOf(rule, source)
      return varintIn(content)?.value === number ? old : newField(field.number, rule, varintOf(number))
    }
    const next = rule.sequence.write(source)
    return sameBytes(content, next) ? old : newField(field.number, rule, next)
  })
}

function fresh(rules: MessageRule, source: Source): readonly Uint8Array[] {
  return [...rules.fields].map(([number, rule]) =>
    newField(
      number,
      rule,
      rule.kind === 'bytes' ? rule.sequence.write(source) : varintOf(numberOf(rule, source)),
    ),
  )
}

function newField(number: number, rule: ProtoRule, content: Uint8Array): Uint8Array {
  const tag = varintOf((BigInt(number) << 3n) | BigInt(wireNumbers[wireOf(rule)]))
  if (rule.kind === 'number') return joined([tag, content])
  return joined([tag, varintOf(BigInt(content.length)), content])
}

function numberOf({ operand }: Extract<ProtoRule, { kind: 'number' }>, source: Source): bigint {
  const named = operand.value(source)
  const number = integerOf(named)
  if (number >= 0n && number < 2n ** 64n) return number
  throw mismatch(`${named.name} is no number from 0 to 2^64-1`)
}
