import type { StoredRecord } from '../../stores/store.ts'
import { type Inner, keyIn } from './inner-key.ts'
import type { Sample } from './sample.ts'
import { type KeysFor, stateOf } from './search.ts'
import { type Guess, tryGuess, TrialKeys } from './trial.ts'

/** A column that opens to keys: where it lies, and how the key is written inside its wrap. */
export type WrappedKey = { readonly guess: Guess; readonly inner: Inner }

/** The wrapped key of each record, as a key that opens other columns of it. `wipe` it after use. */
export function keysBelow(
  sample: Sample,
  { guess, inner }: WrappedKey,
  keysFor: KeysFor,
): { readonly keysFor: KeysFor; readonly wipe: () => void } {
  const known = new Map<StoredRecord, TrialKeys | undefined>()
  const open = (record: StoredRecord): TrialKeys | undefined => {
    const above = keysFor(record)
    const result = above && tryGuess(guess, stateOf(sample, record), above)
    if (result === undefined || typeof result === 'string') return undefined
    const material = keyIn(result.plaintext, inner)
    result.plaintext.fill(0)
    const { name, version } = result.key
    return material && new TrialKeys([{ name, version, material }])
  }
  return {
    keysFor: (record) => {
      if (!known.has(record)) known.set(record, open(record))
      return known.get(record)
    },
    wipe: () => {
      for (const keys of known.values()) {
        for (const { material } of keys?.keys ?? []) material.wipe()
        keys?.wipe()
      }
    },
  }
}
