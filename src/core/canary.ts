import { createCipheriv, createDecipheriv } from 'node:crypto'
import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import type { Secret } from './secret.ts'

/**
 * A canary is a known text sealed under a version and stored beside its record: opening it proves the key.
 *
 * Format: base64 of `nonce[12] | ciphertext | tag[16]`, AES-256-GCM. Its key is derived from the material
 * (`HKDF-SHA256(material, salt "", info "kvx/canary/v1", 32)`), so that material of any length has one and the
 * application's own nonces are not used up. AAD is `name@version`: a canary moved to another record fails.
 */
const info = new TextEncoder().encode('kvx/canary/v1')
const text = Buffer.from('kvx canary: this key opens what it sealed')

export function sealCanary(material: Secret, subject: string, nonce: Uint8Array): string {
  return withCanaryKey(material, (key) => {
    const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
    cipher.setAAD(Buffer.from(subject))
    const sealed = Buffer.concat([cipher.update(text), cipher.final()])
    return Buffer.concat([nonce, sealed, cipher.getAuthTag()]).toString('base64')
  })
}

/** True when this material sealed the canary for this very `name@version`. Never throws. */
export function opensCanary(material: Secret, subject: string, canary: string): boolean {
  const bytes = Buffer.from(canary, 'base64')
  if (bytes.length !== 12 + text.length + 16) return false
  return withCanaryKey(material, (key) => {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12), { authTagLength: 16 })
    decipher.setAAD(Buffer.from(subject))
    decipher.setAuthTag(bytes.subarray(-16))
    try {
      const opened = Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()])
      return opened.equals(text)
    } catch {
      return false
    }
  })
}

function withCanaryKey<T>(material: Secret, use: (key: Uint8Array) => T): T {
  const key = material.lend((bytes) => hkdf(sha256, bytes, new Uint8Array(0), info, 32))
  try {
    return use(key)
  } finally {
    key.fill(0)
  }
}
