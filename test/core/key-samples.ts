import { expect } from 'vitest'
import { isKvxError } from '../../src/core/errors.ts'
import { decodeKey, detectEncoding, type KeyEncoding, type KeyOptions } from '../../src/core/key-encoding.ts'

export const key = Buffer.from(
  'e4 1d 0f fb 92 3c 77 a8 55 10 c9 6e 3f 02 b7 d4 88 61 fe 2a 9b 0c 43 75 ee 16 da 31 f0 6d 84 5b'.replaceAll(
    ' ',
    '',
  ),
  'hex',
)
export const hexText = key.toString('hex')
export const base64Text = key.toString('base64')
export const urlText = key.toString('base64url')
export const imports = { min: 16, max: 1024 }

/** The fault and the message, which must not hold a byte of the key. */
export function fault(
  bytes: Uint8Array | string,
  encoding: KeyEncoding | 'detect',
  options: KeyOptions = {},
): readonly unknown[] {
  try {
    if (encoding === 'detect') detectEncoding(Buffer.from(bytes), options)
    else decodeKey(Buffer.from(bytes), encoding, options)
  } catch (error) {
    if (!isKvxError(error)) throw error
    const text = Buffer.from(bytes).toString('latin1').trim()
    if (text.length > 8)
      expect(`${error.message}${error.hint}${JSON.stringify(error.details)}`).not.toContain(text)
    return [error.code === 'KEY_MALFORMED' ? error.details['fault'] : error.code, error.message]
  }
  return ['accepted']
}
