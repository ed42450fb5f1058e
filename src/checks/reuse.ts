import type { Subject } from './key-format.ts'
import type { Finding } from './rules.ts'

/** A key that was seen somewhere. */
export type SeenKey = {
  readonly subject: Subject
  readonly fingerprint: string
  /** Names one file, however many names it has. */
  readonly same: string
  /** The line in a text; undefined for a key file, a variable or standard input. */
  readonly line: number | undefined
}

/** One key in two places that are meant to be two keys. */
export function reuseFindings(keys: readonly SeenKey[]): readonly Finding[] {
  const firsts = new Map<string, SeenKey>()
  return keys.flatMap((key): readonly Finding[] => {
    const first = firsts.get(key.fingerprint)
    if (first === undefined) firsts.set(key.fingerprint, key)
    if (first === undefined || first.same === key.same) return []
    return [reused(key, first)]
  })
}

function reused(key: SeenKey, first: SeenKey): Finding {
  const [here, there] = [key, first].map(({ subject }) => environmentOf(subject.shown))
  const isApart = here !== undefined && there !== undefined && here !== there
  const inTexts = key.line !== undefined || first.line !== undefined
  const where = `${first.subject.shown}${first.line === undefined ? '' : ` line ${first.line}`}`
  const apart = isApart ? `, so that ${there} and ${here} share one` : ''
  return {
    rule: 'KEY_REUSED',
    // Copies of one key in texts of one environment can be meant: the same one, handed out twice.
    severity: inTexts && !isApart ? 'warning' : 'error',
    path: key.subject.shown,
    ...(key.line === undefined ? {} : { line: key.line }),
    message: `this is the same key as ${where}${apart}: whoever has one opens what is under the other`,
    remedy: `give one of the two a key of its own: ${key.subject.again}`,
  }
}

const environments: readonly (readonly [RegExp, string])[] = [
  [/^(prod|production|live)$/, 'production'],
  [/^(stag|stage|staging|preprod|uat)$/, 'staging'],
  [/^(dev|devel|development|local)$/, 'development'],
  [/^(test|testing|qa|ci|sandbox)$/, 'test'],
]

/** What the path says of the environment; the part nearest to the file counts. */
export function environmentOf(path: string): string | undefined {
  for (const word of path
    .toLowerCase()
    .split(/[^a-z]+/)
    .toReversed()) {
    const found = environments.find(([shape]) => shape.test(word))
    if (found !== undefined) return found[1]
  }
  return undefined
}
