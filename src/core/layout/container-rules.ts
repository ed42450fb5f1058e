import type { Field } from './field.ts'
import { functions } from './functions.ts'
import type { ContainerRule, MemberRule } from './json-field.ts'
import type { Operand } from './leaf-fields.ts'
import type { MessageRule, ProtoRule } from './proto-field.ts'
import type { Sequence } from './sequence.ts'
import type { SourceText } from './source-text.ts'
import type {
  ArrayNode,
  CallNode,
  ColumnNode,
  Member,
  NumberNode,
  ObjectNode,
  SequenceNode,
} from './syntax.ts'

/** What the rules of documents and messages need of the checker. */
export type Checking = {
  readonly source: SourceText
  sequence(node: SequenceNode): Sequence
  /** Of fields that were made here. */
  sequenceOf(field: Field, node: SequenceNode): Sequence
  column(node: ColumnNode): Operand
  /** The one argument of a function, as a part, column or number. */
  operand(node: CallNode): Operand
  number(node: NumberNode): Operand
  message(node: ObjectNode): Field
}

/** What `json(…)` says: an object or an array. */
export function documentRule(checking: Checking, { items }: SequenceNode): ContainerRule {
  const [node, second] = items
  if (second === undefined && node?.kind === 'object') return objectRule(checking, node)
  if (second === undefined && node?.kind === 'array') return arrayRule(checking, node)
  throw checking.source.error(
    second ?? node ?? { start: 0, end: 0 },
    'json takes one object or array',
    'write json({"member": …, ...})',
  )
}

function objectRule(checking: Checking, node: ObjectNode): ContainerRule {
  refuseOpen(checking, node)
  const members = new Map<string, MemberRule>()
  for (const member of node.members) {
    const { name } = member
    if (typeof name === 'number') {
      const message = 'a member begins with its name in quotes'
      throw checking.source.error(nameSpan(member), message, 'write members as {"name": base64(ct), ...}')
    }
    if (members.has(name)) throw twice(checking, member)
    members.set(name, memberRule(checking, member.value))
  }
  return { kind: 'object', place: checking.source.slice(node), members, open: node.open }
}

function arrayRule(checking: Checking, node: ArrayNode): ContainerRule {
  refuseOpen(checking, node)
  const elements = node.elements.map((element) => memberRule(checking, element))
  return { kind: 'array', place: checking.source.slice(node), elements, open: node.open }
}

function refuseOpen({ source }: Checking, node: ObjectNode | ArrayNode): void {
  if (!node.open || source.kind === 'layout') return
  const message = 'a template writes the members that are named and no others'
  throw source.error(node, message, 'leave the ... out')
}

function twice({ source }: Checking, member: Member): Error {
  const message = 'this member stands here a second time'
  return source.error(member, message, 'an object has each member once')
}

function nameSpan(member: Member): { readonly start: number; readonly end: number } {
  return { start: member.start, end: member.start + String(member.name).length }
}

function memberRule(checking: Checking, value: SequenceNode): MemberRule {
  const place = checking.source.slice(value)
  const [node] = value.items
  if (value.items.length > 1 || node === undefined) {
    return { kind: 'text', place, sequence: checking.sequence(value) }
  }
  if (node.kind === 'object') return objectRule(checking, node)
  if (node.kind === 'array') return arrayRule(checking, node)
  if (node.kind === 'number') return { kind: 'constant', place, text: String(node.value) }
  if (node.kind === 'part' && node.length === undefined && ['true', 'false', 'null'].includes(node.name)) {
    return { kind: 'constant', place, text: node.name }
  }
  if (node.kind === 'column') return { kind: 'column', place, operand: checking.column(node) }
  if (isMemberOf('json', node)) {
    const number = onlyNumber(node)
    if (number !== undefined) return { kind: 'constant', place, text: String(number.value) }
    return { kind: 'number', place, operand: checking.operand(node) }
  }
  return { kind: 'text', place, sequence: checking.sequence(value) }
}

function isMemberOf(of: 'json' | 'proto', node: SequenceNode['items'][number]): node is CallNode {
  if (node.kind !== 'call') return false
  const rule = functions.get(node.name)
  return rule?.takes === 'member' && rule.of === of
}

function onlyNumber(node: CallNode): NumberNode | undefined {
  const items = node.args[0]?.value.items ?? []
  return items.length === 1 && items[0]?.kind === 'number' ? items[0] : undefined
}

const messageExample = 'write proto({1: nonce:12, 3: ct tag:16, ...})'

/** What `proto(…)` says: fields by number. */
export function messageRule(checking: Checking, { items }: SequenceNode): MessageRule {
  const [node, second] = items
  if (second !== undefined || node?.kind !== 'object') {
    const span = second ?? node ?? { start: 0, end: 0 }
    throw checking.source.error(span, 'proto takes the fields of one message', messageExample)
  }
  return fieldRules(checking, node)
}

export function fieldRules(checking: Checking, node: ObjectNode): MessageRule {
  refuseOpen(checking, node)
  const fields = new Map<number, ProtoRule>()
  for (const member of node.members) {
    const { name } = member
    if (typeof name === 'string' || name < 1 || name >= 2 ** 29) {
      throw checking.source.error(
        nameSpan(member),
        'a field of protobuf begins with its number',
        messageExample,
      )
    }
    if (fields.has(name)) throw twice(checking, member)
    fields.set(name, protoRule(checking, member.value))
  }
  return { place: checking.source.slice(node), fields, open: node.open }
}

function protoRule(checking: Checking, value: SequenceNode): ProtoRule {
  const place = checking.source.slice(value)
  const [node] = value.items
  const only = value.items.length === 1 ? node : undefined
  if (only?.kind === 'object') {
    return { kind: 'bytes', place, sequence: checking.sequenceOf(checking.message(only), value) }
  }
  if (only?.kind === 'number') return { kind: 'number', place, operand: checking.number(only) }
  if (only !== undefined && isMemberOf('proto', only)) {
    return { kind: 'number', place, operand: checking.operand(only) }
  }
  return { kind: 'bytes', place, sequence: checking.sequence(value) }
}
