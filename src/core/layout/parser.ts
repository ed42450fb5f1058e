import { tokensOf, type Token } from './lexer.ts'
import type { Kind, SourceText, Span } from './source-text.ts'
import type {
  ArrayNode,
  Argument,
  ColumnNode,
  ItemNode,
  Member,
  ObjectNode,
  PartNode,
  SequenceNode,
} from './syntax.ts'

const longestSource = 16_384
const deepest = 24

/**
 * Text → tree. Knows the grammar and no names: which parts and functions there are is the checker's.
 * @throws LAYOUT_INVALID
 */
export function parseExpression(source: SourceText): SequenceNode {
  const [only, second] = parseAlternatives(source)
  if (only !== undefined && second === undefined) return only
  const message = `a ${source.kind} has no alternatives`
  throw source.error(second ?? { start: 0, end: 0 }, message, 'put a | of the bytes into quotes: "|"')
}

/** As {@link parseExpression}, of layouts: `A | B`. */
export function parseAlternatives(source: SourceText): readonly SequenceNode[] {
  if (source.text.length > longestSource) {
    const span = { start: longestSource, end: longestSource + 1 }
    throw source.error(
      span,
      `the ${source.kind} is longer than ${longestSource} characters`,
      'write a shorter one',
    )
  }
  return new Parser(source).whole()
}

const ends: ReadonlySet<Token['kind']> = new Set(['end', ')', '}', ']', ',', '...', '=', ':', "'", '|'])

const memberExample = 'write members as {"name": base64(ct), ...}'

const examples: Readonly<Record<Kind, string>> = {
  layout: 'nonce:12 ct tag:16',
  template: '"order:" {id}',
  derivation: 'hkdf-sha256(salt="", info="app:v1")',
  mac: 'nonce ct',
  plaintext: 'utf8',
}

const containers = {
  object: { close: '}', member: 'member', example: '{"a": …, "b": …}' },
  array: { close: ']', member: 'element', example: '[…, …]' },
} as const

class Parser {
  readonly #source: SourceText
  readonly #tokens: readonly Token[]
  #at = 0
  #depth = 0

  constructor(source: SourceText) {
    this.#source = source
    this.#tokens = tokensOf(source)
  }

  whole(): readonly SequenceNode[] {
    const alternatives = [this.#sequence(`the ${this.#source.kind}`)]
    while (this.#peek().kind === '|') {
      this.#next()
      alternatives.push(this.#sequence('this alternative'))
    }
    const next = this.#peek()
    if (next.kind === 'end') return alternatives
    const hint =
      next.kind === ')' || next.kind === '}' || next.kind === ']'
        ? `leave it out or open it before`
        : `put bytes into quotes: "${next.kind}"`
    throw this.#source.error(next, `${shown(next)} does not belong here`, hint)
  }

  /** One item or more, up to what closes them. */
  #sequence(inside: string): SequenceNode {
    const items: ItemNode[] = []
    while (!ends.has(this.#peek().kind)) items.push(this.#item())
    const [first] = items
    if (first !== undefined) return { items, start: first.start, end: items.at(-1)?.end ?? first.end }
    const next = this.#peek()
    const hint = `write what the bytes consist of, e.g. ${examples[this.#source.kind]}`
    throw this.#source.error(next, `${inside} has nothing in it`, hint)
  }

  #item(): ItemNode {
    const token = this.#next()
    if (token.kind === 'bytes') return { ...spanOf(token), kind: 'literal', bytes: token.bytes }
    if (token.kind === 'number') return { ...spanOf(token), kind: 'number', value: token.value }
    if (token.kind === '{') return this.#braces(token)
    if (token.kind === '[') return this.#array(token)
    if (token.kind !== 'name') {
      const hint =
        token.kind === '('
          ? 'put the name of a function before it, e.g. hex(…)'
          : 'write a part, a literal, a column or a function'
      throw this.#source.error(token, `${shown(token)} does not belong here`, hint)
    }
    return this.#peek().kind === '(' ? this.#call(token) : this.#part(token)
  }

  #part(token: Span & { readonly text: string }): PartNode {
    const part = { kind: 'part', name: token.text, length: undefined, ...spanOf(token) } as const
    if (this.#peek().kind !== ':') return part
    const colon = this.#next()
    const length = this.#peek()
    if (length.kind !== 'number') {
      throw this.#source.error(
        colon,
        'after a colon comes a length in bytes',
        'a colon that stands in the value goes into quotes: ":"',
      )
    }
    this.#next()
    if (length.value > 0n && length.value < 2n ** 31n)
      return { ...part, length: Number(length.value), end: length.end }
    throw this.#source.error(length, 'this length is not possible', 'write a length of 1 byte or more')
  }

  #call(token: Span & { readonly text: string }): ItemNode {
    this.#deeper(token)
    this.#next()
    const args: Argument[] = []
    while (this.#peek().kind !== ')') {
      if (args.length > 0)
        this.#expect(',', token, `${token.text}( is not closed`, 'write ) behind its last argument')
      args.push(this.#argument(token.text))
    }
    const close = this.#next()
    this.#depth--
    return {
      kind: 'call',
      name: token.text,
      nameSpan: spanOf(token),
      args,
      start: token.start,
      end: close.end,
    }
  }

  #argument(called: string): Argument {
    const first = this.#peek()
    const named = first.kind === 'name' && this.#tokens[this.#at + 1]?.kind === '='
    if (named) this.#at += 2
    const value = this.#sequence(`${called}()`)
    return { name: named ? first.text : undefined, value, start: first.start, end: value.end }
  }

  /** What follows `{`: a column or an object of JSON. */
  #braces(open: Token): ColumnNode | ObjectNode {
    const first = this.#peek()
    const second = this.#tokens[this.#at + 1]?.kind
    const isText = first.kind === 'bytes' && first.quoted
    if (first.kind === 'name' || (isText && (second === '}' || second === "'"))) return this.#column(open)
    return this.#object(open)
  }

  #column(open: Token): ColumnNode {
    const token = this.#next()
    const name = token.kind === 'name' ? token.text : this.#textOf(token)
    const fresh = this.#peek().kind === "'"
    if (fresh) this.#next()
    if (this.#peek().kind === ':') {
      throw this.#source.error(token, 'a member begins with its name in quotes', memberExample)
    }
    const close = this.#expect(
      '}',
      open,
      'this column is not closed',
      'write a column as {name} or {"a name"}, its new value as {name\'}',
    )
    return { kind: 'column', name, fresh, start: open.start, end: close.end }
  }

  #object(open: Token): ObjectNode {
    this.#deeper(open)
    const members: Member[] = []
    let rest = false
    while (this.#peek().kind !== '}') {
      if (members.length > 0 || rest) this.#comma(open, 'object')
      if (rest)
        throw this.#source.error(this.#peek(), 'nothing follows the ...', 'put ... at the end of the object')
      rest = this.#peek().kind === '...'
      if (rest) this.#next()
      else members.push(this.#member())
    }
    this.#depth--
    return { kind: 'object', members, open: rest, start: open.start, end: this.#next().end }
  }

  #array(open: Token): ArrayNode {
    this.#deeper(open)
    const elements: SequenceNode[] = []
    let rest = false
    while (this.#peek().kind !== ']') {
      if (elements.length > 0 || rest) this.#comma(open, 'array')
      if (rest)
        throw this.#source.error(this.#peek(), 'nothing follows the ...', 'put ... at the end of the array')
      rest = this.#peek().kind === '...'
      if (rest) this.#next()
      else elements.push(this.#sequence('this element'))
    }
    this.#depth--
    return { kind: 'array', elements, open: rest, start: open.start, end: this.#next().end }
  }

  #comma(open: Token, inside: keyof typeof containers): void {
    const token = this.#peek()
    const { close, member, example } = containers[inside]
    if (token.kind === 'end') {
      throw this.#source.error(
        open,
        `this ${inside} is not closed`,
        `write ${close} behind its last ${member}`,
      )
    }
    const before = this.#tokens[this.#at - 1]
    const name = token.kind === ':' && before?.kind === 'bytes' ? before : token
    const hint = `separate ${member}s by commas: ${example}`
    if (token.kind !== ',') throw this.#source.error(name, `a comma is missing between two ${member}s`, hint)
    this.#next()
  }

  #member(): Member {
    const token = this.#next()
    if (token.kind !== 'bytes' && token.kind !== 'number')
      throw this.#source.error(token, 'a member begins with its name in quotes', memberExample)
    const name = token.kind === 'number' ? Number(token.value) : this.#textOf(token)
    this.#expect(':', token, 'a colon is missing behind the name of this member', memberExample)
    const value = this.#sequence('this member')
    return { name, value, start: token.start, end: value.end }
  }

  #textOf(token: Token): string {
    const bytes = token.kind === 'bytes' ? token.bytes : new Uint8Array()
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    } catch {
      throw this.#source.error(token, 'this name is not UTF-8', 'write the name without \\x escapes')
    }
  }

  #deeper(span: Span): void {
    if (++this.#depth <= deepest) return
    throw this.#source.error(span, `this is nested more than ${deepest} levels deep`, 'nest less')
  }

  #peek(): Token {
    const token = this.#tokens[Math.min(this.#at, this.#tokens.length - 1)]
    if (token === undefined) throw new TypeError('there is always an end token')
    return token
  }

  #next(): Token {
    const token = this.#peek()
    if (token.kind === 'end') throw this.#source.error(token, 'the text ends too early', 'close what is open')
    this.#at++
    return token
  }

  /** @param from where the caret goes when the text ends instead */
  #expect(kind: Token['kind'], from: Span, message: string, hint: string): Token {
    const token = this.#peek()
    if (token.kind === kind) return this.#next()
    throw this.#source.error(token.kind === 'end' ? from : token, message, hint)
  }
}

function spanOf({ start, end }: Span): Span {
  return { start, end }
}

function shown(token: Token): string {
  return token.kind.length <= 3 && token.kind !== 'end' ? `"${token.kind}"` : 'this'
}
