import { randomInt } from 'node:crypto'
import { KvxError } from '../errors.ts'
import { checkValueOf, fingerprintOf } from '../fingerprint.ts'
import type { Secret } from '../secret.ts'
import { quorumCount, quorums } from './quorums.ts'
import { combinePoints, splitKey } from './shamir.ts'
import { decodeAnyShare, encodeShare, type Share, setIdForm } from './share-text.ts'

export type DealPlan = {
  readonly threshold: number
  readonly of: number
  readonly setId: string
  /** Marks the shares: no reader takes them for shares of a key. */
  readonly rehearsal?: boolean
}

/** So many quorums are tried one by one; of more, all shares together and random ones. */
const mostQuorums = 20_000
const randomQuorums = 2_000

/**
 * Splits a key into shares with text, and proves them before anybody sees one: every quorum rebuilds the key,
 * and every text decodes to its share. The caller wipes the points.
 * @throws KvxError USAGE; READ_BACK_FAILED when a proof fails: nothing may leave then
 */
export async function dealShares(material: Secret, plan: DealPlan): Promise<readonly Share[]> {
  if (!setIdForm.test(plan.setId)) throw new TypeError('a set id has 6 characters of the alphabet')
  const points = await splitKey(material, plan)
  try {
    await proveQuorums(points, plan.threshold, material)
    const checkValue = checkValueOf(fingerprintOf(material))
    const { threshold, of, setId } = plan
    const mark = plan.rehearsal === true ? ({ rehearsal: true } as const) : {}
    const shares = points.map((point, at) => ({
      threshold,
      of,
      setId,
      index: at + 1,
      checkValue,
      point,
      ...mark,
    }))
    for (const share of shares) proveText(share)
    return shares
  } catch (error) {
    for (const point of points) point.wipe()
    throw error
  }
}

/** @throws KvxError READ_BACK_FAILED when a quorum rebuilds something else */
export async function proveQuorums(
  points: readonly Secret[],
  threshold: number,
  material: Secret,
): Promise<void> {
  for (const chosen of chosenQuorums(points.length, threshold)) {
    const rebuilt = await combinePoints(points.filter((_, at) => chosen.includes(at)))
    const isSame = rebuilt.equals(material)
    rebuilt.wipe()
    if (!isSame) {
      throw new KvxError('READ_BACK_FAILED', 'the shares that were made do not rebuild the key', {
        hint: 'nothing was handed out; run it again, and report it when it happens twice',
      })
    }
  }
}

function* chosenQuorums(count: number, size: number): Generator<readonly number[]> {
  if (quorumCount(count, size) <= mostQuorums) {
    yield* quorums(count, size)
    return
  }
  const all = Array.from({ length: count }, (_, at) => at)
  yield all
  for (let round = 0; round < randomQuorums; round++) {
    const left = [...all]
    yield Array.from({ length: size }, () => left.splice(randomInt(left.length), 1)[0] ?? 0)
  }
}

function proveText(share: Share): void {
  const text = encodeShare(share)
  const read = decodeAnyShare(text)
  text.fill(0)
  const isSame =
    read.point.equals(share.point) &&
    read.setId === share.setId &&
    read.checkValue === share.checkValue &&
    read.index === share.index &&
    read.threshold === share.threshold &&
    read.of === share.of &&
    read.rehearsal === share.rehearsal
  read.point.wipe()
  if (!isSame) throw new KvxError('READ_BACK_FAILED', 'the text of a share does not decode to it')
}
