import { decodeKey } from '../../core/key-encoding.ts'
import { isKvxError } from '../../core/errors.ts'
import { Secret } from '../../core/secret.ts'

const keySizes = [32, 16, 24]
/** How a key is written inside its wrap. */
export type Inner = 'raw' | 'base64' | 'base64url' | 'hex'
const inners: readonly Inner[] = ['raw', 'base64', 'base64url', 'hex']

/** How opened bytes can be a key; undefined for what has another length. */
export function innerOf(plaintext: Uint8Array): Inner | undefined {
  return inners.find((inner) => {
    const secret = keyIn(plaintext, inner)
    secret?.wipe()
    return secret !== undefined
  })
}

/** The key that opened bytes are; the caller wipes it. */
export function keyIn(plaintext: Uint8Array, inner: Inner): Secret | undefined {
  for (const expectLength of keySizes) {
    if (inner === 'raw') {
      if (plaintext.length === expectLength) return Secret.copy(plaintext)
      continue
    }
    try {
      return decodeKey(plaintext, inner, { expectLength }).material
    } catch (error) {
      if (!isKvxError(error)) throw error
    }
  }
  return undefined
}
