import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import type { Secret } from './secret.ts'

const info = new TextEncoder().encode('kvx/key-fingerprint/v1')
const noSalt = new Uint8Array(0)

/**
 * The public name of key material: `HKDF-SHA256(material, salt "", info "kvx/key-fingerprint/v1", 32)` as
 * 64 lower-case hex digits. It tells nothing about the material. (noble's HKDF leaves no copy of its input
 * behind; node:crypto's leaves one.)
 */
export function fingerprintOf(material: Secret): string {
  return material.lend((bytes) => Buffer.from(hkdf(sha256, bytes, noSalt, info, 32)).toString('hex'))
}

/** The part of a fingerprint that people compare: its first 5 bytes as 10 upper-case hex digits. */
export function checkValueOf(fingerprint: string): string {
  return fingerprint.slice(0, 10).toUpperCase()
}
