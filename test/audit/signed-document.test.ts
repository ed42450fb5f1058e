import { describe, expect, test } from 'vitest'
import { canonicalJson } from '../../src/core/canonical-json.ts'
import { verify } from '../../src/core/signature.ts'
import { signDocument, verifyDocument } from '../../src/audit/signed-document.ts'
import { newSigner } from './audit-home.ts'

const signer = newSigner()
const report = {
  schema: 'kvx.report/1',
  run: '20260101T000000Z-abc123',
  head: { seq: 42, head: 'a'.repeat(64) },
  envelopes: [{ name: 'rcrt.secrets', records: 1000, byVersion: { 'master@2': 1000 } }],
}

describe('a signed document', () => {
  test('carries the public key and verifies by it alone', () => {
    const signed = signDocument(report, signer)
    expect(signed).toMatchObject(report)
    expect(signed.signature).toMatchObject({
      algorithm: 'ed25519',
      publicKey: signer.publicKeyPem,
      publicKeyFingerprint: signer.publicKeyFingerprint,
    })
    const value = Buffer.from(signed.signature.value, 'base64')
    expect(verify(signer.publicKey, canonicalJson(report), value)).toBe(true)
    const read: unknown = JSON.parse(JSON.stringify(signed, undefined, 2))
    expect(verifyDocument(read)).toEqual({
      document: report,
      publicKeyFingerprint: signer.publicKeyFingerprint,
      proven: false,
    })
    expect(verifyDocument(read, signer.publicKeyFingerprint.toUpperCase()).proven).toBe(true)
  })

  test('verifies whatever the order of its fields', () => {
    const signed = signDocument(report, signer)
    const reversed = Object.fromEntries(Object.entries(signed).reverse())
    expect(verifyDocument(reversed, signer.publicKeyFingerprint).proven).toBe(true)
  })

  test('is refused for every character that is changed in it', () => {
    const text = JSON.stringify(signDocument(report, signer))
    let tried = 0
    for (let at = 0; at < text.length; at += 1) {
      const sign = text.charCodeAt(at) ^ 1
      const changed = text.slice(0, at) + String.fromCharCode(sign) + text.slice(at + 1)
      const parsed = parse(changed)
      if (parsed === undefined) continue
      tried += 1
      expect(() => verifyDocument(parsed, signer.publicKeyFingerprint), changed).toThrow(
        expect.objectContaining({ exit: 5 }),
      )
    }
    expect(tried).toBeGreaterThan(400)
  })

  test('is refused when a field is added or taken away', () => {
    const signed = signDocument(report, signer)
    const { run: _, ...without } = signed
    const damaged = expect.objectContaining({ code: 'DAMAGED' })
    expect(() => verifyDocument(without)).toThrow(damaged)
    expect(() => verifyDocument({ ...signed, more: 1 })).toThrow(damaged)
    expect(() => verifyDocument({ ...signed, signature: { ...signed.signature, more: 1 } })).toThrow(damaged)
    expect(() => verifyDocument({ ...signed, seconds: 0.5 })).toThrow(damaged)
  })

  test('of another key is told apart by the fingerprint, and only by it', () => {
    const forged = signDocument(report, newSigner())
    expect(verifyDocument(forged).proven).toBe(false)
    expect(() => verifyDocument(forged, signer.publicKeyFingerprint)).toThrow(
      expect.objectContaining({ code: 'FINGERPRINT_DIFFERS', exit: 5 }),
    )
    const { publicKeyFingerprint } = signer
    const lying = { ...forged, signature: { ...forged.signature, publicKeyFingerprint } }
    expect(() => verifyDocument(lying, publicKeyFingerprint)).toThrow(
      expect.objectContaining({ code: 'DAMAGED' }),
    )
  })

  test.each([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'text'],
    ['a list', []],
    ['no signature', report],
    ['an empty signature', { ...report, signature: {} }],
    ['another algorithm', { ...signDocument(report, signer), signature: { algorithm: 'none' } }],
    ['a key that is none', withKey('text')],
    ['two keys', withKey(signer.publicKeyPem + signer.publicKeyPem)],
    [
      'a signature that is none',
      { ...report, signature: { ...signDocument(report, signer).signature, value: 'AAAA' } },
    ],
  ])('is refused, never half believed, when it is %s', (_, value) => {
    expect(() => verifyDocument(value)).toThrow(expect.objectContaining({ code: 'DAMAGED' }))
  })

  test('is not signed twice, nor with values that have no canonical form', () => {
    expect(() => signDocument(signDocument(report, signer), signer)).toThrow(
      expect.objectContaining({ code: 'BUG' }),
    )
    expect(() => signDocument({ seconds: 0.5 }, signer)).toThrow(TypeError)
  })
})

function withKey(publicKey: string): object {
  return { ...report, signature: { ...signDocument(report, signer).signature, publicKey } }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
