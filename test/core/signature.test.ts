import { execFileSync } from 'node:child_process'
import { createHash, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Secret } from '../../src/core/secret.ts'
import {
  encodePrivateKeyPem,
  encodePublicKeyPem,
  generateSigningKey,
  openVerifier,
  parsePrivateKeyPem,
  parsePublicKeysPem,
  publicKeyFingerprint,
  publicKeyOf,
  sign,
  verify,
} from '../../src/core/signature.ts'

// RFC 8032 §7.1, tests 1 to 3: seed, public key, message, signature
const vectors = [
  [
    '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    '',
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  ],
  [
    '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    '72',
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  ],
  [
    'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    'af82',
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  ],
] as const

const openssl = (...args: string[]): Buffer => execFileSync('openssl', args)
const hex = (digits: string): Buffer => Buffer.from(digits, 'hex')

describe('Ed25519', () => {
  test.each(vectors)(
    'signs and verifies the vector of RFC 8032 for seed %.8s',
    (seed, publicKey, message, signature) => {
      const secret = Secret.copy(hex(seed))
      expect(publicKeyOf(secret).toString('hex')).toBe(publicKey)
      expect(sign(secret, hex(message)).toString('hex')).toBe(signature)
      expect(verify(hex(publicKey), hex(message), hex(signature))).toBe(true)
    },
  )

  test('refuses a signature for every changed bit, another message, another key and another length', () => {
    const { privateKey, publicKey } = generateSigningKey()
    const message = Buffer.from('message')
    const signature = sign(privateKey, message)
    const accepts = openVerifier(publicKey)
    expect(accepts(message, signature)).toBe(true)
    for (let bit = 0; bit < 512; bit += 1) {
      const changed = Buffer.from(signature)
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      expect(accepts(message, changed)).toBe(false)
    }
    expect(accepts(Buffer.from('messagf'), signature)).toBe(false)
    expect(accepts(message, signature.subarray(1))).toBe(false)
    expect(accepts(message, Buffer.concat([signature, Buffer.alloc(1)]))).toBe(false)
    expect(verify(generateSigningKey().publicKey, message, signature)).toBe(false)
  })

  test('makes a new key each time, and names it by the SHA-256 of its 32 raw public bytes', () => {
    const one = generateSigningKey()
    const other = generateSigningKey()
    expect(one.privateKey.equals(other.privateKey)).toBe(false)
    expect(publicKeyFingerprint(one.publicKey)).toBe(createHash('sha256').update(one.publicKey).digest('hex'))
    expect(one.publicKey).toHaveLength(32)
  })

  test('writes PEM that openssl reads, signs and verifies with', () => {
    const directory = mkdtempSync(join(tmpdir(), 'kvx-signature-'))
    try {
      const { privateKey, publicKey } = generateSigningKey()
      const at = (name: string): string => join(directory, name)
      encodePrivateKeyPem(privateKey).lend((bytes) => writeFileSync(at('key'), bytes, { mode: 0o600 }))
      writeFileSync(at('pub'), encodePublicKeyPem(publicKey))
      writeFileSync(at('message'), 'message')
      expect(openssl('pkey', '-in', at('key'), '-pubout').toString()).toBe(encodePublicKeyPem(publicKey))
      const signature = openssl('pkeyutl', '-sign', '-rawin', '-inkey', at('key'), '-in', at('message'))
      expect(verify(publicKey, Buffer.from('message'), signature)).toBe(true)
      writeFileSync(at('sig'), sign(privateKey, Buffer.from('message')))
      const verdict = openssl(
        'pkeyutl',
        '-verify',
        '-rawin',
        '-pubin',
        '-inkey',
        at('pub'),
        '-sigfile',
        at('sig'),
        '-in',
        at('message'),
      )
      expect(verdict.toString()).toContain('Signature Verified Successfully')
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  test('reads back the private key that it wrote, byte for byte as Node writes it', () => {
    for (let round = 0; round < 20; round += 1) {
      const { privateKey: key } = generateKeyPairSync('ed25519')
      const pem = Buffer.from(key.export({ format: 'pem', type: 'pkcs8' }))
      const seed = parsePrivateKeyPem(Secret.copy(pem))
      expect(seed.length).toBe(32)
      expect(encodePrivateKeyPem(seed).equals(Secret.copy(pem))).toBe(true)
    }
  })

  test('reads several public keys of one text, and refuses keys of other kinds', () => {
    const keys = [generateSigningKey(), generateSigningKey()].map(({ publicKey }) => publicKey)
    const text = `# current\n${keys.map((key) => encodePublicKeyPem(key)).join('# former\n')}`
    expect(parsePublicKeysPem(text)).toEqual(keys)
    const { publicKey, privateKey } = generateKeyPairSync('x25519')
    const foreignPublic = publicKey.export({ format: 'pem', type: 'spki' }).toString()
    const foreignPrivate = Buffer.from(privateKey.export({ format: 'pem', type: 'pkcs8' }))
    expect(() => parsePublicKeysPem(foreignPublic)).toThrow(
      expect.objectContaining({ code: 'KEY_MALFORMED' }),
    )
    expect(() => parsePublicKeysPem('')).toThrow(expect.objectContaining({ code: 'KEY_MALFORMED' }))
    for (const bytes of [foreignPrivate, Buffer.from('nonsense'), Buffer.alloc(0)]) {
      expect(() => parsePrivateKeyPem(Secret.copy(bytes))).toThrow(
        expect.objectContaining({ code: 'KEY_MALFORMED' }),
      )
    }
  })

  test.each([0, 31, 33, 64])('refuses keys of %d bytes', (length) => {
    const malformed = expect.objectContaining({ code: 'KEY_MALFORMED' })
    expect(() => publicKeyFingerprint(Buffer.alloc(length))).toThrow(malformed)
    expect(() => openVerifier(Buffer.alloc(length))).toThrow(malformed)
    expect(() => sign(Secret.copy(Buffer.alloc(length)), Buffer.alloc(1))).toThrow(malformed)
  })
})
