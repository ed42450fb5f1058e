import { expect, it, vi } from 'vitest'
import { drawCard } from '../../../src/backup/cards/card.ts'
import { isKvxError } from '../../../src/core/errors.ts'
import { vectorShare, vectorText } from '../../core/share/fixture.ts'

vi.mock('qr/decode.js', () => ({ default: () => vectorText(2) }))

it('C43 draws no card whose code is read back as another share', async () => {
  const facts = {
    subject: undefined,
    fingerprint: undefined,
    custodian: undefined,
    dealt: undefined,
    auditKeyFingerprint: undefined,
    programSha256: undefined,
  }
  expect((await drawCard(vectorShare(2), facts)).length).toBeGreaterThan(1000)
  const error: unknown = await drawCard(vectorShare(1), facts).catch((reason: unknown) => reason)
  expect(isKvxError(error, 'READ_BACK_FAILED')).toBe(true)
})
