import { createHash, createPrivateKey, createPublicKey, randomBytes } from 'node:crypto'
import { sign as cryptoSign, verify as cryptoVerify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { KvxError } from './errors.ts'
import { Secret } from './secret.ts'

/** An Ed25519 key pair (RFC 8032): the seed of 32 bytes, and the public key of 32 bytes. */
export type SigningKey = { readonly privateKey: Secret; readonly publicKey: Buffer }

const seedLength = 32
const signatureLength = 64
// RFC 8410: the DER of a PKCS#8 private key and of an SPKI public key, before their last 32 bytes.
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex')
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex')
const pemBegin = '-----BEGIN PRIVATE KEY-----\n'
const pemEnd = '\n-----END PRIVATE KEY-----\n'
const base64Letters = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')

/** A new key pair from the system's CSPRNG. */
export function generateSigningKey(): SigningKey {
  const privateKey = Secret.take(randomBytes(seedLength))
  return { privateKey, publicKey: publicKeyOf(privateKey) }
}

/** The public key, 32 bytes, of a seed of 32 bytes. */
export function publicKeyOf(privateKey: Secret): Buffer {
  const der = withPrivateKey(privateKey, (key) =>
    createPublicKey(key).export({ format: 'der', type: 'spki' }),
  )
  return der.subarray(spkiPrefix.length)
}

/** Signs `message` by the seed of 32 bytes: a signature of 64 bytes, the same for the same message. */
export function sign(privateKey: Secret, message: Uint8Array): Buffer {
  return withPrivateKey(privateKey, (key) => cryptoSign(null, message, key))
}

/** True when `signature` (64 bytes) over `message` was made by the private key of `publicKey` (32 raw bytes). */
export function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  return openVerifier(publicKey)(message, signature)
}

/** `verify` for many messages under one public key, which is decoded once. */
export function openVerifier(publicKey: Uint8Array): (message: Uint8Array, signature: Uint8Array) => boolean {
  const key = publicKeyObject(publicKey)
  return (message, signature) =>
    signature.length === signatureLength && cryptoVerify(null, message, key, signature)
}

/** The public name of a signing key: SHA-256 of its 32 raw public bytes as 64 lower-case hex digits. */
export function publicKeyFingerprint(publicKey: Uint8Array): string {
  requirePublicLength(publicKey)
  return createHash('sha256').update(publicKey).digest('hex')
}

/** The public key (32 raw bytes) as SPKI PEM, as `openssl pkey -pubin` reads it. */
export function encodePublicKeyPem(publicKey: Uint8Array): string {
  const der = Buffer.concat([spkiPrefix, requirePublicLength(publicKey)])
  return `-----BEGIN PUBLIC KEY-----\n${der.toString('base64')}\n-----END PUBLIC KEY-----\n`
}

/**
 * The public keys, 32 raw bytes each, of a text with one or more SPKI PEM blocks; text around the blocks is
 * passed over.
 * @throws KEY_MALFORMED when there is none, or one is not Ed25519
 */
export function parsePublicKeysPem(text: string): readonly Buffer[] {
  const blocks = text.match(/-----BEGIN PUBLIC KEY-----[^-]*-----END PUBLIC KEY-----/g) ?? []
  if (blocks.length === 0) throw new KvxError('KEY_MALFORMED', 'there is no public key in the PEM text')
  return blocks.map((block) => {
    const body = block.split('-----')[2] ?? ''
    const der = Buffer.from(body, 'base64')
    const prefixed = der.subarray(0, spkiPrefix.length).equals(spkiPrefix)
    if (!prefixed || der.length !== spkiPrefix.length + seedLength) {
      throw new KvxError('KEY_MALFORMED', 'a public key in the PEM text is not an Ed25519 key')
    }
    return der.subarray(spkiPrefix.length)
  })
}

/** The seed as PKCS#8 PEM, as `openssl pkey` reads it: ASCII bytes, and never a string on the way. */
export function encodePrivateKeyPem(privateKey: Secret): Secret {
  return withPkcs8(privateKey, (der) => {
    const pem = Buffer.allocUnsafeSlow(pemBegin.length + (der.length / 3) * 4 + pemEnd.length)
    let at = pem.write(pemBegin, 'latin1')
    for (let index = 0; index < der.length; index += 3) {
      const group = der.readUIntBE(index, 3)
      for (const shift of [18, 12, 6, 0])
        at = pem.writeUInt8(base64Letters.readUInt8((group >> shift) & 63), at)
    }
    pem.write(pemEnd, at, 'latin1')
    return Secret.take(pem)
  })
}

/**
 * The seed of a PKCS#8 PEM that is lent as ASCII bytes.
 * @throws KEY_MALFORMED when it is not one unencrypted Ed25519 private key
 */
export function parsePrivateKeyPem(pem: Secret): Secret {
  const der = pem.lend((bytes) => {
    try {
      const key = createPrivateKey({ key: bytes, format: 'pem' })
      if (key.asymmetricKeyType !== 'ed25519') return undefined
      return key.export({ format: 'der', type: 'pkcs8' })
    } catch {
      return undefined
    }
  })
  const prefixed = der?.subarray(0, pkcs8Prefix.length).equals(pkcs8Prefix) ?? false
  if (der === undefined || !prefixed || der.length !== pkcs8Prefix.length + seedLength) {
    der?.fill(0)
    throw new KvxError('KEY_MALFORMED', 'the PEM text is not an Ed25519 private key')
  }
  return Secret.take(der.subarray(pkcs8Prefix.length))
}

function withPkcs8<T>(privateKey: Secret, use: (der: Buffer) => T): T {
  if (privateKey.length !== seedLength) {
    throw new KvxError('KEY_MALFORMED', `an Ed25519 seed has ${seedLength} bytes, not ${privateKey.length}`)
  }
  const der = Buffer.allocUnsafeSlow(pkcs8Prefix.length + seedLength)
  try {
    der.set(pkcs8Prefix)
    privateKey.lend((seed) => der.set(seed, pkcs8Prefix.length))
    return use(der)
  } finally {
    der.fill(0)
  }
}

function withPrivateKey<T>(privateKey: Secret, use: (key: KeyObject) => T): T {
  return withPkcs8(privateKey, (der) => use(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })))
}

function publicKeyObject(publicKey: Uint8Array): KeyObject {
  const der = Buffer.concat([spkiPrefix, requirePublicLength(publicKey)])
  return createPublicKey({ key: der, format: 'der', type: 'spki' })
}

function requirePublicLength(publicKey: Uint8Array): Uint8Array {
  if (publicKey.length !== seedLength) {
    throw new KvxError(
      'KEY_MALFORMED',
      `an Ed25519 public key has ${seedLength} bytes, not ${publicKey.length}`,
    )
  }
  return publicKey
}
