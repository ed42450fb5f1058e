import { assignments, nonceLengths, type Structure, tagLength } from './assignments.ts'
import { type Decoding, decodings } from './decodings.ts'
import { jsonStructures } from './json-structures.ts'
import { literal } from './literal.ts'

const delimiters = [':', '.', '$', '|', ',', ';', '_', '-'] as const
const longestPrefix = 32

/**
 * Every layout that fits the structure of one value.
 * @param peers other values of its column, which tell a prefix from what happens to stand first
 */
export function structuresOf(value: Buffer, peers: readonly Buffer[], depth = 0): readonly Structure[] {
  const found = isPrintable(value)
    ? [...textStructures(value, peers, depth)]
    : [...rawStructures(value, peers)]
  const unique = new Map(found.map((one) => [one.layout, one]))
  return [...unique.values()].sort((one, other) => one.rank - other.rank)
}

/** Text as programs write sealed values; JSON may hold any text besides. */
function isPrintable(value: Buffer): boolean {
  if (value[0] === 0x7b) return true
  return value.every((byte) => (byte >= 0x20 && byte < 0x7f) || byte === 0x0a || byte === 0x0d)
}

/** Parts in the orders that applications have, without text around them. */
function blobLayouts(length: number): readonly Structure[] {
  return nonceLengths.flatMap((nonce, at) => {
    if (length < nonce + tagLength + 1) return []
    const words = `nonce of ${nonce} bytes, ciphertext, tag`
    return [
      { layout: `nonce:${nonce} ct tag:16`, words, rank: at },
      { layout: `nonce:${nonce} tag:16 ct`, words: `nonce of ${nonce} bytes, tag, ciphertext`, rank: at + 5 },
      {
        layout: `tag:16 nonce:${nonce} ct`,
        words: `tag, nonce of ${nonce} bytes, ciphertext`,
        rank: at + 20,
      },
      {
        layout: `ct tag:16 nonce:${nonce}`,
        words: `ciphertext, tag, nonce of ${nonce} bytes`,
        rank: at + 25,
      },
    ]
  })
}

function* rawStructures(value: Uint8Array, peers: readonly Buffer[]): Generator<Structure> {
  yield* blobLayouts(value.length)
  const whole = Buffer.from(value)
  const others = peers.filter((peer) => !peer.equals(whole))
  yield* headed(whole, numberHeads(whole))
  yield* headed(whole, commonHeads(whole, others))
}

type Head = Structure & { readonly length: number }

function* headed(value: Buffer, heads: readonly Head[]): Generator<Structure> {
  for (const head of heads) {
    for (const blob of blobLayouts(value.length - head.length)) {
      const words = `${head.words}, ${blob.words}`
      const { repeats = false, isNumbered = false } = head
      yield {
        layout: `${head.layout} ${blob.layout}`,
        words,
        rank: blob.rank + head.rank,
        repeats,
        isNumbered,
      }
    }
  }
}

/** A version in front, as small numbers look; one that is no version of the key is left as it is. */
function numberHeads(value: Buffer): readonly Head[] {
  const heads: Head[] = []
  const [first = 0] = value
  const small = 100_000
  if (value.length > 4 && value.readUInt32BE(0) < small) {
    heads.push({ layout: 'u32be(version)', length: 4, words: 'a version of 4 bytes', rank: 30 })
    heads.push({ layout: 'skip:4', length: 4, words: '4 other bytes', rank: 70 })
  }
  if (value.length > 2 && first === 0) {
    heads.push({ layout: 'u16be(version)', length: 2, words: 'a version of 2 bytes', rank: 40 })
  }
  if (first > 0 && first < 32) {
    // One byte is more often the version of a format.
    heads.push({ layout: 'u8(version)', length: 1, words: 'a version of 1 byte', rank: 65 })
    heads.push({ layout: 'skip:1', length: 1, words: '1 other byte', rank: 80 })
  }
  return heads
}

/** What several values begin with. */
function commonHeads(value: Buffer, others: readonly Buffer[]): readonly Head[] {
  const lengths = others.map((other) => commonLength(value, other)).filter((shared) => shared > 0)
  const length = lengths.length * 2 < others.length ? 0 : Math.min(...lengths)
  if (length === 0 || length > longestPrefix) return []
  const words = length === 1 ? 'the byte that all begin with' : `${length} bytes that all begin with`
  const isNumbered = length === 1 && (value[0] ?? 0) < 32
  const layout = literal(value.subarray(0, length))
  return [{ layout, length, words, rank: 60, repeats: true, isNumbered }]
}

function commonLength(one: Buffer, other: Buffer): number {
  let length = 0
  while (length < one.length && length < other.length && one[length] === other[length]) length++
  return length
}

function* textStructures(value: Buffer, peers: readonly Buffer[], depth: number): Generator<Structure> {
  const ends = value.at(-1) === 0x0a ? (value.at(-2) === 0x0d ? 2 : 1) : 0
  const suffix = ends === 0 ? '' : ` ${literal(value.subarray(value.length - ends))}`
  const text = value.subarray(0, value.length - ends)
  for (const prefix of prefixesOf(text, peers)) {
    const body = text.subarray(prefix.length)
    for (const one of bodyStructures(
      body,
      peers.map((peer) => peer.subarray(prefix.length)),
      depth,
    )) {
      const layout = `${prefix.layout}${one.layout}${suffix}`
      const repeats = prefix.length > 0 || one.repeats === true
      const isNumbered = prefix.isNumbered === true || one.isNumbered === true
      yield {
        layout,
        words: `${prefix.words}${one.words}`,
        rank: one.rank + prefix.rank,
        repeats,
        isNumbered,
      }
    }
  }
}

type Prefix = {
  readonly layout: string
  readonly length: number
  readonly words: string
  readonly rank: number
}

const noPrefix: Prefix = { layout: '', length: 0, words: '', rank: 0 }

/** What stands before the encoded bytes: up to a delimiter, or what several values begin with. */
function prefixesOf(text: Buffer, peers: readonly Buffer[]): readonly Head[] {
  const start = text.subarray(0, longestPrefix).toString('latin1')
  const lengths = new Set<number>()
  for (const match of start.matchAll(/[:.$|,;_\-/=]+/g)) lengths.add(match.index + match[0].length)
  const others = peers.filter((peer) => !peer.equals(text))
  const shared = commonLengths(text, others)
  if (shared > 0 && shared <= longestPrefix) lengths.add(shared)
  return [
    noPrefix,
    ...[...lengths].sort((a, b) => a - b).flatMap((length) => prefixes(start.slice(0, length))),
  ]
}

function commonLengths(text: Buffer, others: readonly Buffer[]): number {
  const lengths = others.slice(0, 50).map((other) => commonLength(text, other))
  return lengths.length < 2 ? 0 : Math.min(...lengths.filter((length) => length > 0), longestPrefix + 1)
}

function prefixes(text: string): readonly Head[] {
  const { length } = text
  const bytes = Buffer.from(text, 'latin1')
  const plain: Head = { layout: `${literal(bytes)} `, length, words: 'a prefix, ', rank: 10 }
  const number = /^(\D*)([1-9]\d{0,7})(\D+)$/.exec(text)
  if (number === null) return [plain]
  const [, before = '', , after = ''] = number
  const isOfKey = before.endsWith('vault:v')
  const head = before === '' ? '' : `${literal(Buffer.from(before, 'latin1'))} `
  const layout = `${head}dec(version) ${literal(Buffer.from(after, 'latin1'))} `
  const numbered = { layout, length, words: 'a prefix with the version, ', rank: isOfKey ? 9 : 11 }
  return [numbered, { ...plain, isNumbered: true }]
}

function* bodyStructures(body: Buffer, peers: readonly Buffer[], depth: number): Generator<Structure> {
  for (const { codec, bytes } of decodings(body)) {
    yield* wrapIn(codec.name, rawStructures(bytes, decodedPeers(codec, peers)), 0)
    const inner = Buffer.from(bytes)
    if (depth === 0 && isPrintable(inner)) yield* wrapIn(codec.name, structuresOf(inner, [], 1), 5)
  }
  for (const delimiter of delimiters) yield* partStructures(body, delimiter)
  yield* jsonStructures(body)
}

function decodedPeers(codec: Decoding['codec'], peers: readonly Buffer[]): readonly Buffer[] {
  return peers.slice(0, 20).flatMap((peer) => {
    const bytes = codec.decode(peer)
    return bytes instanceof Uint8Array ? [Buffer.from(bytes)] : []
  })
}

function* wrapIn(codec: string, inner: Iterable<Structure>, more: number): Generator<Structure> {
  for (const { layout, words, rank, repeats = false, isNumbered = false } of inner) {
    yield {
      layout: `${codec}(${layout})`,
      words: `${codec} of ${words}`,
      rank: rank + more,
      repeats,
      isNumbered,
    }
  }
}

/** Parts with a delimiter between them, each in the same encoding: `hex(nonce:12) ":" hex(tag:16) ":" hex(ct)`. */
function* partStructures(body: Buffer, delimiter: string): Generator<Structure> {
  const parts = body.toString('latin1').split(delimiter)
  if (parts.length < 2 || parts.length > 4 || parts.includes('')) return
  const options = parts.map((part) => decodings(Buffer.from(part, 'latin1'), 2))
  for (const { codec } of options[0] ?? []) {
    const sizes = options.map((each) => each.find((one) => one.codec === codec)?.bytes.length)
    if (sizes.includes(undefined)) continue
    for (const { names, rank } of assignments(sizes.map((size) => size ?? 0))) {
      const joined = names
        .map((name) => `${codec.name}(${name})`)
        .join(` ${literal(Buffer.from(delimiter))} `)
      yield { layout: joined, words: `parts in ${codec.name} with ${delimiter} between them`, rank }
    }
  }
}
