import { splitShareTexts } from '../core/share/share-lines.ts'
import { valueOf } from '../core/share/gf32.ts'
import {
  isOfRehearsal,
  normaliseShare,
  rehearsalPrefix,
  sharePrefix,
  wholeLength,
} from '../core/share/typed-text.ts'
import type { Sniffed } from './sniff.ts'

const mostBytes = 8192
/** As a person sees it: `kvx: 1`, which begins a configuration, has the same letters. */
const beginning = /^\s*(?:1[\s.:)]+)?kvx(?:1|t[ -]?est1)/i
/** Version, k, n, index, set and check value: what a card shows in the open, too. */
const openLength = 18

/**
 * A share alone, on a card's four lines, or in an opened message to a custodian. Only the fields in the open part
 * are told; the checksum is not looked at. One of a rehearsal is a kind of its own: no key is in it.
 */
export function shareLook(bytes: Buffer): Sniffed | undefined {
  if (bytes.length > mostBytes) return undefined
  const texts = splitShareTexts(bytes)
  const shares = texts
    .filter((text) => beginning.test(Buffer.from(text.subarray(0, 32)).toString('latin1')))
    .map(normaliseShare)
  for (const text of texts) text.fill(0)
  const [first] = shares
  const found = first === undefined ? undefined : openFields(first)
  for (const text of shares) text.fill(0)
  if (found === undefined || shares.length === 1) return found
  return { ...found, facts: { ...found.facts, shares: shares.length } }
}

function openFields(text: Uint8Array): Sniffed | undefined {
  const isRehearsal = isOfRehearsal(text)
  const prefix = isRehearsal ? rehearsalPrefix : sharePrefix
  if (!prefix.every((code, at) => text[at] === code)) return undefined
  const kind = isRehearsal ? 'kvx-rehearsal-share' : 'kvx-share'
  const digits = text.subarray(prefix.length)
  const complete = text.length === wholeLength(text) && digits.every((code) => valueOf(code) !== -1)
  const facts = { characters: text.length, complete }
  const open = Array.from(digits.subarray(0, openLength), valueOf)
  const [version, threshold = 0, of = 0, index = 0] = open
  if (!complete || version !== 0) return { kind, facts }
  const check = open.slice(10).reduce((sum, value) => sum * 32n + BigInt(value), 0n)
  return {
    kind,
    facts: {
      ...facts,
      threshold: threshold + 1,
      of: of + 1,
      index: index + 1,
      set: Buffer.from(digits.subarray(4, 10)).toString('latin1').toUpperCase(),
      checkValue: check.toString(16).toUpperCase().padStart(10, '0'),
    },
  }
}
