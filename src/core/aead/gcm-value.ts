import type { Ghash } from './ghash.ts'

/** What GCM takes to open a value, or with the plaintext as `ct` and without a tag to seal it. */
export type GcmValue = { readonly nonce: Uint8Array; readonly ct: Uint8Array; readonly aad: Uint8Array }

/** Longer ones are faster one by one in `node:crypto`: what a call costs besides its bytes does not count there. */
const longest = 512

/** Whether a value is short, and its nonce of the 12 bytes that need no GHASH of their own. */
export function shortGcm({ nonce, ct, aad }: GcmValue): boolean {
  return nonce.length === 12 && ct.length <= longest && aad.length <= longest
}

/** The GHASH of a value: its tag without the mask. */
export function gcmHash(ghash: Ghash, { ct, aad }: Omit<GcmValue, 'nonce'>, into: Uint8Array): Uint8Array {
  ghash.reset()
  ghash.update(aad)
  ghash.update(ct)
  ghash.block(0, aad.length * 8, 0, ct.length * 8)
  for (let at = 0; at < 16; at++) into[at] = (ghash.state[at >> 2] ?? 0) >>> (24 - 8 * (at & 3))
  return into
}

/** Adds the encrypted first counter block to what {@link gcmHash} made: the tag. */
export function masked(hash: Uint8Array, blocks: Uint8Array, from: number): Uint8Array {
  for (let at = 0; at < 16; at++) hash[at] = (hash[at] ?? 0) ^ (blocks[from + at] ?? 0)
  return hash
}
