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
    const { sbox } = tables()
    const keys = this.#keys
    const words = key.length >> 2
    this.#rounds = words + 6
    for (let at = 0; at < words; at++) keys[at] = word(key, at * 4)
    let constant = 1
    for (let at = words; at < 4 * (this.#rounds + 1); at++) {
      let last = keys[at - 1] ?? 0
      if (at % words === 0) {
        last = substituted(sbox, (last << 8) | (last >>> 24)) ^ (constant << 24)
        constant = doubled(constant)
      } else if (words === 8 && at % words === 4) last = substituted(sbox, last)
      keys[at] = (keys[at - words] ?? 0) ^ last
    }
  }

  /** Encrypts a block of 16 bytes where it lies. */
  encrypt(block: Uint8Array): void {
    const { sbox, first, second, third, fourth } = tables()
    const keys = this.#keys
    let a = word(block, 0) ^ (keys[0] ?? 0)
    let b = word(block, 4) ^ (keys[1] ?? 0)
    let c = word(block, 8) ^ (keys[2] ?? 0)
    let d = word(block, 12) ^ (keys[3] ?? 0)
    const mixed = (w: number, x: number, y: number, z: number): number =>
      (first[w >>> 24] ?? 0) ^
      (second[(x >>> 16) & 255] ?? 0) ^
      (third[(y >>> 8) & 255] ?? 0) ^
      (fourth[z & 255] ?? 0)
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
    const last = (w: number, x: number, y: number, z: number): number =>
      ((sbox[w >>> 24] ?? 0) << 24) |
      ((sbox[(x >>> 16) & 255] ?? 0) << 16) |
      ((sbox[(y >>> 8) & 255] ?? 0) << 8) |
      (sbox[z & 255] ?? 0)
    put(block, 0, last(a, b, c, d) ^ (keys[at] ?? 0))
    put(block, 4, last(b, c, d, a) ^ (keys[at + 1] ?? 0))
    put(block, 8, last(c, d, a, b) ^ (keys[at + 2] ?? 0))
    put(block, 12, last(d, a, b, c) ^ (keys[at + 3] ?? 0))
  }

  wipe(): void {
    this.#keys.fill(0)
  }
}

type Tables = {
  readonly sbox: Uint8Array
  /** What a byte of each row adds to its column. */
  readonly first: Int32Array
  readonly second: Int32Array
  readonly third: Int32Array
  readonly fourth: Int32Array
}

let made: Tables | undefined

/** Made when the first key is taken: most commands open no value. */
function tables(): Tables {
  return (made ??= makeTables())
}

function makeTables(): Tables {
  const sbox = makeSbox()
  const rotated = (by: number): Int32Array =>
    Int32Array.from(sbox, (byte) => {
      const twice = doubled(byte)
      const column = (twice << 24) | (byte << 16) | (byte << 8) | (twice ^ byte)
      return by === 0 ? column : (column >>> by) | (column << (32 - by))
    })
  return { sbox, first: rotated(0), second: rotated(8), third: rotated(16), fourth: rotated(24) }
}

/** The inverse of each byte in the field of 2^8, then the affine map. */
function makeSbox(): Uint8Array {
  const sbox = new Uint8Array(256)
  // 3 generates the field, and 0xf6 is its inverse: so `q` runs through the inverses of `p`.
  let [p, q] = [1, 1]
  do {
    p ^= doubled(p)
    q = timesInverseOf3(q)
    const spread = q ^ (q << 1) ^ (q << 2) ^ (q << 3) ^ (q << 4)
    sbox[p] = (spread ^ (spread >>> 8) ^ 0x63) & 255
  } while (p !== 1)
  sbox[0] = 0x63
  return sbox
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

function substituted(sbox: Uint8Array, given: number): number {
  return (
    ((sbox[given >>> 24] ?? 0) << 24) |
    ((sbox[(given >>> 16) & 255] ?? 0) << 16) |
    ((sbox[(given >>> 8) & 255] ?? 0) << 8) |
    (sbox[given & 255] ?? 0)
  )
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
