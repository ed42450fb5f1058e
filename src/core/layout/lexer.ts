import type { SourceText, Span } from './source-text.ts'

const marks = ['...', '(', ')', '{', '}', '[', ']', ',', ':', '=', "'", '|'] as const

type Mark = (typeof marks)[number]

export type Token =
  | (Span & { readonly kind: Mark | 'end' })
  | (Span & { readonly kind: 'name'; readonly text: string })
  | (Span & { readonly kind: 'number'; readonly value: bigint })
  | (Span & { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly quoted: boolean })

const name = /[A-Za-z_$][A-Za-z0-9_$]*(?:[.-][A-Za-z0-9_$]+)*/y
const digits = /[0-9]+(?![A-Za-z0-9_])/y
const hexBytes = /0[xX]([0-9A-Za-z_]*)/y
const space = /\s+/y

function match(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at
  return pattern.exec(text)
}

/** @throws LAYOUT_INVALID */
export function tokensOf(source: SourceText): readonly Token[] {
  const { text } = source
  const tokens: Token[] = []
  let at = 0
  while (at < text.length) {
    at += match(space, text, at)?.[0].length ?? 0
    if (at >= text.length) break
    const token = tokenAt(source, at)
    tokens.push(token)
    at = token.end
  }
  tokens.push({ kind: 'end', start: text.length, end: text.length })
  return tokens
}

function tokenAt(source: SourceText, start: number): Token {
  const { text } = source
  if (text[start] === '"') return quoted(source, start)
  const hex = match(hexBytes, text, start)
  if (hex !== null) return hexLiteral(source, { start, end: start + hex[0].length }, hex[1] ?? '')
  const number = match(digits, text, start)?.[0]
  if (number !== undefined) {
    const end = start + number.length
    if (number.length <= 20) return { kind: 'number', value: BigInt(number), start, end }
    throw source.error({ start, end }, 'this number has more than 20 digits', 'write a number below 2^64')
  }
  const word = match(name, text, start)?.[0]
  if (word !== undefined) return { kind: 'name', text: word, start, end: start + word.length }
  const mark = marks.find((each) => text.startsWith(each, start))
  if (mark !== undefined) return { kind: mark, start, end: start + mark.length }
  const end =
    start + (/^[0-9]/.test(text.slice(start)) ? (/^\w+/.exec(text.slice(start))?.[0].length ?? 1) : 1)
  throw source.error(
    { start, end },
    'this is no part, literal, column or function',
    'put bytes that stand in the value as they are into quotes, like ":" or "enc:v1:"',
  )
}

function hexLiteral(source: SourceText, span: Span, text: string): Token {
  if (text === '' || text.length % 2 === 1 || /[^0-9A-Fa-f]/.test(text)) {
    throw source.error(
      span,
      'a hex literal is 0x and two hex digits for each byte',
      'write it like 0x01 or 0x00ff',
    )
  }
  return { ...span, kind: 'bytes', bytes: Uint8Array.from(Buffer.from(text, 'hex')), quoted: false }
}

const escapes: ReadonlyMap<string, string> = new Map([
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['"', '"'],
  ['\\', '\\'],
])

function quoted(source: SourceText, start: number): Token {
  const { text } = source
  const pieces: Uint8Array[] = []
  let plain = ''
  let at = start + 1
  for (; at < text.length && text[at] !== '"' && text[at] !== '\n'; at++) {
    if (text[at] !== '\\') {
      plain += text[at]
      continue
    }
    const code = /^x[0-9A-Fa-f]{2}/.exec(text.slice(at + 1, at + 4))?.[0].slice(1)
    const escape = escapes.get(text[at + 1] ?? '')
    if (code === undefined && escape === undefined) {
      const hint = 'write \\n, \\r, \\t, \\", \\\\ or \\xHH with two hex digits'
      throw source.error({ start: at, end: Math.min(at + 2, text.length) }, 'this escape is not known', hint)
    }
    plain += escape ?? ''
    at += code === undefined ? 1 : 3
    if (code === undefined) continue
    pieces.push(Buffer.from(plain.toWellFormed()), Buffer.from(code, 'hex'))
    plain = ''
  }
  if (text[at] !== '"') {
    throw source.error(
      { start, end: at },
      'this text has no closing quote',
      'end the text with " on the same line',
    )
  }
  pieces.push(Buffer.from(plain.toWellFormed()))
  return { kind: 'bytes', bytes: Uint8Array.from(Buffer.concat(pieces)), quoted: true, start, end: at + 1 }
}
