import { randomFillSync } from 'node:crypto'
import { Secret } from '../core/secret.ts'
import { isoNow } from './clock.ts'

/** `size` random bytes of the system's generator as a secret. */
export function randomSecret(size: number): Secret {
  return Secret.take(randomBytes(size))
}

// 64 signs: six bits of a byte choose one without bias. None of them needs quotes in a shell or an env file.
const printable = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_')

/** `size` random characters of the system's generator as a secret, six random bits each. */
export function randomPrintable(size: number): Secret {
  const bytes = randomBytes(size)
  for (let at = 0; at < size; at++) bytes[at] = printable[(bytes[at] ?? 0) & 63] ?? 0
  return Secret.take(bytes)
}

/** `size` random bytes of the system's generator, in a buffer of their own outside Node's pool. */
export function randomBytes(size: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(size)
  randomFillSync(bytes)
  return bytes
}

const poolSize = 4096
let pool: Buffer = Buffer.alloc(0)
let given = 0

/**
 * `size` random bytes for what is public: a nonce, a salt. They come from one larger draw of the system's generator,
 * since a draw costs as much as a cipher; no byte of it is given out twice.
 */
export function randomNonce(size: number): Uint8Array {
  if (given + size > pool.length) {
    pool = randomBytes(Math.max(poolSize, size))
    given = 0
  }
  given += size
  return new Uint8Array(pool.buffer, pool.byteOffset + given - size, size)
}

// 32 signs: five bits of a byte choose one without bias; i, l, o and u are left out for people's sake.
const signs = '0123456789abcdefghjkmnpqrstvwxyz'

/** An id that sorts by time: `20260101T000000Z-abc123` (UTC, then 30 random bits). */
export function randomId(): string {
  const stamp = isoNow().replaceAll(/[-:]/g, '')
  const tail = [...randomBytes(6)].map((byte) => signs.charAt(byte & 31)).join('')
  return `${stamp}-${tail}`
}
