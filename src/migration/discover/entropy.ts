/** Shannon entropy of single bytes in bits, 0 to 8, of at most the first 64 KiB. */
export function entropyBits(bytes: Uint8Array): number {
  const looked = bytes.subarray(0, 65_536)
  const counts = new Uint32Array(256)
  for (const byte of looked) counts[byte] = (counts[byte] ?? 0) + 1
  let bits = 0
  for (const count of counts) {
    if (count > 0) bits -= (count / looked.length) * Math.log2(count / looked.length)
  }
  return bits
}
