/** The alphabet of bech32 (BIP-173): a character stands for its place, 0 to 31. */
export const alphabet = Buffer.from('qpzry9x8gf2tvdw0s3jn54khce6mua7l')

const values = new Int8Array(256).fill(-1)
for (const [value, code] of alphabet.entries()) values[code] = value

/** The value of a lower-case character, or -1 for one that no share has. */
export function valueOf(code: number): number {
  return values[code] ?? -1
}

/** Product in GF(32) = GF(2)[x] / (x^5 + x^3 + 1), the field of bech32 and BIP-93. */
export function multiply(one: number, other: number): number {
  let product = 0
  let shifted = one
  for (let bit = 0; bit < 5; bit++) {
    if (((other >> bit) & 1) === 1) product ^= shifted
    shifted <<= 1
    if ((shifted & 0x20) !== 0) shifted ^= 0x29
  }
  return product
}

/** The inverse of a value that is not 0. */
export function inverse(value: number): number {
  let power = value // value^30, since value^31 = 1
  for (let step = 1; step < 30; step++) power = multiply(power, value)
  return power
}
