import { randomBytes } from 'node:crypto'
import { KvxError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import type { Algorithm } from './algorithm.ts'
import { gcm, chacha20Poly1305 } from './node-ciphers.ts'
import { xchacha20Poly1305, xsalsa20Poly1305 } from './noble-ciphers.ts'
import { type KeyUse, PreparedKey } from './prepared-key.ts'

const algorithms = {
  'aes-128-gcm': gcm(128),
  'aes-192-gcm': gcm(192),
  'aes-256-gcm': gcm(256),
  'chacha20-poly1305': chacha20Poly1305,
  'xchacha20-poly1305': xchacha20Poly1305,
  'xsalsa20-poly1305': xsalsa20Poly1305,
} as const satisfies Record<string, Algorithm>

export type AeadName = keyof typeof algorithms

/** An {@link Algorithm} of the registry: every length is checked before its cipher sees it. */
export type Aead = Algorithm & { readonly name: AeadName }

/** Every name that {@link aeadNamed} knows. */
export const aeadNames: readonly AeadName[] = Object.keys(algorithms).filter(isAeadName)

export function isAeadName(name: string): name is AeadName {
  return Object.hasOwn(algorithms, name)
}

/** The algorithm with every length checked before its cipher sees it. */
export function checked(algorithm: Algorithm): Algorithm {
  const { name } = algorithm
  return {
    ...algorithm,
    seal(key, nonce, plaintext, aad) {
      checkLengths(algorithm, nonce, aad)
      if (plaintext.length >= 2 ** 31) {
        throw new KvxError('RESOURCE_LIMIT', `${name} seals values below 2 GiB in one piece`)
      }
      return algorithm.seal(key, nonce, plaintext, aad)
    },
    open(key, nonce, sealed, aad) {
      checkLengths(algorithm, nonce, aad)
      if (sealed.tag.length !== algorithm.tagLength) {
        throw new KvxError(
          'LAYOUT_MISMATCH',
          `the tag has ${sealed.tag.length} bytes; kvx opens nothing but tags of ${algorithm.tagLength}`,
          { details: { part: 'tag', length: sealed.tag.length } },
        )
      }
      return algorithm.open(key, nonce, sealed, aad)
    },
  }
}

function checkLengths(algorithm: Algorithm, nonce: Uint8Array, aad: Uint8Array): void {
  if (!algorithm.acceptsNonceLength(nonce.length)) {
    throw new KvxError('LAYOUT_MISMATCH', `${algorithm.name} takes no nonce of ${nonce.length} bytes`, {
      details: { part: 'nonce', length: nonce.length },
    })
  }
  if (aad.length > 0 && !algorithm.takesAad) {
    throw new KvxError('LAYOUT_MISMATCH', `${algorithm.name} has no associated data`)
  }
}

const registry = new Map(
  aeadNames.map((name): [AeadName, Aead] => [name, { ...checked(algorithms[name]), name }]),
)

/** @throws CONFIG_INVALID for a name that is not in {@link aeadNames} */
export function aeadNamed(name: string): Aead {
  const aead = isAeadName(name) ? registry.get(name) : undefined
  if (aead !== undefined) return aead
  throw new KvxError('CONFIG_INVALID', 'an AEAD has a name that kvx does not know', {
    hint: `use one of ${aeadNames.join(', ')}`,
  })
}

/**
 * Makes material ready for an AEAD. The material is copied and stays the caller's.
 * @throws KEY_MALFORMED when its length is not the AEAD's
 */
export function prepareKey(aead: Algorithm, material: Secret, use?: KeyUse): PreparedKey {
  return PreparedKey.of(aead, material, use)
}

/** Random bytes for one call of `seal`, as many as the AEAD likes best or as a layout says. */
export function freshNonce(aead: Aead, length: number = aead.defaultNonceLength): Uint8Array {
  return randomBytes(length)
}
