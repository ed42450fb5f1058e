/**
 * The words of a command line: blanks part them, single or double quotes hold one together. Nothing else means
 * anything: no variable, no backslash, no pipe.
 * @returns undefined for a quote that is not closed
 */
export function splitWords(line: string): readonly string[] | undefined {
  const words: string[] = []
  const pieces = /\s+|"([^"]*)"|'([^']*)'|[^\s"']+|["']/gy
  let isInside = false
  for (const [piece, double, single] of line.matchAll(pieces)) {
    if (/^\s/.test(piece)) {
      isInside = false
      continue
    }
    if (piece === '"' || piece === "'") return undefined
    const text = double ?? single ?? piece
    if (isInside) words.push(`${words.pop() ?? ''}${text}`)
    else words.push(text)
    isInside = true
  }
  return words
}
