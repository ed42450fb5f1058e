import { combinePoints } from './shamir.ts'
import { pointLength, type Share, shareDigest, xOf } from './share-text.ts'
import { Secret } from '../secret.ts'

/**
 * The share with `index` of the set that a quorum belongs to, byte for byte as it was dealt. Its x stands nowhere:
 * all that the quorum does not use are tried until the digest is the one that was recorded. The caller wipes it.
 * @param quorum exactly as many shares as rebuild the key, which they did
 * @param digest `shareDigest` of the lost share
 * @returns undefined when no point of the polynomial has this digest
 */
export async function recreateShare(
  quorum: readonly Share[],
  index: number,
  digest: string,
): Promise<Share | undefined> {
  const [first] = quorum
  if (first === undefined) return undefined
  const used = new Set(quorum.map(xOf))
  for (let x = 1; x <= 255; x++) {
    if (used.has(x)) continue
    const share = { ...first, index, point: await pointAt(quorum, x) }
    if (shareDigest(share) === digest) return share
    share.point.wipe()
  }
  return undefined
}

/** In GF(256) adding is XOR: the value at x is the value at 0 of the polynomial that is moved by x. */
async function pointAt(quorum: readonly Share[], x: number): Promise<Secret> {
  const moved = quorum.map(({ point }) =>
    point.lend((bytes) => {
      const copy = Buffer.from(new Uint8Array(bytes).buffer)
      copy[pointLength - 1] = (copy[pointLength - 1] ?? 0) ^ x
      return Secret.take(copy)
    }),
  )
  try {
    const y = await combinePoints(moved)
    const point = new Uint8Array(pointLength)
    y.lend((bytes) => point.set(bytes))
    y.wipe()
    point[pointLength - 1] = x
    return Secret.take(point)
  } finally {
    for (const point of moved) point.wipe()
  }
}
