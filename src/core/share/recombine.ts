import { timingSafeEqual } from 'node:crypto'
import { KvxError } from '../errors.ts'
import { fingerprintOf } from '../fingerprint.ts'
import type { Secret } from '../secret.ts'
import { quorumCount, quorums } from './quorums.ts'
import { combinePoints } from './shamir.ts'
import { type Share, xOf } from './share-text.ts'

/** A rebuilt key. The caller wipes `material`. */
export type Rebuilt = {
  readonly material: Secret
  readonly fingerprint: string
  /** Indices of the shares that rebuilt it. */
  readonly used: readonly number[]
  /** Indices of shares that are not of this key, although they say so. */
  readonly suspects: readonly number[]
}

/** Why shares were refused; stands in `details.reason` of the error, with the index. */
export type ShareProblem = 'set' | 'duplicate' | 'twice' | 'x' | 'digest' | 'manifest'

const mostQuorums = 20_000

export function shareProblem(reason: ShareProblem, index: number, message: string, hint: string): KvxError {
  return new KvxError('BACKUP_UNUSABLE', message, { hint, details: { reason, index } })
}

/**
 * Refuses what must never reach Shamir's formula, which says yes to everything: a share of another set, the same
 * share twice, two shares with one number or one x.
 * @throws KvxError BACKUP_UNUSABLE with the reason and the index
 */
export function requireFits(share: Share, others: readonly Share[]): void {
  const [first] = others
  const { index } = share
  if (first !== undefined && !sameSet(share, first)) {
    const [own, theirs] = [share, first].map(({ setId }) => setId.toUpperCase())
    const which = own === theirs ? 'contradicts the others of its set' : `is of set ${own}, not of ${theirs}`
    throw shareProblem(
      'set',
      index,
      `share ${index} ${which}`,
      'take the shares of one set: the card names it',
    )
  }
  const same = others.find((other) => other.index === index)
  if (same !== undefined) {
    const isSame = same.point.equals(share.point)
    throw isSame
      ? shareProblem(
          'twice',
          index,
          `share ${index} was given already`,
          'give the share of another custodian',
        )
      : shareProblem('duplicate', index, `there are two different shares ${index}`, 'one of them is forged')
  }
  const twin = others.find((other) => xOf(other) === xOf(share))
  if (twin === undefined && xOf(share) !== 0) return
  const whose = twin === undefined ? '' : ` and share ${twin.index} hold the same x: one of them`
  throw shareProblem('x', index, `share ${index}${whose} is forged`, 'take the share of another custodian')
}

function sameSet(one: Share, other: Share): boolean {
  return (
    one.setId === other.setId &&
    one.threshold === other.threshold &&
    one.of === other.of &&
    one.checkValue === other.checkValue
  )
}

/**
 * Rebuilds the key and compares it before anybody uses it: with the full fingerprint where it is known, else with
 * the check value of the shares (40 bits, which catch accidents only). With more shares than needed it finds the
 * quorum that fits and names the shares that do not.
 * @throws KvxError BACKUP_UNUSABLE for shares that do not belong together; FINGERPRINT_DIFFERS when no quorum
 * fits; SHARE_MISSING for too few. Whatever was rebuilt wrongly is wiped
 */
export async function recombine(shares: readonly Share[], fingerprint: string | undefined): Promise<Rebuilt> {
  shares.forEach((share, at) => requireFits(share, shares.slice(0, at)))
  const [first] = shares
  if (first === undefined || shares.length < first.threshold) throw tooFew(shares)
  const { threshold } = first
  const expected = fingerprint ?? first.checkValue.toLowerCase()
  let tries = Math.min(quorumCount(shares.length, threshold), mostQuorums)
  for (const chosen of quorums(shares.length, threshold)) {
    if (tries-- === 0) break
    const quorum = chosen.flatMap((at) => shares[at] ?? [])
    const material = await rebuild(quorum, expected)
    if (material === undefined) continue
    const suspects = await findSuspects(quorum, shares, expected)
    const used = quorum.map(({ index }) => index)
    return { material, fingerprint: fingerprintOf(material), used, suspects }
  }
  throw noneFits(shares, threshold)
}

async function rebuild(quorum: readonly Share[], expected: string): Promise<Secret | undefined> {
  const material = await combinePoints(quorum.map(({ point }) => point))
  const found = Buffer.from(fingerprintOf(material).slice(0, expected.length))
  if (timingSafeEqual(found, Buffer.from(expected))) return material
  material.wipe()
  return undefined
}

/** In a quorum that is right, each other share takes the place of one: what comes out tells whether it is right. */
async function findSuspects(
  quorum: readonly Share[],
  shares: readonly Share[],
  expected: string,
): Promise<readonly number[]> {
  const suspects: number[] = []
  for (const share of shares.filter((share) => !quorum.includes(share))) {
    const material = await rebuild([...quorum.slice(1), share], expected)
    if (material === undefined) suspects.push(share.index)
    material?.wipe()
  }
  return suspects
}

function tooFew(shares: readonly Share[]): KvxError {
  const [first] = shares
  if (first === undefined) {
    return new KvxError('SHARE_MISSING', 'no share was given', { hint: 'enter the shares one after another' })
  }
  return new KvxError('SHARE_MISSING', missingText(first, shares), {
    hint: 'ask another custodian, then start again: no share is kept anywhere',
    details: { have: shares.length, need: first.threshold },
  })
}

/** `have 1, 4; need 1 more of 2, 3, 5` */
export function missingText(
  of: Pick<Share, 'threshold' | 'of'>,
  have: readonly Pick<Share, 'index'>[],
): string {
  const indices = have.map(({ index }) => index).sort((a, b) => a - b)
  const others = Array.from({ length: of.of }, (_, at) => at + 1).filter((index) => !indices.includes(index))
  const left = of.threshold - indices.length
  const has = indices.length === 0 ? 'have none' : `have ${indices.join(', ')}`
  return left <= 0 ? `${has}; that is enough` : `${has}; need ${left} more of ${others.join(', ')}`
}

function noneFits(shares: readonly Share[], threshold: number): KvxError {
  const indices = shares.map(({ index }) => index).join(', ')
  const surplus = shares.length - threshold
  const which =
    surplus === 0
      ? `shares ${indices} rebuild another key; which of them is wrong cannot be told from ${threshold} alone`
      : `no ${threshold} of the shares ${indices} rebuild the key`
  return new KvxError('FINGERPRINT_DIFFERS', which, {
    hint: 'give one more share than needed: then the wrong one is named; nothing was written',
    details: { reason: 'recombine', shares: indices },
  })
}
