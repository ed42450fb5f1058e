import {
  counted,
  further,
  joined,
  sameBytes,
  unlike,
  within,
  type Field,
  type Found,
  type Where,
} from './field.ts'
import { escapesIn, quotedJson, type Escapes } from './json-text.ts'
import { jsonExtent, scanJson, stringIn, type JsonValue } from './json-scan.ts'
import type { Operand } from './leaf-fields.ts'
import { integerFrom } from './number-fields.ts'
import type { Sequence } from './sequence.ts'
import { bytesOf, integerOf, mismatch, type Source } from './values.ts'

/** What a layout says about one member. */
export type MemberRule =
  | ContainerRule
  /** A string whose characters, as UTF-8, hold the sequence. */
  | { readonly kind: 'text'; readonly place: string; readonly sequence: Sequence }
  /** `number(version)`: an integer of JSON. */
  | { readonly kind: 'number'; readonly place: string; readonly operand: Operand }
  /** `1`, `true`, `false`, `null`. */
  | { readonly kind: 'constant'; readonly place: string; readonly text: string }
  /** A column of a template: a string for text, a number for an integer. */
  | { readonly kind: 'column'; readonly place: string; readonly operand: Operand }

/** `open` when there may be members that are not named, or more elements. */
export type ContainerRule =
  | {
      readonly kind: 'object'
      readonly place: string
      readonly members: ReadonlyMap<string, MemberRule>
      readonly open: boolean
    }
  | {
      readonly kind: 'array'
      readonly place: string
      readonly elements: readonly MemberRule[]
      readonly open: boolean
    }

/**
 * `json({…})`: a document of which some members hold parts. It is kept as a whole under the name `frame`, and
 * rendering replaces the members that changed, so that every other byte stays what it was. Without a frame a
 * compact document with the named members in their order is written.
 */
export function jsonField(place: string, rule: ContainerRule, frame: string): Field {
  return {
    place,
    size: { kind: 'open', least: 2, holds: 'anything', extent: jsonExtent },
    ...(hasConstant(rule) && { marks: (bytes: Uint8Array) => isMarked(rule, bytes) }),
    read(bytes, where, found) {
      const document = { bytes, where, place }
      readContainer(document, rule, scan(document), found)
      found.set(frame, new Uint8Array(bytes))
    },
    write(source) {
      const bytes = source.part(frame)
      if (!(bytes instanceof Uint8Array)) return newContainer(rule, source)
      const document = { bytes, where: { offset: 0, inner: 0 }, place }
      const changes: Change[] = []
      changeContainer({ document, source, escapes: escapesIn(bytes), changes }, rule, scan(document))
      return withChanges(bytes, changes)
    },
  }
}

const hasConstant = (rule: ContainerRule): boolean =>
  rule.kind === 'object' && [...rule.members.values()].some(({ kind }) => kind === 'constant')

class NoJson extends Error {}

/** Whether an object has every constant that is described. What begins as an object and is none is damaged. */
function isMarked(rule: ContainerRule, bytes: Uint8Array): boolean {
  let root: JsonValue
  try {
    root = scanJson(bytes, () => {
      throw new NoJson()
    })
  } catch (error) {
    if (error instanceof NoJson) return bytes[0] === 0x7b
    throw error
  }
  if (rule.kind !== 'object' || root.kind !== 'object') return false
  const { members } = root
  return [...rule.members].every(([name, member]) => {
    if (member.kind !== 'constant') return true
    const at = members.get(name)
    return at !== undefined && sameBytes(bytes.subarray(at.start, at.end), Buffer.from(member.text))
  })
}

type Document = { readonly bytes: Uint8Array; readonly where: Where; readonly place: string }

function scan({ bytes, where, place }: Document): JsonValue {
  return scanJson(bytes, (at, reason) => {
    throw unlike(place, further(where, at), reason)
  })
}

/** The members that the rule names, each with its value. Refuses missing ones, and others where none may be. */
function* named(
  { where }: Document,
  rule: ContainerRule,
  value: JsonValue,
): Generator<readonly [MemberRule, JsonValue]> {
  const here = further(where, value.start)
  if (rule.kind === 'array') {
    if (value.kind !== 'array') throw unlike(rule.place, here, 'this is no array')
    yield* positioned(rule, value, here)
    return
  }
  if (value.kind !== 'object') throw unlike(rule.place, here, 'this is no object')
  for (const [name, member] of rule.members) {
    const found = value.members.get(name)
    if (found === undefined) throw unlike(rule.place, here, `the member ${JSON.stringify(name)} is missing`)
    yield [member, found]
  }
  if (rule.open) return
  for (const [name, { start }] of value.members) {
    if (rule.members.has(name)) continue
    throw unlike(
      rule.place,
      further(where, start),
      'a member is there that is not named (add ... to allow others)',
    )
  }
}

function* positioned(
  { place, elements, open }: Extract<ContainerRule, { kind: 'array' }>,
  value: Extract<JsonValue, { kind: 'array' }>,
  where: Where,
): Generator<readonly [MemberRule, JsonValue]> {
  const { length } = value.elements
  if (length < elements.length || (length > elements.length && !open)) {
    const stand = `${counted(length, 'element')} stand there, ${elements.length} are described`
    throw unlike(place, where, stand)
  }
  for (const [at, element] of elements.entries()) {
    const found = value.elements[at]
    if (found !== undefined) yield [element, found]
  }
}

function readContainer(document: Document, rule: ContainerRule, value: JsonValue, found: Found): void {
  for (const [member, at] of named(document, rule, value)) {
    if (isContainer(member)) readContainer(document, member, at, found)
    else if (member.kind === 'text') {
      const { text, where } = textOf(document, member.place, at)
      member.sequence.read(text, where, found)
    } else if (member.kind === 'number') {
      const number = at.kind === 'number' ? integerFrom(document.bytes.subarray(at.start, at.end)) : undefined
      const here = further(document.where, at.start)
      if (number === undefined) throw unlike(member.place, here, 'this is no number from 0 to 2^64-1')
      if (member.operand.part !== undefined) found.set(member.operand.part, number)
    } else if (member.kind === 'constant') checkConstant(document, member.text, at)
  }
}

function checkConstant({ bytes, where }: Document, constant: string, { start, end }: JsonValue): void {
  if (sameBytes(bytes.subarray(start, end), Buffer.from(constant))) return
  throw unlike(constant, further(where, start), 'another value stands there')
}

/** The characters of a string as UTF-8, and where they are. */
function textOf(
  { bytes, where }: Document,
  place: string,
  value: JsonValue,
): { readonly text: Uint8Array; readonly where: Where } {
  const here = further(where, value.start)
  if (value.kind !== 'string') throw unlike(place, here, 'this is no string')
  const raw = bytes.subarray(value.start + 1, value.end - 1)
  if (!raw.includes(0x5c)) return { text: raw, where: further(here, 1) }
  const text = stringIn(bytes, value)
  if (!text.isWellFormed()) throw unlike(place, here, "this string has characters that UTF-8 can't express")
  return { text: new TextEncoder().encode(text), where: within(here, 'the string') }
}

type Change = { readonly start: number; readonly end: number; readonly bytes: Uint8Array }

type Changing = {
  readonly document: Document
  readonly source: Source
  readonly escapes: Escapes
  readonly changes: Change[]
}

function isContainer(rule: MemberRule): rule is ContainerRule {
  return rule.kind === 'object' || rule.kind === 'array'
}

function changeContainer(changing: Changing, rule: ContainerRule, value: JsonValue): void {
  const { document, source, escapes, changes } = changing
  for (const [member, at] of named(document, rule, value)) {
    if (isContainer(member)) changeContainer(changing, member, at)
    else if (member.kind === 'text') {
      const content = member.sequence.write(source)
      if (sameBytes(content, textOf(document, member.place, at).text)) continue
      changes.push({ start: at.start, end: at.end, bytes: quotedJson(member.place, content, escapes) })
    } else changes.push({ start: at.start, end: at.end, bytes: newMember(member, source) })
  }
}

function withChanges(bytes: Uint8Array, changes: readonly Change[]): Uint8Array {
  const pieces: Uint8Array[] = []
  let at = 0
  for (const change of changes.toSorted((one, other) => one.start - other.start)) {
    pieces.push(bytes.subarray(at, change.start), change.bytes)
    at = change.end
  }
  pieces.push(bytes.subarray(at))
  return joined(pieces)
}

const encoder = new TextEncoder()

/** A compact object of the named members in the order of the rule, or an array. */
function newContainer(rule: ContainerRule, source: Source): Uint8Array {
  if (rule.kind === 'array') {
    const elements = rule.elements.flatMap((element, at) => [
      encoder.encode(at > 0 ? ',' : '['),
      newMember(element, source),
    ])
    return joined([...(elements.length === 0 ? [encoder.encode('[')] : elements), encoder.encode(']')])
  }
  const pieces: Uint8Array[] = [encoder.encode('{')]
  for (const [name, member] of rule.members) {
    const comma = pieces.length > 1 ? ',' : ''
    pieces.push(encoder.encode(`${comma}${JSON.stringify(name)}:`), newMember(member, source))
  }
  return joined([...pieces, encoder.encode('}')])
}

function newMember(member: MemberRule, source: Source): Uint8Array {
  if (isContainer(member)) return newContainer(member, source)
  if (member.kind === 'text') return quotedJson(member.place, member.sequence.write(source))
  if (member.kind === 'number') return newNumber(member.operand, source)
  if (member.kind === 'constant') return encoder.encode(member.text)
  const value = member.operand.value(source)
  return typeof value.value === 'bigint' ? bytesOf(value) : quotedJson(member.place, bytesOf(value))
}

function newNumber(operand: Operand, source: Source): Uint8Array {
  const named = operand.value(source)
  const number = integerOf(named)
  if (number >= 0n && number < 2n ** 64n) return encoder.encode(String(number))
  throw mismatch(`${named.name} is no number from 0 to 2^64-1`)
}
