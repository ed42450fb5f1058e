import { createHash } from 'node:crypto'
import { pgpWords } from '../core/pgp-words.ts'

/** A public digest in both forms in which people compare it. */
export type Digest = {
  /** 64 lower-case hex digits. */
  readonly sha256: string
  /** The same as 32 words. */
  readonly words: string
}

export function digestOf(bytes: Uint8Array): Digest {
  return digestOfHex(createHash('sha256').update(bytes).digest('hex'))
}

export function digestOfHex(sha256: string): Digest {
  return { sha256, words: pgpWords(sha256).join(' ') }
}

/** Hex in groups of four and the words, eight a line: what is read aloud. */
export function digestLines(digest: Digest, indent = '  '): readonly string[] {
  const words = digest.words.split(' ')
  const rows = [0, 8, 16, 24].map((from) => words.slice(from, from + 8).join(' '))
  return [digest.sha256.replaceAll(/(.{4})(?=.)/g, '$1 '), ...rows].map((line) => indent + line)
}
