import { errorPattern, syndromeOf } from './bch.ts'
import { describeGroups, shareFault, shareFaultOf } from './faults.ts'
import { decodeAnyShare, decodeShare, type Share, valuesOf } from './share-text.ts'
import { isOfRehearsal, normaliseShare, shareLength, sharePrefix } from './typed-text.ts'

/**
 * As `decodeShare`, and where the checksum does not fit it says which groups look wrong. Nothing is mended: a
 * person reads the card again.
 * @param use `check` takes a share of a rehearsal too: for who looks at a text, never for a key
 * @throws KvxError DAMAGED
 */
export function readShare(typed: Uint8Array, use: 'check' | 'key' = 'key'): Share {
  try {
    return use === 'check' ? decodeAnyShare(typed) : decodeShare(typed)
  } catch (error) {
    if (shareFaultOf(error) !== 'CHECKSUM' || isRehearsal(typed)) throw error
  }
  const at = locateErrors(typed)
  if (at === undefined) {
    throw shareFault(
      'CHECKSUM',
      'the share is damaged: more than 3 characters are wrong, or groups are swapped',
      {
        hint: 'read all four lines again, in their order',
      },
    )
  }
  throw shareFault('CHECKSUM', `the share is damaged: ${describeGroups(at)} looks wrong`, { at })
}

function isRehearsal(typed: Uint8Array): boolean {
  const text = normaliseShare(typed)
  const is = isOfRehearsal(text)
  text.fill(0)
  return is
}

/**
 * The places of up to 3 wrong characters, counted from 0 with the prefix; undefined for more. Within 8 wrong
 * characters of a share there is no second one, so that the answer is the only one of its size.
 */
export function locateErrors(typed: Uint8Array): readonly number[] | undefined {
  const text = normaliseShare(typed)
  const values = valuesOf(text)
  const syndrome = pairOf(syndromeOf(values))
  text.fill(0)
  values.fill(0)
  const patterns = (table ??= new PatternTable())
  const found = patterns.one(syndrome) ?? patterns.two(syndrome) ?? patterns.three(syndrome)
  return found?.map((pattern) => Math.floor(pattern / 31) + sharePrefix.length).sort((a, b) => a - b)
}

/** The 65 bits of a syndrome as three numbers; they depend on the errors alone, not on the share. */
type Bits = readonly [high: number, low: number, last: number]

function pairOf(syndrome: Uint8Array): Bits {
  const pack = (from: number): number =>
    syndrome.subarray(from, from + 6).reduce((sum, v) => (sum << 5) | v, 0)
  return [pack(0), pack(6), syndrome[12] ?? 0]
}

const dataCharacters = shareLength - sharePrefix.length
const slots = 1 << 14
let table: PatternTable | undefined

/** All 84 x 31 single errors, found by their syndrome: errors add up, so three are one and a pair. */
class PatternTable {
  readonly #count = dataCharacters * 31
  readonly #high = new Int32Array(this.#count)
  readonly #low = new Int32Array(this.#count)
  readonly #last = new Int32Array(this.#count)
  readonly #slots = new Int32Array(slots).fill(-1)

  constructor() {
    for (let pattern = 0; pattern < this.#count; pattern++) {
      const place = Math.floor(pattern / 31)
      const [high, low, last] = pairOf(errorPattern((pattern % 31) + 1, dataCharacters - 1 - place))
      this.#high[pattern] = high
      this.#low[pattern] = low
      this.#last[pattern] = last
      let slot = slotOf(high, low)
      while (this.#slots[slot] !== -1) slot = (slot + 1) & (slots - 1)
      this.#slots[slot] = pattern
    }
  }

  one([high, low, last]: Bits): number[] | undefined {
    for (let slot = slotOf(high, low); ; slot = (slot + 1) & (slots - 1)) {
      const pattern = this.#slots[slot] ?? -1
      if (pattern === -1) return undefined
      const fits = this.#high[pattern] === high && this.#low[pattern] === low && this.#last[pattern] === last
      if (fits) return [pattern]
    }
  }

  two(bits: Bits): number[] | undefined {
    return this.#with(bits, 0, (rest) => this.one(rest))
  }

  three(bits: Bits): number[] | undefined {
    return this.#with(bits, 0, (rest, next) => this.#with(rest, next, (last) => this.one(last)))
  }

  /** Takes one error away, of all from `from` on, and looks for the rest. */
  #with(
    [high, low, last]: Bits,
    from: number,
    find: (rest: Bits, next: number) => number[] | undefined,
  ): number[] | undefined {
    for (let pattern = from; pattern < this.#count; pattern++) {
      const rest: Bits = [
        high ^ (this.#high[pattern] ?? 0),
        low ^ (this.#low[pattern] ?? 0),
        last ^ (this.#last[pattern] ?? 0),
      ]
      const found = find(rest, pattern + 1)
      if (found !== undefined) return [pattern, ...found]
    }
    return undefined
  }
}

function slotOf(high: number, low: number): number {
  return (Math.imul(high, 0x9e3779b1) ^ Math.imul(low, 0x85ebca6b)) >>> 18
}
