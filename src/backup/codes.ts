import { createHash, timingSafeEqual } from 'node:crypto'
import { KvxError } from '../core/errors.ts'
import { randomBytes } from '../platform/random.ts'

/** Crockford's base32: no I, L, O and U, so that a code survives being read over the phone. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const receiptSize = 10

/** A new receipt code: 80 random bits as 16 characters in 4 groups, `20QH-UMYA-…`. Not key material. */
export function makeReceipt(): string {
  return formatReceipt(randomBytes(receiptSize))
}

/** SHA-256 of the 10 bytes of a receipt in lower-case hex: what the public manifest holds of it. */
export function receiptDigest(receipt: string): string {
  return createHash('sha256').update(parseReceipt(receipt)).digest('hex')
}

/** True when the code that a person typed belongs to the digest. Compared in constant time. */
export function isReceiptOf(typed: string, digest: string): boolean {
  const expected = Buffer.from(digest, 'hex')
  const given = Buffer.from(receiptDigest(typed), 'hex')
  return expected.length === given.length && timingSafeEqual(expected, given)
}

/** A receipt as it stands in the backup: capital letters, 4 groups. */
export function normalReceipt(typed: string): string {
  return formatReceipt(parseReceipt(typed))
}

/** A new id of a backup: 40 random bits as 8 characters of the same alphabet. */
export function makeBackupId(): string {
  return formatReceipt(randomBytes(receiptSize)).replaceAll('-', '').slice(0, 8)
}

/** An id as a person types it, in its one form. Not checked: an id that does not exist is unknown. */
export function normalBackupId(typed: string): string {
  return normalSigns(typed)
}

function formatReceipt(bytes: Uint8Array): string {
  let bits = BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
  let text = ''
  for (let i = 0; i < 16; i += 1) {
    text = alphabet.charAt(Number(bits & 31n)) + text
    bits >>= 5n
  }
  return (text.match(/.{4}/g) ?? []).join('-')
}

/**
 * The 10 bytes of a typed receipt. Any case, dashes and spaces anywhere; O is read as 0, I and L as 1.
 * @throws KvxError USAGE when it is not 16 characters of the alphabet. The message does not repeat the code.
 */
function parseReceipt(typed: string): Buffer {
  const signs = normalSigns(typed)
  const values = signs.split('').map((sign) => alphabet.indexOf(sign))
  if (values.length !== 16 || values.includes(-1)) {
    const why = values.length === 16 ? 'a sign that no code has' : `${values.length} of 16 characters`
    throw new KvxError('USAGE', `a receipt code has 16 letters and digits, this one has ${why}`, {
      hint: 'ask for the line `receipt:` of the opened backup again, in groups of four',
    })
  }
  const bits = values.reduce((sum, value) => (sum << 5n) | BigInt(value), 0n)
  return Buffer.from(bits.toString(16).padStart(receiptSize * 2, '0'), 'hex')
}

function normalSigns(typed: string): string {
  return typed
    .toUpperCase()
    .replaceAll(/[\s\-–—._]/g, '')
    .replaceAll('O', '0')
    .replaceAll(/[IL]/g, '1')
}
