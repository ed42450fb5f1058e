import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { combine } from 'shamir-secret-sharing'
import { dealShares, proveQuorums } from '../../../src/core/share/deal.ts'
import { quorumCount, quorums } from '../../../src/core/share/quorums.ts'
import { missingText, recombine } from '../../../src/core/share/recombine.ts'
import { combinePoints, splitKey } from '../../../src/core/share/shamir.ts'
import { xOf } from '../../../src/core/share/share-text.ts'
import { fingerprintOf } from '../../../src/core/fingerprint.ts'
import { Secret } from '../../../src/core/secret.ts'
import { deal, forged, rejectionOf, vectors, vectorShare } from './fixture.ts'

const key = (): Secret => Secret.take(randomBytes(32))

describe('splitting a key', () => {
  it('C8 takes integers from 2 to 32 alone, and exactly 32 bytes', async () => {
    for (const [threshold, of] of [
      [1, 3],
      [4, 3],
      [2, 33],
      [2.5, 5],
      [3, 4.5],
      [Number.NaN, 5],
      [0, 0],
    ] as const) {
      expect((await rejectionOf(splitKey(key(), { threshold, of }))).code).toBe('USAGE')
    }
    for (const size of [16, 31, 33, 64]) {
      const error = await rejectionOf(splitKey(Secret.take(randomBytes(size)), { threshold: 2, of: 3 }))
      expect(error.message).toContain(`${size} bytes`)
    }
  })

  it('C13 finds that Node still gives each call for random bytes a buffer of its own', () => {
    for (const size of [1, 2, 31, 255]) expect(randomBytes(size).buffer.byteLength).toBe(size)
  })

  it('C9 never gives an x of 0 or one x twice', async () => {
    for (let round = 0; round < 50; round++) {
      const { shares } = await deal(2, 32)
      const all = shares.map(xOf)
      expect(all).not.toContain(0)
      expect(new Set(all).size).toBe(32)
    }
  })

  it('C12 recombines every quorum before it gives anything out, and notices one wrong bit in one share', async () => {
    const material = key()
    const points = await splitKey(material, { threshold: 3, of: 5 })
    await proveQuorums(points, 3, material)
    for (let bad = 0; bad < 5; bad++) {
      const wrong = points.map((point, at) => {
        const bytes = point.lend((lent) => new Uint8Array(lent))
        if (at === bad) bytes[7] = (bytes[7] ?? 0) ^ 1
        return Secret.take(bytes)
      })
      expect((await rejectionOf(proveQuorums(wrong, 3, material))).code).toBe('READ_BACK_FAILED')
    }
  })

  it('C12 tries all shares together and random quorums where there are too many to try', async () => {
    expect(quorumCount(32, 16)).toBe(601_080_390)
    const material = key()
    const points = await splitKey(material, { threshold: 16, of: 32 })
    await proveQuorums(points, 16, material)
    const wrong = points.map((point, at) => {
      const bytes = point.lend((lent) => new Uint8Array(lent))
      if (at === 31) bytes[0] = (bytes[0] ?? 0) ^ 1
      return Secret.take(bytes)
    })
    expect((await rejectionOf(proveQuorums(wrong, 16, material))).code).toBe('READ_BACK_FAILED')
  })

  it('refuses a set id that no share could hold', async () => {
    await expect(dealShares(key(), { threshold: 2, of: 2, setId: 'KVXDEM' })).rejects.toThrow(TypeError)
  })

  it('counts and lists quorums', () => {
    expect([...quorums(4, 2)]).toEqual([
      [0, 1],
      [0, 2],
      [0, 3],
      [1, 2],
      [1, 3],
      [2, 3],
    ])
    expect([...quorums(2, 3)]).toEqual([])
    for (const [n, k] of [
      [5, 3],
      [16, 8],
      [7, 7],
    ] as const) {
      expect([...quorums(n, k)]).toHaveLength(quorumCount(n, k))
    }
  })
})

describe('rebuilding a key', () => {
  it('restores from every quorum of every small split, and never from one share less', async () => {
    for (const [threshold, of] of [
      [2, 2],
      [2, 3],
      [3, 5],
      [4, 6],
      [5, 5],
    ] as const) {
      const { material, shares } = await deal(threshold, of)
      const fingerprint = fingerprintOf(material)
      for (const chosen of quorums(of, threshold)) {
        const rebuilt = await recombine(
          chosen.flatMap((at) => shares[at] ?? []),
          fingerprint,
        )
        expect(rebuilt.material.equals(material)).toBe(true)
        expect(rebuilt.suspects).toEqual([])
      }
      for (const chosen of quorums(of, threshold - 1)) {
        const few = chosen.flatMap((at) => shares[at] ?? [])
        const error = await rejectionOf(recombine(few, fingerprint))
        expect(error.exit).toBe(7)
        if (few.length < 2) continue
        const combined = await combinePoints(few.map(({ point }) => point))
        expect(combined.equals(material)).toBe(false)
      }
    }
  })

  it('rebuilds the key of the published vectors from shares 5, 1, 3', async () => {
    const rebuilt = await recombine([5, 1, 3].map(vectorShare), vectors.fingerprint)
    expect(rebuilt.material.lend((bytes) => bytes.toString('hex'))).toBe(vectors.kek)
    expect(rebuilt.fingerprint).toBe(vectors.fingerprint)
  })

  it('C9 refuses a forged x = 0, which the package lets choose the key', async () => {
    const { shares } = await deal(3, 5)
    const [one, two, three] = shares
    if (one === undefined || two === undefined || three === undefined) throw new Error('no shares')
    const chosen = forged(one, (point) => point.fill(0x41, 0, 32).set([0], 32))
    const plain = [chosen, two, three].map(({ point }) => point.lend((bytes) => new Uint8Array(bytes)))
    expect(Buffer.from(await combine(plain)).toString()).toBe('A'.repeat(32)) // the trap is real
    const error = await rejectionOf(recombine([chosen, two, three], undefined))
    expect(error.details).toEqual({ reason: 'x', index: 1 })
    expect((await rejectionOf(combinePoints([chosen, two, three].map(({ point }) => point)))).code).toBe(
      'BACKUP_UNUSABLE',
    )
  })

  it('C9 names mixed sets, repeated shares, two shares with one number or one x before it combines', async () => {
    const { material, shares } = await deal(3, 5)
    const other = await deal(3, 5, material, 'qqqqqq')
    const wider = await deal(3, 6, material)
    const [one, two, three] = shares
    const stranger = other.shares[2]
    if (one === undefined || two === undefined || three === undefined || stranger === undefined)
      throw new Error()
    const cases = [
      [stranger, { reason: 'set', index: 3 }, 'share 3 is of set QQQQQQ, not of KVXDEM'],
      [wider.shares[2], { reason: 'set', index: 3 }, 'share 3 contradicts the others of its set'],
      [
        forged(three, () => undefined, { checkValue: '0000000000' }),
        { reason: 'set', index: 3 },
        'contradicts',
      ],
      [two, { reason: 'twice', index: 2 }, 'share 2 was given already'],
      [
        forged(three, () => undefined, { index: 2 }),
        { reason: 'duplicate', index: 2 },
        'two different shares 2',
      ],
      [
        forged(three, (point) => point.set([xOf(one)], 32)),
        { reason: 'x', index: 3 },
        'share 1 hold the same x',
      ],
    ] as const
    for (const [wrong, details, message] of cases) {
      const error = await rejectionOf(recombine([one, two, wrong ?? one], undefined))
      expect(error.details).toEqual(details)
      expect(error.message).toContain(message)
      expect(error.exit).toBe(5)
    }
  })

  it('C11 names the one bad share and recovers the key with k+1 to n shares', async () => {
    const { material, shares } = await deal(3, 5)
    for (const expected of [fingerprintOf(material), undefined]) {
      for (const count of [4, 5]) {
        for (let bad = 0; bad < count; bad++) {
          const given = shares.slice(0, count).map((share, at) => {
            return at === bad ? forged(share, (point) => point.set([(point[3] ?? 0) ^ 0x10], 3)) : share
          })
          const rebuilt = await recombine(given, expected)
          expect(rebuilt.material.equals(material)).toBe(true)
          expect(rebuilt.suspects).toEqual([bad + 1])
          expect(rebuilt.used).not.toContain(bad + 1)
        }
      }
    }
  })

  it('C10 says that it cannot tell which share is wrong when there is none to spare, and gives nothing out', async () => {
    const { material, shares } = await deal(3, 5)
    const given = shares
      .slice(0, 3)
      .map((share, at) => (at === 1 ? forged(share, (point) => point.fill(7, 0, 1)) : share))
    const error = await rejectionOf(recombine(given, fingerprintOf(material)))
    expect(error.code).toBe('FINGERPRINT_DIFFERS')
    expect(error.message).toContain('cannot be told')
  })

  it('C10 refuses a key that fits the check value and not the full fingerprint', async () => {
    const { material, shares } = await deal(2, 3)
    const almost = fingerprintOf(material).slice(0, 10) + '0'.repeat(54)
    expect((await rejectionOf(recombine(shares, almost))).code).toBe('FINGERPRINT_DIFFERS')
  })

  it('says what is there and what is missing', () => {
    expect(missingText({ threshold: 3, of: 5 }, [{ index: 4 }, { index: 1 }])).toBe(
      'have 1, 4; need 1 more of 2, 3, 5',
    )
    expect(missingText({ threshold: 2, of: 3 }, [])).toBe('have none; need 2 more of 1, 2, 3')
    expect(missingText({ threshold: 2, of: 3 }, [{ index: 1 }, { index: 3 }])).toContain('enough')
  })
})
