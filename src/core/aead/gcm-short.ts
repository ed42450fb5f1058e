import { timingSafeEqual } from 'node:crypto'
import { unsafe } from '@noble/ciphers/aes.js'
import { gcmHash, masked, type GcmValue } from './gcm-value.ts'
import { Ghash } from './ghash.ts'

/** Wiped after each use. */
const ghash = new Ghash()
const block = new Uint8Array(16)
const made = new Uint8Array(16)
/** The block that is encrypted next, as noble's AES takes it. It holds the nonce, which is no secret. */
const counter = new Int32Array(4)

/**
 * Opens one short AES-GCM value under a key that opens nothing else, as a DEK of one record does. A cipher object of
 * `node:crypto` costs more than these few blocks, and the collector's work on it as much again.
 *
 * The AES is noble's. A value of more bytes than `shortGcm` allows is faster in `node:crypto`.
 * @param key 16, 24 or 32 bytes
 * @param tag 16 bytes
 * @returns the plaintext, which the caller wipes; undefined where the tag is another one
 */
export function openShort(key: Uint8Array, value: GcmValue, tag: Uint8Array): Uint8Array | undefined {
  const round = unsafe.expandKeyLE(key)
  try {
    counter.fill(0)
    encryptCounter(round)
    ghash.take(block)
    for (let at = 0; at < 3; at++) counter[at] = word(value.nonce, 4 * at)
    counter[3] = counterWord(1)
    encryptCounter(round)
    if (!timingSafeEqual(masked(gcmHash(ghash, value, made), block, 0), tag)) return undefined
    const plaintext = new Uint8Array(value.ct.length)
    for (let from = 0, count = 2; from < plaintext.length; from += 16, count++) {
      counter[3] = counterWord(count)
      encryptCounter(round)
      const end = Math.min(16, plaintext.length - from)
      for (let at = 0; at < end; at++) plaintext[from + at] = (value.ct[from + at] ?? 0) ^ (block[at] ?? 0)
    }
    return plaintext
  } finally {
    round.fill(0)
    ghash.wipe()
    block.fill(0)
  }
}

/** A counter that fits into the last byte of its block: a short value has few blocks. */
function counterWord(count: number): number {
  return count << 24
}

/** Four bytes as noble's AES takes them, the lowest first. */
function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)
  )
}

/** Into `block`. By words, since noble makes a view on the bytes for each block otherwise. */
function encryptCounter(round: Uint32Array): void {
  const { s0, s1, s2, s3 } = unsafe.encrypt(
    round,
    counter[0] ?? 0,
    counter[1] ?? 0,
    counter[2] ?? 0,
    counter[3] ?? 0,
  )
  put(s0, 0)
  put(s1, 4)
  put(s2, 8)
  put(s3, 12)
}

function put(four: number, at: number): void {
  block[at] = four
  block[at + 1] = four >>> 8
  block[at + 2] = four >>> 16
  block[at + 3] = four >>> 24
}
