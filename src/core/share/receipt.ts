import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import type { Share } from './share-text.ts'

/** So many times a custodian can prove that the share is still held; each code counts once. */
export const receiptSlots = 8

const noSalt = new Uint8Array(0)

/**
 * A possession receipt: `HKDF-SHA256(y ‖ x, salt "", info "kvx/share-receipt/v1|SET|INDEX|SLOT", 10)`, with the set
 * in lower case. It proves that somebody has the share and tells nothing about it.
 * @param slot 1 to 8
 */
export function receiptOf(share: Share, slot: number): Uint8Array {
  const info = Buffer.from(`kvx/share-receipt/v1|${share.setId}|${share.index}|${slot}`)
  return share.point.lend((bytes) => hkdf(sha256, bytes, noSalt, info, 10))
}
