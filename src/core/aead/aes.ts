/**
 * The block cipher of FIPS 197, forwards, for a key that works on a handful of blocks: making it ready takes less
 * than what an object of `node:crypto` costs, and leaves nothing to the collector. Tables of words hold what a byte
 * becomes in a round; what is said of tables in ghash.ts holds here too.
 */
export class Aes {
  readonly #keys = new Int32Array(60)
  #rounds = 0

  /** Begins with another key. @param key 16, 24 or 32 bytes */
  take(key: Uint8Array): void {
    if (sbox[0] === 0) fillTables()
    const keys = this.#keys
    const words = key.length >> 2
    this.#rounds = words + 6
    for (let at = 0; at < words; at++) keys[at] = word(key, at * 4)
    let constant = 1
    for (let at = words; at < 4 * (this.#rounds + 1); at++) {
      let next = keys[at - 1] ?? 0
      if (at % words === 0) {
        next = substituted((next << 8) | (next >>> 24)) ^ (constant << 24)
        constant = doubled(constant)
      } else if (words === 8 && at % words === 4) next = substituted(next)
      keys[at] = (keys[at - words] ?? 0) ^ next
    }
  }

  /** Encrypts a block of 16 bytes where it lies. */
  encrypt(block: Uint8Array): void {
    const keys = this.#keys
    let a = word(block, 0) ^ (keys[0] ?? 0)
    let b = word(block, 4) ^ (keys[1] ?? 0)
    let c = word(block, 8) ^ (keys[2] ?? 0)
    let d = word(block, 12) ^ (keys[3] ?? 0)
    let at = 4
    for (const end = 4 * this.#rounds; at < end; at += 4) {
      const w = mixed(a, b, c, d) ^ (keys[at] ?? 0)
      const x = mixed(b, c, d, a) ^ (keys[at + 1] ?? 0)
      const y = mixed(c, d, a, b) ^ (keys[at + 2] ?? 0)
      const z = mixed(d, a, b, c) ^ (keys[at + 3] ?? 0)
      a = w
      b = x
      c = y
      d = z
    }
    put(block, 0, last(a, b, c, d) ^ (keys[at] ?? 0))
    put(block, 4, last(b, c, d, a) ^ (keys[at + 1] ?? 0))
    put(block, 8, last(c, d, a, b) ^ (keys[at + 2] ?? 0))
    put(block, 12, last(d, a, b, c) ^ (keys[at + 3] ?? 0))
  }

  wipe(): void {
    this.#keys.fill(0)
  }
}

const sbox = new Uint8Array(256)
/** What a byte of each row adds to its column in a round. */
const first = new Int32Array(256)
const second = new Int32Array(256)
const third = new Int32Array(256)
const fourth = new Int32Array(256)

/** When the first key is taken: most commands open no value. */
function fillTables(): void {
  // 3 generates the field, and 0xf6 is its inverse: so `q` runs through the inverses of `p`, to which the standard
  // applies an affine map.
  let [p, q] = [1, 1]
  do {
    p ^= doubled(p)
    q = timesInverseOf3(q)
    const spread = q ^ (q << 1) ^ (q << 2) ^ (q << 3) ^ (q << 4)
    sbox[p] = (spread ^ (spread >>> 8) ^ 0x63) & 255
  } while (p !== 1)
  sbox[0] = 0x63
  for (const [at, byte] of sbox.entries()) {
    const twice = doubled(byte)
    const column = (twice << 24) | (byte << 16) | (byte << 8) | (twice ^ byte)
    first[at] = column
    second[at] = (column >>> 8) | (column << 24)
    third[at] = (column >>> 16) | (column << 16)
    fourth[at] = (column >>> 24) | (column << 8)
  }
}

/** A column after a round, of the four bytes that are moved into it. */
function mixed(a: number, b: number, c: number, d: number): number {
  return (
    (first[a >>> 24] ?? 0) ^
    (second[(b >>> 16) & 255] ?? 0) ^
    (third[(c >>> 8) & 255] ?? 0) ^
    (fourth[d & 255] ?? 0)
  )
}

/** The same after the last round, which mixes nothing. */
function last(a: number, b: number, c: number, d: number): number {
  return (
    ((sbox[a >>> 24] ?? 0) << 24) |
    ((sbox[(b >>> 16) & 255] ?? 0) << 16) |
    ((sbox[(c >>> 8) & 255] ?? 0) << 8) |
    (sbox[d & 255] ?? 0)
  )
}

function timesInverseOf3(byte: number): number {
  let product = byte ^ (byte << 1)
  product ^= product << 2
  product ^= product << 4
  product &= 255
  return (product & 0x80) === 0 ? product : product ^ 0x09
}

/** Times x in the field. */
function doubled(byte: number): number {
  return ((byte << 1) ^ (byte & 0x80 ? 0x1b : 0)) & 255
}

function substituted(given: number): number {
  return last(given, given, given, given)
}

function word(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] ?? 0) << 24) |
    ((bytes[at + 1] ?? 0) << 16) |
    ((bytes[at + 2] ?? 0) << 8) |
    (bytes[at + 3] ?? 0)
  )
}

function put(bytes: Uint8Array, at: number, given: number): void {
  bytes[at] = given >>> 24
  bytes[at + 1] = given >>> 16
  bytes[at + 2] = given >>> 8
  bytes[at + 3] = given
}
