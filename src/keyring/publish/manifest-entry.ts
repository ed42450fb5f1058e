import { isMap, type Node, type Pair, type Scalar, type YAMLMap } from 'yaml'
import { base64, isFault } from '../../core/layout/text-codecs.ts'
import { findSecret, invalid, pairOf, type SecretName, type SecretObject, scalarOf } from './manifest.ts'

/** One value of a Secret: read it, set it, take it out. Every other byte of the manifest stays. */

type Entry = { readonly map: YAMLMap; readonly pair: Pair; readonly isPlain: boolean }

/**
 * The bytes that the container gets: `data` is decoded once, `stringData` is taken as it is. The caller wipes them.
 * @returns undefined where there is no such value, or an empty one
 * @throws CONFIG_INVALID when the value is written in a way that kvx cannot change to the byte
 */
export function readEntry(bytes: Buffer, wanted: SecretName, key: string): Buffer | undefined {
  const entry = findEntry(findSecret(bytes, wanted, [key]), wanted, key)
  const scalar = entry && scalarOf(entry.pair, key, wanted)
  if (entry === undefined || scalar === undefined) return undefined
  const text = innerText(bytes, scalar)
  try {
    if (text.length === 0) return undefined
    if (entry.isPlain) return plainText(text, key, wanted)
    const decoded = base64.decode(text.filter((byte) => !isBlank(byte)))
    if (!isFault(decoded)) return Buffer.from(decoded)
    throw invalid(
      wanted,
      `holds something else than base64 in ${key}`,
      'Values under `data:` are base64 of what the container gets.',
    )
  } finally {
    text.fill(0)
  }
}

/** The manifest with one value set to these bytes, or without it. A new buffer, which the caller wipes. */
export function withEntry(
  bytes: Buffer,
  wanted: SecretName,
  key: string,
  content: Buffer | undefined,
): Buffer {
  const secret = findSecret(bytes, wanted, [key])
  const entry = findEntry(secret, wanted, key)
  if (entry === undefined)
    return content === undefined ? Buffer.from(bytes) : inserted(bytes, secret, key, content)
  if (content === undefined) return removed(bytes, entry)
  const scalar = scalarOf(entry.pair, key, wanted)
  const text = entry.isPlain ? quoted(content) : base64Text(content)
  try {
    return scalar === undefined || isNothing(scalar)
      ? behindColon(bytes, rangeOf(scalar ?? entry.pair.key)[1], text)
      : replaced(bytes, scalar, text, entry.isPlain)
  } finally {
    text.fill(0)
  }
}

function findEntry(secret: SecretObject, wanted: SecretName, key: string): Entry | undefined {
  const found: Entry[] = []
  for (const [section, isPlain] of [
    [secret.data, false],
    [secret.stringData, true],
  ] as const) {
    const map = section?.value
    const pair = isMap(map) ? pairOf(map, key, wanted) : undefined
    if (isMap(map) && pair !== undefined) found.push({ map, pair, isPlain })
  }
  if (found.length < 2) return found[0]
  throw invalid(
    wanted,
    `has ${key} under \`data:\` and under \`stringData:\``,
    'Kubernetes takes the latter: leave one.',
  )
}

function rangeOf(node: unknown): readonly [number, number] {
  const range = (node as Node | null | undefined)?.range
  if (range == null) throw new TypeError('a parsed node has its range')
  return [range[0], range[1]]
}

/** A scalar's bytes without its quotes, or without the header of a block. */
function innerText(bytes: Buffer, scalar: Scalar): Buffer {
  const [start, end] = rangeOf(scalar)
  const source = bytes.subarray(start, end)
  if (isBlock(scalar)) return Buffer.from(source.subarray(source.indexOf('\n') + 1))
  return Buffer.from(isQuoted(scalar) ? source.subarray(1, -1) : source)
}

function isBlock({ type }: Scalar): boolean {
  return type === 'BLOCK_LITERAL' || type === 'BLOCK_FOLDED'
}

function isQuoted({ type }: Scalar): boolean {
  return type === 'QUOTE_SINGLE' || type === 'QUOTE_DOUBLE'
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d
}

/** Text of one line without anything that YAML would turn into something else. */
function plainText(text: Buffer, key: string, wanted: SecretName): Buffer {
  let [start, end] = [0, text.length]
  while (start < end && isBlank(text[start] ?? 0)) start++
  while (end > start && isBlank(text[end - 1] ?? 0)) end--
  const line = text.subarray(start, end)
  if (line.includes('\n') || line.includes('\\') || line.includes("''"))
    throw invalid(
      wanted,
      `holds a value with escapes or several lines in ${key}`,
      'Write it as one line, or under `data:` in base64.',
    )
  return Buffer.from(line)
}

function base64Text(content: Buffer): Buffer {
  return Buffer.from(base64.encode(content))
}

/** A text in double quotes, as YAML and JSON both read it. */
function quoted(content: Buffer): Buffer {
  const text = Buffer.alloc(content.length * 2 + 2, '"')
  let at = 1
  for (const byte of content) {
    if (byte === 0x22 || byte === 0x5c) text[at++] = 0x5c
    text[at++] = byte
  }
  return text.subarray(0, at + 1)
}

/** A value that is not there: `KEK:` alone in its line. */
function isNothing(scalar: Scalar): boolean {
  const [start, end] = rangeOf(scalar)
  return start === end
}

function behindColon(bytes: Buffer, end: number, text: Buffer): Buffer {
  const at = bytes[end] === 0x3a ? end + 1 : end
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(' '), text, bytes.subarray(at)])
}

/** @param isPlain the text has its quotes already; else those of the old value are kept */
function replaced(bytes: Buffer, scalar: Scalar, text: Buffer, isPlain: boolean): Buffer {
  const [start, end] = rangeOf(scalar)
  const quote = isQuoted(scalar) && !isPlain ? bytes.subarray(start, start + 1) : Buffer.alloc(0)
  const tail = isBlock(scalar) && bytes[end - 1] === 0x0a ? lineBreak(bytes) : Buffer.alloc(0)
  return Buffer.concat([bytes.subarray(0, start), quote, text, quote, tail, bytes.subarray(end)])
}

function lineBreak(bytes: Buffer): Buffer {
  return Buffer.from(bytes.includes('\r\n') ? '\r\n' : '\n')
}

/** Where the line ends that an offset lies in, its break included; a block scalar's end lies behind it already. */
function afterLine(bytes: Buffer, at: number): number {
  if (bytes[at - 1] === 0x0a) return at
  const end = bytes.indexOf('\n', at)
  return end === -1 ? bytes.length : end + 1
}

function beforeLine(bytes: Buffer, at: number): number {
  return at === 0 ? 0 : bytes.lastIndexOf('\n', at - 1) + 1
}

function endOf({ key, value }: Pair): number {
  return isMap(value) && !value.flow && value.items.length > 0
    ? endOf(value.items.at(-1) as Pair)
    : rangeOf(value ?? key)[1]
}

function removed(bytes: Buffer, { map, pair }: Entry): Buffer {
  const [start] = rangeOf(pair.key)
  const end = endOf(pair)
  if (!map.flow) return without(bytes, beforeLine(bytes, start), afterLine(bytes, end))
  const at = map.items.indexOf(pair)
  const [next, before] = [map.items[at + 1], map.items[at - 1]]
  if (next !== undefined) return without(bytes, start, rangeOf(next.key)[0])
  return without(bytes, before === undefined ? start : endOf(before), end)
}

function without(bytes: Buffer, start: number, end: number): Buffer {
  return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)])
}

/** A new value goes behind the last one of `data:`, which is made where the Secret has none. */
function inserted(bytes: Buffer, { map, data }: SecretObject, key: string, content: Buffer): Buffer {
  const text = base64Text(content)
  const flow = Buffer.concat([Buffer.from(`"${key}": "`), text, Buffer.from('"')])
  const line = (indent: string): Buffer =>
    Buffer.concat([Buffer.from(`${indent}${key}: `), text, lineBreak(bytes)])
  try {
    if (data !== undefined && isMap(data.value)) {
      return data.value.flow ? intoFlow(bytes, data.value, flow) : behind(bytes, data.value, line)
    }
    const braces = Buffer.concat([Buffer.from('{'), flow, Buffer.from('}')])
    if (data !== undefined) {
      const [start, end] = rangeOf(data.value)
      if (start < end) return spliced(without(bytes, start, end), start, braces)
      const [keyStart, keyEnd] = rangeOf(data.key)
      return spliced(bytes, afterLine(bytes, keyEnd), line(`${indentAt(bytes, keyStart)}  `))
    }
    if (map.flow) return intoFlow(bytes, map, Buffer.concat([Buffer.from('"data": '), braces]))
    return behind(bytes, map, (indent) =>
      Buffer.concat([Buffer.from(`${indent}data:`), lineBreak(bytes), line(`${indent}  `)]),
    )
  } finally {
    text.fill(0)
    flow.fill(0)
  }
}

function intoFlow(bytes: Buffer, map: YAMLMap, pair: Buffer): Buffer {
  const [first] = map.items
  if (first === undefined) return spliced(bytes, rangeOf(map)[0] + 1, pair)
  return spliced(bytes, rangeOf(first.key)[0], Buffer.concat([pair, Buffer.from(', ')]))
}

function behind(bytes: Buffer, map: YAMLMap, line: (indent: string) => Buffer): Buffer {
  const [first, last] = [map.items[0], map.items.at(-1)]
  if (first === undefined || last === undefined) throw new TypeError('a block has a first pair')
  return spliced(bytes, afterLine(bytes, endOf(last)), line(indentAt(bytes, rangeOf(first.key)[0])))
}

/** Blanks up to the column of an offset; a dash of a list before it counts as one. */
function indentAt(bytes: Buffer, at: number): string {
  return ' '.repeat(at - beforeLine(bytes, at))
}

/** Consumes the text, which holds a key: its bytes are zeros afterwards. */
function spliced(bytes: Buffer, at: number, text: Buffer): Buffer {
  const isOpen = at > 0 && at === bytes.length && bytes[at - 1] !== 0x0a
  const gap = isOpen ? lineBreak(bytes) : Buffer.alloc(0)
  const result = Buffer.concat([bytes.subarray(0, at), gap, text, bytes.subarray(at)])
  text.fill(0)
  return result
}
