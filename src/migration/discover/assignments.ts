/**
 * A layout that a value could have by its structure alone: where bytes of which length lie, and in which encoding.
 * `rank` orders them: what is usual comes first.
 */
export type Structure = {
  readonly layout: string
  readonly words: string
  readonly rank: number
  /** The layout repeats what the value begins with: nothing to print before a key opened it. */
  readonly repeats?: boolean
  /** The layout repeats a number that could be the version of the key. */
  readonly isNumbered?: boolean
}

/** Lengths of nonces that AEADs of applications have; the first is what most of them use. */
export const nonceLengths = [12, 24, 16, 32, 8]
export const tagLength = 16
type Assignment = { readonly names: readonly string[]; readonly rank: number }

/** Which part can be what by its length. */
export function assignments(sizes: readonly number[]): readonly Assignment[] {
  const found: Assignment[] = []
  sizes.forEach((nonce, nonceAt) => {
    if (!nonceLengths.includes(nonce)) return
    const usual = nonce === 12 ? 0 : 1
    sizes.forEach((tag, tagAt) => {
      if (tag !== tagLength || tagAt === nonceAt) return
      sizes.forEach((_, ctAt) => {
        if (ctAt === nonceAt || ctAt === tagAt) return
        const names = sizes.map((size, at) => {
          if (at === nonceAt) return `nonce:${nonce}`
          if (at === tagAt) return 'tag:16'
          return at === ctAt ? 'ct' : `skip:${size}`
        })
        found.push({ names, rank: usual + (nonceAt < ctAt ? 0 : 1) + (sizes.length - 3) * 3 })
      })
    })
    sizes.forEach((size, at) => {
      if (at === nonceAt || size <= tagLength || sizes.length !== 2) return
      for (const rest of ['ct tag:16', 'tag:16 ct']) {
        const names = sizes.map((_, each) => (each === nonceAt ? `nonce:${nonce}` : rest))
        found.push({ names, rank: usual + (rest === 'ct tag:16' ? 0 : 1) })
      }
    })
  })
  sizes.forEach((tag, tagAt) => {
    const other = sizes[1 - tagAt] ?? 0
    if (sizes.length !== 2 || tag !== tagLength) return
    for (const nonce of nonceLengths) {
      if (other <= nonce) continue
      found.push({ names: sizes.map((_, at) => (at === tagAt ? 'tag:16' : `nonce:${nonce} ct`)), rank: 8 })
    }
  })
  return found
}
