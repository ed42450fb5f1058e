import { isUtf8 } from './coded-fields.ts'

/** A value in a document of JSON: the offsets of its first byte and of the byte behind it. */
export type JsonValue =
  | {
      readonly kind: 'object'
      readonly start: number
      readonly end: number
      readonly members: ReadonlyMap<string, JsonValue>
    }
  | {
      readonly kind: 'array'
      readonly start: number
      readonly end: number
      readonly elements: readonly JsonValue[]
    }
  | { readonly kind: 'string' | 'number' | 'word'; readonly start: number; readonly end: number }

/** Called for what is not JSON, with the offset. */
export type JsonRefusal = (at: number, reason: string) => never

const deepest = 64

/**
 * Reads one document of JSON (RFC 8259) from bytes to spans, in one pass. Stricter than `JSON.parse`: a
 * duplicate member, bytes behind the document and text that is not UTF-8 are refused.
 */
export function scanJson(bytes: Uint8Array, refuse: JsonRefusal): JsonValue {
  if (!isUtf8(bytes)) refuse(0, 'the document is not UTF-8')
  const scan = new Scan(bytes, refuse)
  const value = scan.value(0)
  scan.finish()
  return value
}

class NoJson extends Error {}

/** Where the document ends that the bytes begin with; their own end where they begin with none. */
export function jsonExtent(bytes: Uint8Array): number {
  const scan = new Scan(bytes, () => {
    throw new NoJson()
  })
  try {
    return scan.value(0).end
  } catch (error) {
    if (error instanceof NoJson || error instanceof SyntaxError) return bytes.length
    throw error
  }
}

/** The characters of a string, given the offsets of its quotes. */
export function stringIn(
  bytes: Uint8Array,
  { start, end }: { readonly start: number; readonly end: number },
): string {
  const text: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(start, end)))
  return typeof text === 'string' ? text : ''
}

const numberPattern = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const words = ['true', 'false', 'null'].map((word) => new TextEncoder().encode(word))
const numberBytes = new Set(new TextEncoder().encode('+-.0123456789eE'))
const escapable = new Set(new TextEncoder().encode('"\\/bfnrtu'))

class Scan {
  readonly #bytes: Uint8Array
  readonly #refuse: JsonRefusal
  #at = 0

  constructor(bytes: Uint8Array, refuse: JsonRefusal) {
    this.#bytes = bytes
    this.#refuse = refuse
  }

  finish(): void {
    this.#space()
    if (this.#at < this.#bytes.length) this.#refuse(this.#at, 'bytes follow the document')
  }

  value(depth: number): JsonValue {
    if (depth > deepest) this.#refuse(this.#at, `the document is more than ${deepest} levels deep`)
    this.#space()
    const start = this.#at
    const first = this.#bytes[start]
    if (first === 0x7b) return this.#object(start, depth)
    if (first === 0x5b) return this.#array(start, depth)
    if (first === 0x22) {
      this.#string()
      return { kind: 'string', start, end: this.#at }
    }
    const word = words.find((each) => each.every((byte, index) => this.#bytes[start + index] === byte))
    if (word !== undefined) {
      this.#at += word.length
      return { kind: 'word', start, end: this.#at }
    }
    return this.#number(start)
  }

  #object(start: number, depth: number): JsonValue {
    const members = new Map<string, JsonValue>()
    this.#at++
    this.#space()
    if (this.#bytes[this.#at] === 0x7d) this.#at++
    else {
      do {
        this.#space()
        const from = this.#at
        if (this.#bytes[from] !== 0x22) this.#refuse(from, 'a member does not begin with a quote')
        this.#string()
        const name = stringIn(this.#bytes, { start: from, end: this.#at })
        if (members.has(name)) this.#refuse(from, 'a member occurs twice')
        this.#space()
        if (this.#bytes[this.#at] !== 0x3a) this.#refuse(this.#at, 'a colon is missing')
        this.#at++
        members.set(name, this.value(depth + 1))
      } while (this.#goesOn(0x7d))
    }
    return { kind: 'object', start, end: this.#at, members }
  }

  #array(start: number, depth: number): JsonValue {
    const elements: JsonValue[] = []
    this.#at++
    this.#space()
    if (this.#bytes[this.#at] === 0x5d) this.#at++
    else
      do elements.push(this.value(depth + 1))
      while (this.#goesOn(0x5d))
    return { kind: 'array', start, end: this.#at, elements }
  }

  /** True behind a comma, false behind the closing bracket. */
  #goesOn(close: number): boolean {
    this.#space()
    const byte = this.#bytes[this.#at]
    if (byte !== 0x2c && byte !== close) this.#refuse(this.#at, 'a comma or the closing bracket is missing')
    this.#at++
    return byte === 0x2c
  }

  #string(): void {
    const start = this.#at++
    for (let byte = this.#bytes[this.#at]; byte !== 0x22; byte = this.#bytes[++this.#at]) {
      if (byte === undefined) this.#refuse(start, 'a string has no end')
      else if (byte < 0x20) this.#refuse(this.#at, 'a string contains a control character')
      else if (byte === 0x5c) this.#escape()
    }
    this.#at++
  }

  #escape(): void {
    const kind = this.#bytes[++this.#at]
    if (kind === undefined || !escapable.has(kind))
      this.#refuse(this.#at, 'a string contains an unknown escape')
    if (kind !== 0x75) return
    for (let digit = 0; digit < 4; digit++) {
      const code = this.#bytes[++this.#at] ?? 0
      if (!/[0-9A-Fa-f]/.test(String.fromCharCode(code))) this.#refuse(this.#at, 'an escape lacks hex digits')
    }
  }

  #number(start: number): JsonValue {
    let end = start
    while (numberBytes.has(this.#bytes[end] ?? 0)) end++
    const text = new TextDecoder('latin1').decode(this.#bytes.subarray(start, end))
    numberPattern.lastIndex = 0
    if (end === start || numberPattern.exec(text)?.[0].length !== text.length)
      this.#refuse(start, 'this is not JSON')
    this.#at = end
    return { kind: 'number', start, end }
  }

  #space(): void {
    for (;;) {
      const byte = this.#bytes[this.#at]
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return
      this.#at++
    }
  }
}
