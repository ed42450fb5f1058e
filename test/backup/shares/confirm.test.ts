import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { acceptUnconfirmed, confirmShare } from '../../../src/backup/shares/confirm-share.ts'
import { encodeShareSet, parseShareSet } from '../../../src/backup/shares/share-set.ts'
import { activeShareSets, type StoredShareSet } from '../../../src/backup/shares/share-sets.ts'
import { receiptSlots } from '../../../src/core/share/receipt.ts'
import { errorOf, rejectionOf } from '../../core/share/fixture.ts'
import { confirm, fingerprint, known, receipt, shareHome, signer, split, useCustody } from './custody.ts'

useCustody()

describe('confirming shares', () => {
  it('C14 makes a set active only when all custodians confirmed, in any order', async () => {
    const stored = await split()
    const trust = { fingerprint, verify: known }
    for (const [index, state] of [
      [3, 'pending'],
      [1, 'pending'],
      [2, 'active'],
    ] as const) {
      expect(await activeShareSets(shareHome().directory, 'master', 1, trust)).toEqual([])
      expect((await confirm(stored, index)).set.state).toBe(state)
    }
    const [active] = await activeShareSets(shareHome().directory, 'master', 1, trust)
    expect(active?.set.activated).toMatch(/^\d{4}-/)
    expect(await activeShareSets(shareHome().directory, 'master', 2, trust)).toEqual([])
    expect(await activeShareSets(shareHome().directory, 'other', 1, trust)).toEqual([])
    expect(
      await activeShareSets(shareHome().directory, 'master', 1, { ...trust, fingerprint: '0'.repeat(64) }),
    ).toEqual([])
  })

  it('C19 takes each of the 8 receipts once, and refuses a used one with the command for the next', async () => {
    const stored = await split()
    const codes = new Set([1, 2, 3].flatMap((index) => slots().map((slot) => receipt(stored, index, slot))))
    expect(codes.size).toBe(3 * receiptSlots)
    for (const slot of slots()) {
      await confirm(stored, 1, slot)
      const error = await rejectionOf(confirm(stored, 1, slot))
      expect(error.code).toBe('FINGERPRINT_DIFFERS')
      expect(error.message).toContain(`receipt ${slot} of share 1 was used`)
      if (slot < receiptSlots) expect(error.hint).toContain(`--slot ${slot + 1}`)
    }
    expect((await rejectionOf(confirm(stored, 1, 1))).hint).toContain('used up')
  })

  it('C19 takes a receipt in any case and grouping, and not one of another share or set', async () => {
    const stored = await split()
    const typed = receipt(stored, 1).toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o')
    const done = await confirmShare(shareHome(), stored.set.set.toUpperCase(), {
      index: 1,
      receipt: typed,
      by: 'x\ny',
    })
    expect(done.set.shares[0]?.confirmations).toMatchObject([{ slot: 1, by: 'x?y' }])
    const other = await split()
    const wrong = await rejectionOf(
      confirmShare(shareHome(), stored.set.set, { index: 2, receipt: receipt(stored, 3), by: 'x' }),
    )
    expect(wrong.message).toContain('it is one of share 3')
    const foreign = receipt(other, 2)
    const strange = await rejectionOf(
      confirmShare(shareHome(), stored.set.set, { index: 2, receipt: foreign, by: 'x' }),
    )
    expect(strange.exit).toBe(5)
    expect(
      (await rejectionOf(confirmShare(shareHome(), stored.set.set, { index: 2, receipt: 'abc', by: 'x' })))
        .code,
    ).toBe('USAGE')
    expect(
      (await rejectionOf(confirmShare(shareHome(), 'zzzzzz', { index: 1, receipt: 'x', by: 'x' }))).code,
    ).toBe('BACKUP_UNKNOWN')
    expect(
      (await rejectionOf(confirmShare(shareHome(), stored.set.set, { index: 4, receipt: foreign, by: 'x' })))
        .code,
    ).toBe('USAGE')
  })

  it('C14 becomes active without some only when exactly these are named, a quorum confirmed, and it is recorded', async () => {
    const stored = await split()
    await confirm(stored, 1)
    const accept = async (indices: readonly number[]): Promise<StoredShareSet> =>
      acceptUnconfirmed(shareHome(), stored.set.set, { indices, reason: 'on leave', by: 'tester' })
    expect((await rejectionOf(accept([2, 3]))).message).toContain('fewer than 2')
    await confirm(stored, 2)
    expect((await rejectionOf(accept([]))).hint).toContain('--accept-unconfirmed 3')
    expect((await rejectionOf(accept([2, 3]))).code).toBe('USAGE')
    const active = await accept([3])
    expect(active.set).toMatchObject({
      state: 'active',
      accepted: { shares: [3], reason: 'on leave', by: 'tester' },
    })
    expect(
      await activeShareSets(shareHome().directory, 'master', 1, { fingerprint, verify: known }),
    ).toHaveLength(1)
  })

  it('C14 refuses a manifest that says active without confirmations, whoever signed it', async () => {
    const stored = await split()
    const bytes = encodeShareSet({ ...stored.set, state: 'active' }, signer)
    expect(errorOf(() => parseShareSet(bytes, 'x')).message).toContain('not every custodian confirmed')
  })

  it('signs no new state over a manifest that somebody changed', async () => {
    const stored = await split()
    const code = receipt(stored, 1)
    const text = readFileSync(stored.path, 'utf8').replace('A. Boole', 'M. Allory')
    writeFileSync(stored.path, text)
    const error = await rejectionOf(
      confirmShare(shareHome(), stored.set.set, { index: 1, receipt: code, by: 'x' }),
    )
    expect(error.code).toBe('DAMAGED')
    expect(readFileSync(stored.path, 'utf8')).toBe(text)
  })
})

function slots(): readonly number[] {
  return Array.from({ length: receiptSlots }, (_, at) => at + 1)
}
