import { receiptOf, receiptSlots } from '../../core/share/receipt.ts'
import type { Share } from '../../core/share/share-text.ts'
import { isReceiptOf, receiptDigest } from '../codes.ts'

/** The letters of all receipts of kvx: Crockford's base32. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** The possession receipt of a slot as people read it out: `20QH-5MYA-NKS3-6YQF`. */
export function shareReceipt(share: Share, slot: number): string {
  const bytes = receiptOf(share, slot)
  let bits = BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
  let text = ''
  for (let sign = 0; sign < 16; sign++) {
    text = alphabet.charAt(Number(bits & 31n)) + text
    bits >>= 5n
  }
  return (text.match(/.{4}/g) ?? []).join('-')
}

/** What the public manifest holds of a share's receipts: their SHA-256, slot 1 first. */
export function receiptDigests(share: Share): string[] {
  return Array.from({ length: receiptSlots }, (_, at) => receiptDigest(shareReceipt(share, at + 1)))
}

/** The slot of a code that was read out, or undefined for a code of something else. @throws USAGE for no code */
export function slotOfReceipt(typed: string, digests: readonly string[]): number | undefined {
  const at = digests.findIndex((digest) => isReceiptOf(typed, digest))
  return at === -1 ? undefined : at + 1
}
