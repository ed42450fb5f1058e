import { timingSafeEqual } from 'node:crypto'
import { unsafe } from '@noble/ciphers/aes.js'
import { gcmTag, type GcmValue } from './gcm-value.ts'
import { Ghash } from './ghash.ts'

/** Wiped after each use. */
const ghash = new Ghash()
const block = new Uint8Array(16)
const made = new Uint8Array(16)

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
    block.fill(0)
    unsafe.encryptBlock(round, block)
    ghash.take(block)
    counterBlock(round, value.nonce, 1)
    if (!timingSafeEqual(gcmTag(ghash, value, block, made), tag)) return undefined
    const plaintext = new Uint8Array(value.ct.length)
    for (let from = 0, count = 2; from < plaintext.length; from += 16, count++) {
      counterBlock(round, value.nonce, count)
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

/** Encrypts the nonce and a number that fits into its last byte: a short value has few blocks. */
function counterBlock(round: Uint32Array, nonce: Uint8Array, count: number): void {
  for (let at = 0; at < 12; at++) block[at] = nonce[at] ?? 0
  block[12] = 0
  block[13] = 0
  block[14] = 0
  block[15] = count
  unsafe.encryptBlock(round, block)
}
