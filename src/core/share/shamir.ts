import { randomBytes } from 'node:crypto'
import { combine, split } from 'shamir-secret-sharing'
import { KvxError } from '../errors.ts'
import { Secret } from '../secret.ts'
import { highestOf, pointLength } from './share-text.ts'

/** Shares hold keys of exactly this many bytes. */
export const sharedKeyLength = pointLength - 1

/**
 * Splits a key of 32 bytes into `of` points `y[32] ‖ x`, of which any `threshold` rebuild it. The package checks
 * little: integers, ranges, the x of its points and its source of randomness are checked here.
 * @throws KvxError USAGE for numbers out of range or a key of another length; BUG where the package broke a promise
 */
export async function splitKey(
  material: Secret,
  numbers: { readonly threshold: number; readonly of: number },
): Promise<readonly Secret[]> {
  const { threshold, of } = requireNumbers(numbers)
  if (material.length !== sharedKeyLength) {
    throw new KvxError(
      'USAGE',
      `the key has ${material.length} bytes; shares hold exactly ${sharedKeyLength}`,
      {
        hint: 'back it up by OpenPGP alone: `kvx backup create NAME`',
      },
    )
  }
  requireOwnRandomness()
  const secret = material.lend((bytes) => new Uint8Array(bytes))
  const points = await split(secret, of, threshold).finally(() => secret.fill(0))
  const secrets = points.map((point) => Secret.take(point))
  if (secrets.length === of && hasGoodX(secrets)) return secrets
  for (const point of secrets) point.wipe()
  throw new KvxError('BUG', 'the split gave points that cannot be shares')
}

/** @throws KvxError USAGE */
export function requireNumbers(numbers: { readonly threshold: number; readonly of: number }): typeof numbers {
  const { threshold, of } = numbers
  const fits =
    Number.isInteger(threshold) &&
    Number.isInteger(of) &&
    threshold >= 2 &&
    threshold <= of &&
    of <= highestOf
  if (fits) return numbers
  throw new KvxError('USAGE', `a key is split into 2 to ${highestOf} shares, of which 2 or more rebuild it`, {
    hint: 'for example `--threshold 3 --of 5`',
  })
}

/**
 * Rebuilds what the points define, right or wrong: the caller compares the fingerprint. Points that would choose
 * the result (x = 0) or repeat an x are refused before.
 * @throws KvxError BACKUP_UNUSABLE
 */
export async function combinePoints(points: readonly Secret[]): Promise<Secret> {
  if (points.length < 2 || !points.every(({ length }) => length === pointLength) || !hasGoodX(points)) {
    throw new KvxError(
      'BACKUP_UNUSABLE',
      'these points do not come from one split: an x is 0 or stands twice',
    )
  }
  const plain = points.map((point) => point.lend((bytes) => new Uint8Array(bytes)))
  try {
    return Secret.take(await combine(plain))
  } finally {
    for (const bytes of plain) bytes.fill(0)
  }
}

function hasGoodX(points: readonly Secret[]): boolean {
  const all = points.map((point) => point.lend((bytes) => bytes[pointLength - 1] ?? 0))
  return !all.includes(0) && new Set(all).size === all.length
}

/**
 * The package takes `randomBytes(n).buffer` for its coefficients: right only while Node gives each call a
 * buffer of its own. Out of a pool, all polynomials would be the same.
 */
function requireOwnRandomness(): void {
  const isOwn = [1, highestOf - 1, 255].every((size) => randomBytes(size).buffer.byteLength === size)
  if (!isOwn)
    throw new KvxError('BUG', 'this Node takes random bytes out of a pool; keys are not split with it')
}
