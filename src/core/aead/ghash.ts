/**
 * GHASH of GCM (NIST SP 800-38D, section 6.4) under one key, for many short messages: its tables are made once.
 * Table lookups take a time that depends on the data, as those of every GHASH without special instructions; who
 * could measure them on this machine could read the process as well.
 */
export class Ghash {
  /** For each of the 32 half bytes of a block, from its first one, the products of its 16 values with the key. */
  readonly #table = new Int32Array(32 * 16 * 4)
  readonly state = new Int32Array(4)

  /** @param key 16 bytes: the encrypted block of zeros */
  constructor(key: Uint8Array) {
    const power = wordsOf(key)
    for (let place = 0; place < 32; place++) {
      // The highest bit of a half byte stands for the lowest power.
      for (let bit = 8; bit > 0; bit >>= 1) {
        this.#fill(place, bit, power)
        timesX(power)
      }
    }
    power.fill(0)
  }

  /** Adds one power to the products of every value that has this bit. */
  #fill(place: number, bit: number, power: Int32Array): void {
    for (let value = 0; value < 16; value++) {
      if ((value & bit) === 0) continue
      const at = (place * 16 + value) * 4
      for (let word = 0; word < 4; word++) this.#table[at + word] = this.#word(at + word) ^ (power[word] ?? 0)
    }
  }

  #word(at: number): number {
    return this.#table[at] ?? 0
  }

  reset(): void {
    this.state.fill(0)
  }

  /** Takes bytes, filled up with zeros to whole blocks. */
  update(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; from += 16) {
      this.block(word(bytes, from), word(bytes, from + 4), word(bytes, from + 8), word(bytes, from + 12))
    }
  }

  block(a: number, b: number, c: number, d: number): void {
    const { state } = this
    const table = this.#table
    const words = [a ^ (state[0] ?? 0), b ^ (state[1] ?? 0), c ^ (state[2] ?? 0), d ^ (state[3] ?? 0)]
    let [w, x, y, z, place] = [0, 0, 0, 0, 0]
    for (const bits of words) {
      for (let shift = 28; shift >= 0; shift -= 4) {
        const at = (place + ((bits >>> shift) & 15)) << 2
        w ^= table[at] ?? 0
        x ^= table[at + 1] ?? 0
        y ^= table[at + 2] ?? 0
        z ^= table[at + 3] ?? 0
        place += 16
      }
    }
    state[0] = w
    state[1] = x
    state[2] = y
    state[3] = z
  }

  wipe(): void {
    this.#table.fill(0)
    this.state.fill(0)
  }
}

/** Four bytes as a number, the highest first; zeros behind the end. */
function word(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] ?? 0) << 24) |
    ((bytes[at + 1] ?? 0) << 16) |
    ((bytes[at + 2] ?? 0) << 8) |
    (bytes[at + 3] ?? 0)
  )
}

function wordsOf(block: Uint8Array): Int32Array {
  return Int32Array.of(word(block, 0), word(block, 4), word(block, 8), word(block, 12))
}

/** Multiplies by x in the field: a shift to the right, since the bits of GCM stand the other way round. */
function timesX(power: Int32Array): void {
  let carry = 0
  for (let at = 0; at < 4; at++) {
    const bits = power[at] ?? 0
    power[at] = (bits >>> 1) | (carry << 31)
    carry = bits & 1
  }
  if (carry === 1) power[0] = (power[0] ?? 0) ^ 0xe1000000
}
