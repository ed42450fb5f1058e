/** Numbers of 0 to 1, the same in each run: xorshift. */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

const edges = [0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x20, 0x22, 0x7b, 0x7d]
const values = [
  null,
  true,
  -1,
  0,
  1e300,
  2 ** 53,
  0.5,
  '',
  'x',
  '\u0000',
  '2026-01-01T00:00:00Z',
  [],
  {},
  [[]],
]

export class Mutator {
  private readonly random: () => number
  private readonly words: readonly string[]

  constructor(random: () => number, words: readonly string[]) {
    this.random = random
    this.words = words
  }

  below(count: number): number {
    return Math.floor(this.random() * count)
  }

  one<T>(list: readonly T[], otherwise: T): T {
    return list[this.below(list.length)] ?? otherwise
  }

  /** The input with one to eight changes; `other` is one that parts may come from. */
  change(input: Buffer, other: Buffer, most: number): Buffer {
    let bytes = input
    for (let left = 2 ** this.below(4); left > 0; left--) bytes = this.once(bytes, other)
    return bytes.subarray(0, most)
  }

  private once(bytes: Buffer, other: Buffer): Buffer {
    const at = this.below(bytes.length + 1)
    const length = 1 + this.below(this.below(8) === 0 ? 200 : 8)
    const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)]
    switch (this.below(9)) {
      case 0:
        return Buffer.concat([head, tail.subarray(length)])
      case 1:
        return Buffer.concat([head, tail.subarray(0, length), tail])
      case 2:
        return Buffer.concat([head, Buffer.of(this.one(edges, 0)), tail.subarray(1)])
      case 3:
        return Buffer.concat([head, Buffer.of((tail[0] ?? 0) ^ (1 << this.below(8))), tail.subarray(1)])
      case 4:
        return Buffer.concat([head, Buffer.from(this.one(this.words, '')), tail])
      case 5: {
        const word = Buffer.from(this.one(this.words, ''))
        return Buffer.concat([head, word, tail.subarray(length)])
      }
      case 6: {
        const from = this.below(other.length)
        return Buffer.concat([head, other.subarray(from, from + length * 8), tail])
      }
      case 7:
        return Buffer.concat([head, other.subarray(Math.min(at, other.length))])
      default:
        return this.changeDocument(bytes)
    }
  }

  /** A JSON document with one member replaced, doubled or taken away; other bytes get a number changed. */
  private changeDocument(bytes: Buffer): Buffer {
    let document: unknown
    try {
      document = JSON.parse(bytes.toString())
    } catch {
      const changed = bytes
        .toString('latin1')
        .replace(/\d+/, () => String(this.one([0, 1, 33, 65536, 2 ** 53], 0)))
      return Buffer.from(changed, 'latin1')
    }
    const places: [Record<string, unknown>, string][] = []
    const walk = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return
      for (const name of Object.keys(value)) {
        places.push([value as Record<string, unknown>, name])
        walk((value as Record<string, unknown>)[name])
      }
    }
    walk(document)
    const place = places[this.below(places.length)]
    if (place === undefined) return bytes
    const [parent, name] = place
    const other = places[this.below(places.length)]
    const kind = this.below(4)
    if (kind === 0) delete parent[name]
    else if (kind === 1 && !Array.isArray(parent)) parent[this.one(this.words, 'x')] = parent[name]
    else if (kind === 2 && other !== undefined) parent[name] = structuredClone(other[0][other[1]])
    else parent[name] = this.one<unknown>(values, null)
    return Buffer.from(JSON.stringify(document))
  }
}
