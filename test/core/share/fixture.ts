import { readFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { isKvxError, type KvxError } from '../../../src/core/errors.ts'
import { dealShares } from '../../../src/core/share/deal.ts'
import { decodeShare, encodeShare, type Share } from '../../../src/core/share/share-text.ts'
import { Secret } from '../../../src/core/secret.ts'

type VectorFile = {
  readonly kek: string
  readonly fingerprint: string
  readonly kcv: string
  readonly setId: string
  readonly k: number
  readonly n: number
  readonly shares: readonly {
    readonly i: number
    readonly x: number
    readonly y: string
    readonly text: string
    readonly digest: string
  }[]
  readonly invalid: readonly { readonly why: string; readonly code: string; readonly text: string }[]
}

const file = fileURLToPath(new URL('../../vectors/kvx-share-v0.json', import.meta.url))
export const vectors = JSON.parse(readFileSync(file, 'utf8')) as VectorFile

/** The text of a vector's share, as it is printed. */
export function vectorText(index: number): string {
  return vectors.shares.find(({ i }) => i === index)?.text ?? ''
}

export function vectorShare(index: number): Share {
  return decodeShare(bytesOf(vectorText(index)))
}

export function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text))
}

export function textOf(share: Share): string {
  return Buffer.from(encodeShare(share)).toString()
}

/** A new random key, split. */
export async function deal(
  threshold: number,
  of: number,
  material = Secret.take(randomBytes(32)),
  setId = 'kvxdem',
): Promise<{ readonly material: Secret; readonly shares: readonly Share[] }> {
  return { material, shares: await dealShares(material, { threshold, of, setId }) }
}

/** A share like `share` with other bytes or fields: what a forger makes, with a checksum that fits. */
export function forged(
  share: Share,
  change: (point: Uint8Array) => void,
  fields: Partial<Share> = {},
): Share {
  const point = share.point.lend((bytes) => new Uint8Array(bytes))
  change(point)
  return { ...share, ...fields, point: Secret.take(point) }
}

export function errorOf(work: () => unknown): KvxError {
  try {
    work()
  } catch (error) {
    if (isKvxError(error)) return error
    throw error
  }
  throw new Error('nothing was refused')
}

export async function rejectionOf(work: Promise<unknown>): Promise<KvxError> {
  try {
    await work
  } catch (error) {
    if (isKvxError(error)) return error
    throw error
  }
  throw new Error('nothing was refused')
}

/** The longest run of characters that a text of kvx has in common with a share, case and separators aside. */
export function longestLeak(said: string, share: string): number {
  const hay = said.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
  const needle = share.toLowerCase()
  let longest = 0
  for (let from = 0; from < needle.length; from++) {
    while (from + longest < needle.length && hay.includes(needle.slice(from, from + longest + 1))) longest++
  }
  return longest
}
