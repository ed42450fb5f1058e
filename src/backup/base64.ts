const alphabet = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')
const padding = 0x3d

const values = new Int8Array(256).fill(-1)
for (const [value, sign] of alphabet.entries()) values[sign] = value

/** Number of characters that `size` bytes take in base64 with padding. */
export function base64Length(size: number): number {
  return Math.ceil(size / 3) * 4
}

/**
 * Writes `bytes` as base64 (RFC 4648, section 4) into `target` from `offset` on and returns the offset behind.
 * Bytes to bytes: a string with a key in it could never be wiped.
 */
export function writeBase64(bytes: Uint8Array, target: Uint8Array, offset: number): number {
  let at = offset
  for (let i = 0; i < bytes.length; i += 3) {
    const group = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0)
    const left = bytes.length - i
    target[at] = alphabet[group >> 18] ?? 0
    target[at + 1] = alphabet[(group >> 12) & 63] ?? 0
    target[at + 2] = left > 1 ? (alphabet[(group >> 6) & 63] ?? 0) : padding
    target[at + 3] = left > 2 ? (alphabet[group & 63] ?? 0) : padding
    at += 4
  }
  return at
}

/**
 * Decodes base64 (RFC 4648, section 4) from ASCII bytes into a buffer of its own, which the caller wipes.
 * Strict: padding is needed, unused bits are 0, nothing else may stand there. Undefined for anything else.
 */
export function decodeBase64(text: Uint8Array): Buffer | undefined {
  if (text.length === 0 || text.length % 4 !== 0) return undefined
  const pads = text[text.length - 1] !== padding ? 0 : text[text.length - 2] !== padding ? 1 : 2
  const bytes = Buffer.allocUnsafeSlow((text.length / 4) * 3 - pads)
  let bits = 0
  let count = 0
  let at = 0
  for (const sign of text.subarray(0, text.length - pads)) {
    const value = values[sign] ?? -1
    if (value === -1) return wiped(bytes)
    bits = ((bits << 6) | value) & 0xffff
    count += 6
    if (count < 8) continue
    count -= 8
    bytes[at] = (bits >> count) & 0xff
    at += 1
  }
  return (bits & ((1 << count) - 1)) === 0 ? bytes : wiped(bytes)
}

function wiped(bytes: Uint8Array): undefined {
  bytes.fill(0)
  return undefined
}
