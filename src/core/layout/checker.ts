import { isKvxError } from '../errors.ts'
import type { Field } from './field.ts'
import { functions, otherNames, parts } from './functions.ts'
import type { MemberRule, ObjectRule } from './json-field.ts'
import {
  columnField,
  columnOperand,
  literalField,
  partField,
  partOperand,
  type Operand,
} from './leaf-fields.ts'
import { nearest } from './nearest.ts'
import { sequenceOf, type Sequence } from './sequence.ts'
import type { SourceText } from './source-text.ts'
import type {
  CallNode,
  ColumnNode,
  ItemNode,
  NumberNode,
  ObjectNode,
  PartNode,
  SequenceNode,
} from './syntax.ts'

/** What an expression uses. */
export type Names = {
  readonly parts: ReadonlySet<string>
  readonly columns: ReadonlySet<string>
  readonly newColumns: ReadonlySet<string>
}

export type Checked = Names & { readonly sequence: Sequence }

/**
 * Gives the tree its meaning: looks names up, refuses what can't be read back, and makes the fields.
 * @throws LAYOUT_INVALID
 */
export function checkExpression(source: SourceText, tree: SequenceNode): Checked {
  const checker = new Checker(source)
  const sequence = checker.sequence(tree)
  return { sequence, parts: checker.parts, columns: checker.columns, newColumns: checker.newColumns }
}

class Checker {
  readonly parts = new Set<string>()
  readonly columns = new Set<string>()
  readonly newColumns = new Set<string>()
  readonly #source: SourceText
  #hidden = 0

  constructor(source: SourceText) {
    this.#source = source
  }

  sequence(node: SequenceNode): Sequence {
    for (const item of node.items) {
      const empty = item.kind === 'literal' && item.bytes.length === 0
      if (empty && node.items.length > 1) {
        throw this.#source.error(item, 'this literal is empty', 'leave it out')
      }
    }
    const fields = node.items.map((item) => this.#field(item))
    return sequenceOf(fields, node.items, this.#source)
  }

  #field(node: ItemNode): Field {
    const place = this.#source.slice(node)
    if (node.kind === 'literal') return literalField(place, node.bytes)
    if (node.kind === 'column') return columnField(place, this.#column(node))
    if (node.kind === 'call') return this.#call(place, node)
    if (node.kind === 'part') {
      const numbersAsText = this.#source.kind === 'template'
      return partField({ place, name: this.#partName(node), length: node.length, numbersAsText })
    }
    if (node.kind === 'number') {
      const hint = `write "${node.value}" for its digits, or u8(${node.value})`
      throw this.#source.error(node, 'a number alone is no bytes', hint)
    }
    throw this.#source.error(
      node,
      'an object of JSON stands inside json(…)',
      'write json({"member": …, ...})',
    )
  }

  #partName(node: PartNode): string {
    const bare = node.name.startsWith('dek.') ? node.name.slice(4) : node.name
    if (!parts.has(bare)) throw this.#unknownPart(node)
    if (bare === 'skip') {
      if (this.#source.kind === 'layout') return this.#hiddenName('skip')
      throw this.#source.error(node, 'skip has no value', 'name a part, or write the bytes as a literal')
    }
    if (this.#source.kind === 'layout' && this.parts.has(node.name)) {
      throw this.#source.error(
        node,
        `${node.name} stands here a second time`,
        'a value has each part once; bytes that are not needed are skip',
      )
    }
    this.parts.add(node.name)
    return node.name
  }

  #hiddenName(kind: string): string {
    return `#${++this.#hidden} ${kind}`
  }

  #unknownPart(node: PartNode): Error {
    const { name } = node
    const span = { start: node.start, end: node.start + name.length }
    const prefix = name.startsWith('dek.') ? 'dek.' : ''
    const like = wordLike(name.slice(prefix.length), parts)
    const hint = functions.has(name)
      ? `${name} is a function: write what it encodes, e.g. ${name}(ct)`
      : like === undefined
        ? `write ${[...parts].join(', ')}, a column {${name}}, or text "${name}"`
        : `write ${prefix}${like}`
    return this.#source.error(span, `a part named ${name} is not known`, hint)
  }

  #unknownFunction({ name, nameSpan }: CallNode): Error {
    const like = wordLike(name, functions.keys())
    const hint = parts.has(name)
      ? `${name} is a part: write ${name}, or ${name}:16 with its length in bytes`
      : `write ${like ?? [...functions.keys()].join(', ')}`
    return this.#source.error(nameSpan, `a function named ${name} is not known`, hint)
  }

  #column(node: ColumnNode): Operand {
    if (this.#source.kind === 'layout') {
      throw this.#source.error(
        node,
        'a layout describes the bytes of one value, and a column is another one',
        'put columns into aad; a value in several columns has a layout for each',
      )
    }
    const names = node.fresh ? this.newColumns : this.columns
    names.add(node.name)
    return columnOperand(node.name, node.fresh)
  }

  #call(place: string, node: CallNode): Field {
    const rule = functions.get(node.name)
    if (rule === undefined) throw this.#unknownFunction(node)
    const argument = this.#argument(node)
    if (rule.takes === 'bytes') return rule.makes(place, this.sequence(argument))
    if (rule.takes === 'operand') {
      const [number] = argument.items
      const field = rule.makes(place, this.#operand(node, argument))
      return number?.kind === 'number' ? this.#constant(field, number) : field
    }
    if (rule.takes === 'object') {
      return rule.makes(place, this.#object(this.#objectIn(argument)), this.#hiddenName('document'))
    }
    throw this.#source.error(
      node,
      `${node.name} stands as a member of an object only`,
      'write json({"member": number(version), ...})',
    )
  }

  /** The one argument that every function so far has. */
  #argument(node: CallNode): SequenceNode {
    const [first, second] = node.args
    const named = node.args.find((argument) => argument.name !== undefined)
    if (named !== undefined) {
      throw this.#source.error(
        named,
        `${node.name} has no argument by this name`,
        'write what it encodes, without a name',
      )
    }
    if (second !== undefined) {
      throw this.#source.error(
        second,
        `${node.name} takes one argument`,
        'separate items by spaces, not by commas',
      )
    }
    if (first !== undefined) return first.value
    throw this.#source.error(
      node,
      `${node.name} has nothing in it`,
      `write what it encodes, e.g. ${node.name}(ct)`,
    )
  }

  #operand(call: CallNode, { items }: SequenceNode): Operand {
    const [node, second] = items
    if (second !== undefined || node === undefined) {
      throw this.#source.error(
        second ?? call,
        `${call.name} takes one part, column or number`,
        `give each its own, e.g. ${call.name}(version) ${call.name}(keyid)`,
      )
    }
    if (node.kind === 'column') return this.#column(node)
    if (node.kind === 'number') return constant(node)
    if (node.kind !== 'part') {
      throw this.#source.error(
        node,
        `${call.name} takes a part, column or number`,
        `write e.g. ${call.name}(version)`,
      )
    }
    if (node.length !== undefined) {
      throw this.#source.error(
        node,
        `${call.name} says the length already`,
        `write ${call.name}(${node.name})`,
      )
    }
    return partOperand(this.#partName(node))
  }

  /** A function of a number is a literal. */
  #constant(field: Field, node: NumberNode): Field {
    try {
      return literalField(field.place, field.write({ part: nothing, cell: nothing, newCell: nothing }))
    } catch (error) {
      if (!isKvxError(error)) throw error
      throw this.#source.error(node, error.message, 'write the bytes as a literal, e.g. 0x01')
    }
  }

  #objectIn({ items }: SequenceNode): ObjectNode {
    const [node, second] = items
    if (node?.kind === 'object' && second === undefined) return node
    throw this.#source.error(
      second ?? node ?? { start: 0, end: 0 },
      'json takes one object',
      'write json({"member": …, ...})',
    )
  }

  #object(node: ObjectNode): ObjectRule {
    const members = new Map<string, MemberRule>()
    for (const member of node.members) {
      if (members.has(member.name)) {
        throw this.#source.error(
          member,
          'this member stands here a second time',
          'an object has each member once',
        )
      }
      members.set(member.name, this.#member(member.value))
    }
    if (node.open && this.#source.kind === 'template') {
      throw this.#source.error(
        node,
        'a template writes the members that are named and no others',
        'leave the ... out',
      )
    }
    return { place: this.#source.slice(node), members, open: node.open }
  }

  #member(value: SequenceNode): MemberRule {
    const place = this.#source.slice(value)
    const [node] = value.items
    if (value.items.length > 1 || node === undefined)
      return { kind: 'text', place, sequence: this.sequence(value) }
    if (node.kind === 'object') return { kind: 'object', object: this.#object(node) }
    if (node.kind === 'number') return { kind: 'constant', place, text: String(node.value) }
    if (node.kind === 'part' && node.length === undefined && ['true', 'false', 'null'].includes(node.name)) {
      return { kind: 'constant', place, text: node.name }
    }
    if (node.kind === 'column') return { kind: 'column', place, operand: this.#column(node) }
    if (node.kind === 'call' && functions.get(node.name)?.takes === 'member') {
      const argument = this.#argument(node)
      const [number] = argument.items
      const operand = this.#operand(node, argument)
      if (number?.kind === 'number') return { kind: 'constant', place, text: String(number.value) }
      return { kind: 'number', place, operand }
    }
    return { kind: 'text', place, sequence: this.sequence(value) }
  }
}

function constant(node: NumberNode): Operand {
  return { part: undefined, value: () => ({ name: 'the number', value: node.value }) }
}

/** The known word that an unknown one stands for. */
function wordLike(word: string, known: Iterable<string>): string | undefined {
  const words = [...known]
  const others = [...otherNames].filter(([, meant]) => words.includes(meant))
  const like = nearest(word, [...words, ...others.map(([other]) => other)])
  return like === undefined || words.includes(like) ? like : otherNames.get(like)
}

function nothing(): never {
  throw new TypeError('a number needs nothing else')
}
