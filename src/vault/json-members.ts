import { isUtf8 } from 'node:buffer'

/** What a {@link MemberScanner} tells while bytes go through it. Buffers are lent for the time of the call. */
export type MemberEvents = {
  /** A member of the outermost object begins. `raw` is its name as it is written, with the quotes. */
  readonly begin: (name: string, raw: Buffer) => void
  /** The next bytes of its value, as they are written. */
  readonly value: (bytes: Buffer) => void
  readonly end: () => void
}

/** Called for what is not a JSON object as kvx takes it, in words without a value. */
export type MemberRefusal = (reason: string) => never

const deepest = 64
const longestName = 65_536
const longestNumber = 1024

const numberText = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/
const numberBytes = new Set(Buffer.from('+-.0123456789eE'))
const words = new Set(['true', 'false', 'null'])

type Expected = 'object' | 'value' | 'first-value' | 'name' | 'first-name' | 'colon' | 'next' | 'nothing'

/**
 * Checks one JSON object (RFC 8259) that arrives in pieces and tells the members of the outermost level, with
 * memory for one name and the names that were seen. As strict as kvx everywhere: UTF-8, no duplicate member at
 * any level, at most 64 levels, nothing behind the object. Names up to 64 KiB, numbers up to 1,024 digits.
 */
export class MemberScanner {
  readonly #events: MemberEvents
  readonly #refuse: MemberRefusal
  /** Names seen in each open object; undefined for an array. */
  readonly #open: (Set<string> | undefined)[] = []
  #expected: Expected = 'object'
  /** A token that goes on in the next piece. */
  #inside: 'name' | 'string' | 'scalar' | undefined
  #isEscaped = false
  #hexLeft = 0
  readonly #token: Buffer[] = []
  #tokenLength = 0
  /** Where the value of an outermost member goes on in this piece; -1 outside of one. */
  #valueStart = -1
  #cut: Buffer = Buffer.alloc(0)

  constructor(events: MemberEvents, refuse: MemberRefusal) {
    this.#events = events
    this.#refuse = refuse
  }

  push(chunk: Buffer): void {
    this.#checkText(chunk)
    if (this.#valueStart !== -1) this.#valueStart = 0
    let at = 0
    while (at < chunk.length) at = this.#step(chunk, at)
    if (this.#valueStart !== -1 && this.#valueStart < chunk.length) {
      this.#events.value(chunk.subarray(this.#valueStart))
    }
  }

  finish(): void {
    if (this.#expected !== 'nothing' || this.#cut.length > 0) this.#refuse('the JSON object is not complete')
  }

  /** A character may lie on both sides of a cut: its first bytes wait for the next piece. */
  #checkText(chunk: Buffer): void {
    const text = this.#cut.length === 0 ? chunk : Buffer.concat([this.#cut, chunk])
    let end = text.length
    for (let back = 1; back <= Math.min(3, text.length); back++) {
      const byte = text[text.length - back] ?? 0
      if (byte < 0x80) break
      if (byte < 0xc0) continue
      const length = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4
      if (length > back) end = text.length - back
      break
    }
    if (!isUtf8(text.subarray(0, end))) this.#refuse('the JSON is not UTF-8')
    this.#cut = Buffer.from(text.subarray(end))
  }

  #step(chunk: Buffer, at: number): number {
    if (this.#inside === 'name' || this.#inside === 'string') return this.#string(chunk, at)
    if (this.#inside === 'scalar') return this.#scalar(chunk, at)
    const byte = chunk[at] ?? 0
    if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) return at + 1
    switch (this.#expected) {
      case 'object':
        if (byte !== 0x7b) this.#refuse('it is not a JSON object')
        this.#enter(new Set())
        return at + 1
      case 'first-name':
      case 'name':
        return this.#nameOrEnd(chunk, at)
      case 'colon':
        if (byte !== 0x3a) this.#refuse('a member has no colon behind its name')
        this.#expected = 'value'
        return at + 1
      case 'first-value':
      case 'value':
        return this.#value(chunk, at)
      case 'next':
        return this.#next(chunk, at)
      case 'nothing':
      default:
        return this.#refuse('something follows the JSON object')
    }
  }

  #enter(names: Set<string> | undefined): void {
    if (this.#open.length >= deepest) this.#refuse(`the JSON has more than ${deepest} levels`)
    this.#open.push(names)
    this.#expected = names === undefined ? 'first-value' : 'first-name'
  }

  #nameOrEnd(chunk: Buffer, at: number): number {
    const byte = chunk[at]
    if (byte === 0x7d && this.#expected === 'first-name') return this.#leave(chunk, at)
    if (byte !== 0x22) this.#refuse('a member has no name in quotes')
    this.#inside = 'name'
    this.#keep(chunk, at, at + 1)
    return at + 1
  }

  #value(chunk: Buffer, at: number): number {
    const byte = chunk[at]
    if (byte === 0x5d && this.#expected === 'first-value') return this.#leave(chunk, at)
    if (this.#open.length === 1) this.#valueStart = at
    if (byte === 0x7b || byte === 0x5b) {
      this.#enter(byte === 0x7b ? new Set() : undefined)
      return at + 1
    }
    if (byte === 0x22) {
      this.#inside = 'string'
      return at + 1
    }
    this.#inside = 'scalar'
    return this.#scalar(chunk, at)
  }

  #next(chunk: Buffer, at: number): number {
    const byte = chunk[at]
    const isObject = this.#open.at(-1) !== undefined
    if (byte === (isObject ? 0x7d : 0x5d)) return this.#leave(chunk, at)
    if (byte !== 0x2c) this.#refuse('a comma or a closing bracket is missing')
    this.#expected = isObject ? 'name' : 'value'
    return at + 1
  }

  #leave(chunk: Buffer, at: number): number {
    this.#open.pop()
    this.#valueEnds(chunk, at + 1)
    return at + 1
  }

  #valueEnds(chunk: Buffer, end: number): void {
    this.#expected = this.#open.length === 0 ? 'nothing' : 'next'
    if (this.#open.length !== 1) return
    if (end > this.#valueStart) this.#events.value(chunk.subarray(this.#valueStart, end))
    this.#valueStart = -1
    this.#events.end()
  }

  #string(chunk: Buffer, start: number): number {
    let at = start
    for (; at < chunk.length; at++) {
      const byte = chunk[at] ?? 0
      if (this.#hexLeft > 0) this.#hexDigit(byte)
      else if (this.#isEscaped) this.#escape(byte)
      else if (byte === 0x5c) this.#isEscaped = true
      else if (byte === 0x22) return this.#stringEnds(chunk, start, at + 1)
      else if (byte < 0x20) this.#refuse('a string holds a control character that is not escaped')
    }
    if (this.#inside === 'name') this.#keep(chunk, start, at)
    return at
  }

  #hexDigit(byte: number): void {
    const isDigit = (byte >= 0x30 && byte <= 0x39) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66)
    if (!isDigit) this.#refuse('a string has an escape that JSON does not know')
    this.#hexLeft--
  }

  #escape(byte: number): void {
    this.#isEscaped = false
    if (byte === 0x75) this.#hexLeft = 4
    else if (!'"\\/bfnrt'.includes(String.fromCharCode(byte))) {
      this.#refuse('a string has an escape that JSON does not know')
    }
  }

  #stringEnds(chunk: Buffer, start: number, end: number): number {
    const isName = this.#inside === 'name'
    this.#inside = undefined
    if (!isName) {
      this.#valueEnds(chunk, end)
      return end
    }
    this.#keep(chunk, start, end)
    const raw = this.#take()
    const name = JSON.parse(raw.toString('utf8')) as string
    const names = this.#open.at(-1)
    if (names?.has(name) === true) this.#refuse('a member stands twice in the JSON')
    names?.add(name)
    this.#expected = 'colon'
    if (this.#open.length === 1) this.#events.begin(name, raw)
    return end
  }

  #scalar(chunk: Buffer, start: number): number {
    let at = start
    while (at < chunk.length && isScalarByte(chunk[at] ?? 0)) at++
    this.#keep(chunk, start, at)
    if (this.#tokenLength > longestNumber) this.#refuse(`a number has more than ${longestNumber} digits`)
    if (at === chunk.length) return at
    const text = this.#take().toString('latin1')
    if (!words.has(text) && !numberText.test(text)) this.#refuse('a value is no JSON')
    this.#inside = undefined
    this.#valueEnds(chunk, at)
    return at
  }

  #keep(chunk: Buffer, start: number, end: number): void {
    this.#token.push(Buffer.from(chunk.subarray(start, end)))
    this.#tokenLength += end - start
    if (this.#tokenLength > longestName) this.#refuse(`a name has more than ${longestName} bytes`)
  }

  #take(): Buffer {
    const whole = Buffer.concat(this.#token)
    this.#token.length = 0
    this.#tokenLength = 0
    return whole
  }
}

function isScalarByte(byte: number): boolean {
  return numberBytes.has(byte) || (byte >= 0x61 && byte <= 0x7a)
}
