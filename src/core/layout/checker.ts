import { isKvxError } from '../errors.ts'
import { bindArguments } from './arguments.ts'
import { computedField, isSequence, type Bound, type Computation, type Parameter } from './computed.ts'
import { computations } from './computations.ts'
import type { Field } from './field.ts'
import { extraWords, functions, otherNames, parts } from './functions.ts'
import { documentRule, fieldRules, messageRule, type Checking } from './container-rules.ts'
import { protoField } from './proto-field.ts'
import {
  columnField,
  columnOperand,
  literalField,
  partField,
  partOperand,
  type Operand,
} from './leaf-fields.ts'
import { lineParameters, linesField, newLine } from './line-fields.ts'
import { nearest } from './nearest.ts'
import { sequenceOf, type Sequence } from './sequence.ts'
import type { SourceText } from './source-text.ts'
import type {
  Argument,
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

export type Checked = Names & {
  readonly sequence: Sequence
  /** The fields of `header(…)`, where a layout has it. */
  readonly header: readonly Field[] | undefined
}

/**
 * Gives the tree its meaning: looks names up, refuses what can't be read back, and makes the fields.
 * @throws LAYOUT_INVALID
 */
export function checkExpression(source: SourceText, tree: SequenceNode): Checked {
  const checker = new Checker(source)
  const sequence = checker.sequence(tree)
  const { parts, columns, newColumns, header } = checker
  return { sequence, parts, columns, newColumns, header }
}

class Checker {
  readonly parts = new Set<string>()
  readonly columns = new Set<string>()
  readonly newColumns = new Set<string>()
  header: readonly Field[] | undefined
  readonly #source: SourceText
  #hidden = 0
  #headerNodes: readonly ItemNode[] | undefined

  constructor(source: SourceText) {
    this.#source = source
  }

  sequence(node: SequenceNode): Sequence {
    const items = node.items.flatMap((item) => (isHeader(item) ? this.#headerItems(item) : [item]))
    for (const item of items) {
      const empty = item.kind === 'literal' && item.bytes.length === 0
      if (empty && items.length > 1) throw this.#source.error(item, 'this literal is empty', 'leave it out')
    }
    const fields = items.map((item) => this.#field(item))
    const marked = this.#headerNodes
    if (marked !== undefined && items.some((item) => marked.includes(item))) {
      this.header = fields.filter((_, at) => items[at] !== undefined && marked.includes(items[at]))
    }
    return sequenceOf(fields, items, this.#source)
  }

  /** `header(…)` is no field: what is in it stands in the sequence as if it were not there. */
  #headerItems(node: CallNode): readonly ItemNode[] {
    if (this.#source.kind !== 'layout') {
      throw this.#source.error(
        node,
        'header(…) marks bytes of a layout',
        'write header for the bytes of the value',
      )
    }
    const { items } = this.#argument(node)
    if (this.#headerNodes !== undefined || items.some(isHeader)) {
      throw this.#source.error(node, 'a header is marked already', 'a layout has one header(…)')
    }
    this.#headerNodes = items
    return items
  }

  #field(node: ItemNode): Field {
    const place = this.#source.slice(node)
    if (node.kind === 'literal') return literalField(place, node.bytes)
    if (node.kind === 'column') return columnField(place, this.#column(node))
    if (node.kind === 'call') return this.#call(place, node)
    if (node.kind === 'part') {
      const numbersAsText = this.#source.kind !== 'layout'
      return partField({ place, name: this.#partName(node), length: node.length, numbersAsText })
    }
    if (node.kind === 'number') {
      const hint = `write "${node.value}" for its digits, or u8(${node.value})`
      throw this.#source.error(node, 'a number alone is no bytes', hint)
    }
    const what = node.kind === 'object' ? 'an object' : 'an array'
    throw this.#source.error(node, `${what} of JSON stands inside json(…)`, 'write json({"member": …, ...})')
  }

  #partName(node: PartNode): string {
    if (this.#extraWords.includes(node.name)) return this.#extraWord(node.name)
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

  get #extraWords(): readonly string[] {
    return extraWords[this.#source.kind]
  }

  /** `header` and `aad` are asked for as parts are; the key is always there. */
  #extraWord(name: string): string {
    if (name !== 'key') this.parts.add(name)
    return name
  }

  /** The functions that this kind of expression has. */
  #functionNames(): readonly string[] {
    const all = [...functions.keys(), ...computations.keys()]
    return this.#source.kind === 'layout' ? [...functions.keys()] : all
  }

  #hiddenName(kind: string): string {
    return `#${++this.#hidden} ${kind}`
  }

  #unknownPart(node: PartNode): Error {
    const { name } = node
    const span = { start: node.start, end: node.start + name.length }
    const prefix = name.startsWith('dek.') ? 'dek.' : ''
    const words = [...this.#extraWords, ...parts]
    const like = wordLike(name.slice(prefix.length), words)
    const hint = this.#functionNames().includes(name)
      ? `${name} is a function: write what it encodes, e.g. ${name}(ct)`
      : like === undefined
        ? `write ${words.join(', ')}, a column {${name}}, or text "${name}"`
        : `write ${prefix}${like}`
    return this.#source.error(span, `a part named ${name} is not known`, hint)
  }

  #unknownFunction({ name, nameSpan }: CallNode): Error {
    const known = this.#functionNames()
    if (computations.has(name) && !known.includes(name)) {
      const message = `${name} makes bytes that can't be read back, so a layout can't have it`
      return this.#source.error(nameSpan, message, 'keys are made in derive, what is authenticated in aad')
    }
    const like = wordLike(name, known)
    const hint = parts.has(name)
      ? `${name} is a part: write ${name}, or ${name}:16 with its length in bytes`
      : `write ${like ?? known.join(', ')}`
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
    if (this.#source.kind === 'mac') {
      const message = 'a mac covers parts of the value and aad, and no columns'
      throw this.#source.error(node, message, 'write aad here, and the column into aad')
    }
    const names = node.fresh ? this.newColumns : this.columns
    names.add(node.name)
    return columnOperand(node.name, node.fresh)
  }

  #call(place: string, node: CallNode): Field {
    const rule = functions.get(node.name)
    const computation = this.#source.kind === 'layout' ? undefined : computations.get(node.name)
    if (computation !== undefined) return this.#computed(place, node, computation)
    if (rule === undefined) throw this.#unknownFunction(node)
    if (rule.takes === 'lines') return this.#lines(place, node, rule.ended)
    if (rule.takes === 'document') this.#refuseDocumentOfKeys(node)
    const argument = this.#argument(node)
    if (rule.takes === 'bytes') return rule.makes(place, this.sequence(argument))
    if (rule.takes === 'operand') {
      const [number] = argument.items
      const field = rule.makes(place, this.#operand(node, argument))
      return number?.kind === 'number' ? this.#constant(field, number) : field
    }
    if (rule.takes === 'document') {
      return rule.makes(place, documentRule(this.#checking(), argument), this.#hiddenName('document'))
    }
    if (rule.takes === 'message') {
      return rule.makes(place, messageRule(this.#checking(), argument), this.#hiddenName('message'))
    }
    throw this.#source.error(
      node,
      rule.of === 'json'
        ? `${node.name} stands as a member of an object only`
        : `${node.name} stands as a field of a message only`,
      rule.of === 'json'
        ? 'write json({"member": number(version), ...})'
        : 'write proto({1: varint(version), ...}), or uvarint(version) elsewhere',
    )
  }

  #computed(place: string, node: CallNode, computation: Computation): Field {
    const bound = bindArguments(node, computation, {
      source: this.#source,
      hasKey: this.#source.kind === 'derivation',
      bind: (parameter, argument) => this.#bound(node, parameter, argument),
      key: () => this.sequence({ ...node, items: [keyNode(node)] }),
    })
    return computedField(place, computation, bound)
  }

  #lines(place: string, node: CallNode, ended: boolean): Field {
    const bound = bindArguments(
      node,
      { parameters: lineParameters },
      {
        source: this.#source,
        hasKey: false,
        bind: (parameter, argument) => this.#bound(node, parameter, argument),
        key: nothing,
      },
    )
    const [text, width, lineBreak] = lineParameters.map(({ name }) => bound.get(name))
    const written = isSequence(lineBreak) ? lineBreak.prefix : newLine
    if (isSequence(text) && typeof width === 'number' && written !== undefined) {
      return linesField(place, { width, break: written, ended }, text)
    }
    const message = `${node.name} takes a text, its width, and what breaks lines`
    throw this.#source.error(node, message, `write e.g. ${node.name}(base64(ct), 76, break="\\r\\n")`)
  }

  #bound(node: CallNode, parameter: Parameter, argument: Argument): Bound {
    if (parameter.takes === 'bytes') return this.sequence(argument.value)
    const [item, second] = argument.value.items
    if (second === undefined && item?.kind === 'number') return Number(item.value)
    if (second === undefined && (item?.kind === 'column' || item?.kind === 'part')) {
      return this.#operand(node, argument.value)
    }
    const message = `${parameter.name} of ${node.name} is one number, part or column`
    throw this.#source.error(second ?? item ?? argument, message, `write e.g. ${parameter.name}=32`)
  }

  /** Strings of JSON can't be wiped, and no application makes a key from a document. */
  #refuseDocumentOfKeys(node: CallNode): void {
    if (this.#source.kind !== 'derivation') return
    throw this.#source.error(node, 'a key is not made from JSON', 'write the text as literals and columns')
  }

  /** The one argument of a function that encodes. */
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
    if (node.name === 'key' || node.name === 'aad' || node.name === 'header') {
      throw this.#source.error(node, `${node.name} is bytes and no number`, `write ${node.name} alone`)
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

  /** What documents of JSON and messages of protobuf need of this. */
  #checking(): Checking {
    return {
      source: this.#source,
      sequence: (node) => this.sequence(node),
      sequenceOf: (field, node) => sequenceOf([field], [node], this.#source),
      column: (node) => this.#column(node),
      operand: (node) => this.#operand(node, this.#argument(node)),
      number: constant,
      message: (node) => this.#message(this.#source.slice(node), node),
    }
  }

  #message(place: string, node: ObjectNode): Field {
    return protoField(place, fieldRules(this.#checking(), node), this.#hiddenName('message'))
  }
}

function isHeader(item: ItemNode): item is CallNode {
  return item.kind === 'call' && item.name === 'header'
}

/** What a function of keys is made from when nothing is written. */
function keyNode({ start, end }: CallNode): PartNode {
  return { kind: 'part', name: 'key', length: undefined, start, end }
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
