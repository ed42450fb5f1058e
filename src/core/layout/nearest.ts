/** The word that is most like a mistyped one, if it is like it at all. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  const limit = Math.max(1, Math.floor(word.length / 3))
  let best: { readonly candidate: string; readonly distance: number } | undefined
  for (const candidate of known) {
    const distance = distanceBetween(word.toLowerCase(), candidate)
    if (distance <= limit && distance < (best?.distance ?? Infinity)) best = { candidate, distance }
  }
  return best?.candidate
}

/** How many letters were mistyped: added, left out, changed, or two exchanged (Damerau and Levenshtein). */
function distanceBetween(one: string, other: string): number {
  let before: readonly number[] = []
  let row = Array.from({ length: other.length + 1 }, (_, at) => at)
  for (let line = 1; line <= one.length; line++) {
    const next = [line]
    for (let at = 1; at <= other.length; at++) {
      const changed = (row[at - 1] ?? 0) + (one[line - 1] === other[at - 1] ? 0 : 1)
      const turned = one[line - 1] === other[at - 2] && one[line - 2] === other[at - 1]
      const exchanged = turned ? (before[at - 2] ?? Infinity) + 1 : Infinity
      next.push(Math.min(changed, exchanged, (row[at] ?? 0) + 1, (next[at - 1] ?? 0) + 1))
    }
    before = row
    row = next
  }
  return row[other.length] ?? 0
}
