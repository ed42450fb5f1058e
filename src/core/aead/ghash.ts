/**
 * GHASH of GCM (NIST SP 800-38D, section 6.4), half a byte at a time. A key is made ready in a fraction of a
 * microsecond, so that it pays for a single short message too.
 * Table lookups take a time that depends on the data, as those of every GHASH without special instructions; who
 * could measure them on this machine could read the process as well.
 */
export class Ghash {
  /** The products of the 16 values of a half byte with the key. */
  readonly #table = new Int32Array(16 * 4)
  readonly state = new Int32Array(4)

  /** Begins with another key. @param key 16 bytes: the encrypted block of zeros */
  take(key: Uint8Array): void {
    const table = this.#table
    // The highest bit of a half byte stands for the lowest power.
    let [w, x, y, z] = [word(key, 0), word(key, 4), word(key, 8), word(key, 12)]
    for (let bit = 8; bit > 0; bit >>= 1) {
      table[bit * 4] = w
      table[bit * 4 + 1] = x
      table[bit * 4 + 2] = y
      table[bit * 4 + 3] = z
      // Times x in the field: a shift to the right, since the bits of GCM stand the other way round.
      const carry = -(z & 1) & 0xe1000000
      z = (z >>> 1) | (y << 31)
      y = (y >>> 1) | (x << 31)
      x = (x >>> 1) | (w << 31)
      w = (w >>> 1) ^ carry
    }
    for (let value = 3; value < 16; value++) {
      const low = value & -value
      if (low === value) continue
      for (let at = 0; at < 4; at++)
        table[value * 4 + at] = (table[low * 4 + at] ?? 0) ^ (table[(value - low) * 4 + at] ?? 0)
    }
    this.state.fill(0)
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
    let [w, x, y, z] = [0, 0, 0, 0]
    // From the highest power down: what is there already is moved on by four powers, then the next is added.
    for (let index = 3; index >= 0; index--) {
      const given = index === 3 ? d : index === 2 ? c : index === 1 ? b : a
      const bits = given ^ (state[index] ?? 0)
      for (let shift = 0; shift < 32; shift += 4) {
        const out = reduced[z & 15] ?? 0
        const at = ((bits >>> shift) & 15) << 2
        z = ((z >>> 4) | (y << 28)) ^ (table[at + 3] ?? 0)
        y = ((y >>> 4) | (x << 28)) ^ (table[at + 2] ?? 0)
        x = ((x >>> 4) | (w << 28)) ^ (table[at + 1] ?? 0)
        w = (w >>> 4) ^ out ^ (table[at] ?? 0)
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

/** What the four lowest bits of a block become in its highest word when they are moved out of it. */
const reduced = Int32Array.from({ length: 16 }, (_, bits) => {
  let [top, rest] = [0, bits]
  for (let turn = 0; turn < 4; turn++) {
    const carry = rest & 1
    rest >>>= 1
    top = (top >>> 1) ^ (carry === 1 ? 0xe1000000 : 0)
  }
  return top
})

/** Four bytes as a number, the highest first; zeros behind the end. */
function word(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] ?? 0) << 24) |
    ((bytes[at + 1] ?? 0) << 16) |
    ((bytes[at + 2] ?? 0) << 8) |
    (bytes[at + 3] ?? 0)
  )
}
