import { generateKeyPairSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { makeSigner } from '../../../src/audit/signer.ts'
import { readTravellingManifest } from '../../../src/backup/shares/examine.ts'
import { encodeShareSet, parseShareSet, verifyShareSet } from '../../../src/backup/shares/share-set.ts'
import { generateSigningKey } from '../../../src/core/signature.ts'
import { errorOf, rejectionOf } from '../../core/share/fixture.ts'
import { known, split, useCustody } from './custody.ts'

useCustody()

describe('the public manifest', () => {
  it('C15 notices every changed byte that changes what it says', async () => {
    const { path } = await split()
    const bytes = readFileSync(path)
    let judged = 0
    for (let at = 0; at < bytes.length; at += 7) {
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ 0x02
      const verdict = verdictOf(changed)
      const isSame = sameJson(bytes, changed)
      if (isSame) continue
      judged++
      expect(verdict, `byte ${at}`).not.toBe('valid')
    }
    expect(judged).toBeGreaterThan(500)
    expect(verdictOf(bytes)).toBe('valid')
  })

  it('is whole by the key that it carries, and known only where that key is', async () => {
    const { path } = await split()
    const signed = parseShareSet(readFileSync(path), 'x')
    expect(verifyShareSet(signed, undefined)).toBe('unknown')
    expect(verifyShareSet(signed, known)).toBe('valid')
    const stranger = makeSigner(generateSigningKey())
    const resigned = parseShareSet(encodeShareSet(signed.set, stranger), 'x')
    expect(verifyShareSet(resigned, known)).toBe('unknown')
    expect(verifyShareSet({ ...signed, signature: undefined }, known)).toBe('unsigned')
    const other = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString()
    expect(verifyShareSet({ ...signed, set: { ...signed.set, auditPublicKey: other } }, known)).toBe(
      'invalid',
    )
  })

  it('is refused with members that kvx does not know, and names no value that it read', async () => {
    const { path } = await split()
    const fields = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
    for (const wrong of [
      { ...fields, more: 1 },
      { ...fields, threshold: 9 },
      { ...fields, checkValue: '0000000000' },
      { ...fields, signature: 'MARKER99' },
      { ...fields, set: 'MARKER99' },
      [],
      'MARKER99',
    ]) {
      const error = errorOf(() => parseShareSet(Buffer.from(JSON.stringify(wrong)), 'x.json'))
      expect(error.code).toBe('DAMAGED')
      expect(`${error.message}${error.hint ?? ''}${JSON.stringify(error)}`).not.toContain('MARKER99')
    }
    writeFileSync(path, JSON.stringify({ ...fields, created: '2020-01-01T00:00:00Z' }))
    expect((await rejectionOf(readTravellingManifest(path))).message).toContain('changed after it was signed')
  })
})

function verdictOf(bytes: Uint8Array): string {
  try {
    return verifyShareSet(parseShareSet(bytes, 'x'), known)
  } catch {
    return 'refused'
  }
}

function sameJson(one: Buffer, other: Buffer): boolean {
  try {
    return JSON.stringify(JSON.parse(one.toString())) === JSON.stringify(JSON.parse(other.toString()))
  } catch {
    return false
  }
}
