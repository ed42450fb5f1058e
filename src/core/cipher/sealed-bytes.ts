import { KvxError } from '../errors.ts'
import type { SealedParts } from './cipher.ts'

/** @throws LAYOUT_MISMATCH for a part that the value has not, or has as a number */
export function bytesIn(parts: SealedParts, name: string): Uint8Array {
  const value = parts.get(name)
  if (value instanceof Uint8Array) return value
  throw new KvxError(
    'LAYOUT_MISMATCH',
    value === undefined ? `part ${name} is not given` : `part ${name} is a number, not bytes`,
    { details: { part: name } },
  )
}

/** LAYOUT_MISMATCH for a part of a length that the cipher never makes. */
export function wrongLength(cipher: string, part: string, length: number): KvxError {
  return new KvxError('LAYOUT_MISMATCH', `${cipher} takes no ${part} of ${length} bytes`, {
    details: { part, length },
  })
}

/** A key of another cipher is a bug of the caller. */
export function foreignKey(cipher: string): TypeError {
  return new TypeError(`this key was not prepared for ${cipher}`)
}

/** KEY_MALFORMED for material of a length that the cipher does not take. */
export function wrongKey(cipher: string, length: number, expected: string): KvxError {
  return new KvxError('KEY_MALFORMED', `the key has ${length} bytes, ${cipher} takes ${expected}`, {
    details: { fault: 'length', length, expected },
  })
}
