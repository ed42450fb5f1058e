/**
 * JSON values whose bytes are determined: integers within 2^53, no fractions, no absent fields.
 * Larger counters are strings, as everywhere in kvx's JSON.
 */
export type CanonicalValue =
  | null
  | boolean
  | number
  | string
  | readonly CanonicalValue[]
  | { readonly [name: string]: CanonicalValue }

const deepest = 64

/**
 * The one sequence of UTF-8 bytes that stands for `value`: what is signed and hashed.
 *
 * It is RFC 8785 (JCS) for the values it takes: names sorted by UTF-16 code units, no white space, the string
 * escapes of ECMAScript, strings as they are (no Unicode normalisation). Takes plain objects and arrays only.
 * @throws TypeError naming the place, never the value: for `undefined`, NaN, fractions, integers beyond 2^53,
 * functions, symbols, bigint, lone surrogates, holes, instances of classes, more than 64 levels
 */
export function canonicalJson(value: unknown): Buffer {
  return Buffer.from(textOf(value, '$', 0), 'utf8')
}

function textOf(value: unknown, place: string, depth: number): string {
  if (depth > deepest) throw refused(place, `more than ${deepest} levels`)
  if (value === null || typeof value === 'boolean') return String(value)
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw refused(place, 'a number that is not a safe integer')
    return JSON.stringify(value)
  }
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw refused(place, 'a string with half a surrogate pair')
    return JSON.stringify(value)
  }
  if (Array.isArray(value)) return arrayText(value, place, depth)
  if (typeof value === 'object') return objectText(value, place, depth)
  throw refused(place, typeof value)
}

function arrayText(values: readonly unknown[], place: string, depth: number): string {
  // Array.from turns a hole into `undefined`, which is then refused; map would pass over it.
  const texts = Array.from(values, (value, index) => textOf(value, `${place}[${index}]`, depth + 1))
  return `[${texts.join(',')}]`
}

function objectText(object: object, place: string, depth: number): string {
  const prototype: unknown = Object.getPrototypeOf(object)
  if (prototype !== Object.prototype && prototype !== null) throw refused(place, 'an instance of a class')
  if (Object.getOwnPropertySymbols(object).length > 0) throw refused(place, 'a name that is a symbol')
  const fields = Object.entries(object)
  fields.sort(([one], [other]) => (one < other ? -1 : 1))
  const texts = fields.map(([name, value]) => {
    if (!name.isWellFormed()) throw refused(place, 'a name with half a surrogate pair')
    return `${JSON.stringify(name)}:${textOf(value, `${place}.${name}`, depth + 1)}`
  })
  return `{${texts.join(',')}}`
}

function refused(place: string, what: string): TypeError {
  return new TypeError(`canonical JSON can't hold ${what}, at ${place}`)
}
