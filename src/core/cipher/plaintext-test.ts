import { isUtf8 } from '../layout/coded-fields.ts'
import { scanJson } from '../layout/json-scan.ts'
import { nearest } from '../layout/nearest.ts'
import { tokensOf, type Token } from '../layout/lexer.ts'
import { SourceText } from '../layout/source-text.ts'

/** True for bytes that can be a plaintext of the application. */
export type PlaintextTest = (plaintext: Uint8Array) => boolean

/**
 * What tells a plaintext from the garbage that a wrong key gives where nothing authenticates:
 * `utf8`, `json`, `prefix "sk-"`, `length 32`, and several with `and`.
 * @throws LAYOUT_INVALID with a caret under the place
 */
export function plaintextTest(text: string): PlaintextTest {
  const source = new SourceText('plaintext', text)
  const reader = new Reader(source)
  const tests = [reader.test()]
  while (reader.goesOn()) tests.push(reader.test())
  return (plaintext) => tests.every((passes) => passes(plaintext))
}

const words = ['utf8', 'json', 'prefix', 'length']
const example = 'write utf8, json, prefix "…", length 32, or several with and between them'

class Reader {
  readonly #source: SourceText
  readonly #tokens: readonly Token[]
  #at = 0

  constructor(source: SourceText) {
    this.#source = source
    this.#tokens = tokensOf(source)
  }

  /** True behind `and`, false at the end. */
  goesOn(): boolean {
    const token = this.#next()
    if (token.kind === 'end') return false
    if (token.kind === 'name' && token.text === 'and') return true
    throw this.#source.error(token, 'another test follows behind and only', example)
  }

  test(): PlaintextTest {
    const token = this.#next()
    if (token.kind !== 'name' || !words.includes(token.text)) {
      const like = token.kind === 'name' ? nearest(token.text, words) : undefined
      throw this.#source.error(token, 'this is no test of a plaintext', like ? `write ${like}` : example)
    }
    if (token.text === 'utf8') return isUtf8
    if (token.text === 'json') return isJson
    return token.text === 'prefix' ? this.#prefix(token) : this.#length(token)
  }

  #prefix(word: Token): PlaintextTest {
    const token = this.#next()
    if (token.kind === 'bytes' && token.bytes.length > 0) {
      const { bytes } = token
      return (plaintext) => bytes.every((byte, at) => plaintext[at] === byte)
    }
    throw this.#source.error(word, 'prefix lacks its bytes', 'write e.g. prefix "sk-" or prefix 0x0001')
  }

  #length(word: Token): PlaintextTest {
    const token = this.#next()
    if (token.kind === 'number' && token.value < 2n ** 31n) {
      const { value } = token
      return (plaintext) => BigInt(plaintext.length) === value
    }
    throw this.#source.error(word, 'length lacks its number of bytes', 'write e.g. length 32')
  }

  #next(): Token {
    const token = this.#tokens[Math.min(this.#at++, this.#tokens.length - 1)]
    if (token === undefined) throw new TypeError('there is always an end token')
    return token
  }
}

class NoJson extends Error {}

function isJson(plaintext: Uint8Array): boolean {
  try {
    scanJson(plaintext, () => {
      throw new NoJson()
    })
    return true
  } catch (error) {
    if (error instanceof NoJson) return false
    throw error
  }
}
