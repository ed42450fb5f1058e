/**
 * Patterns of file names: `*` and `?` inside a name, `**` for any number of directories; every other character
 * stands for itself. Wildcards leave out names that begin with a dot, as in a shell.
 */
export type Glob = {
  readonly pattern: string
  /** False for a pattern that names one file. */
  readonly hasWildcard: boolean
  /** Where matching begins. Follow it with `step` a name at a time. */
  readonly start: Position
}

/** Which parts of a pattern may match the next name. Empty: nothing below can match. */
export type Position = {
  readonly isEnd: boolean
  readonly isOpen: boolean
  /** @param hidden lets wildcards match a name with a leading dot too */
  step(name: string, hidden?: boolean): Position
}

/** Why a pattern cannot be used, or undefined when it can. */
export function globProblem(pattern: string): string | undefined {
  if (pattern.startsWith('/')) return 'a pattern is relative to the directory and has no leading slash'
  const names = pattern.split('/')
  if (pattern.includes('\0') || names.includes('')) return 'a pattern has a name between two slashes'
  if (names.includes('.') || names.includes('..')) return 'a pattern does not lead through . or ..'
  const mixed = names.find((name) => name.includes('**') && name !== '**')
  if (mixed !== undefined) return '** stands alone between slashes'
  return names.every((name) => name === '**') && names.length > 1 ? 'one ** is enough' : undefined
}

/** @param pattern without a {@link globProblem} */
export function compileGlob(pattern: string): Glob {
  const names = pattern.split('/')
  if (names.at(-1) === '**') names.push('*') // a trailing `**` is about files below, not about the directory itself
  const parts = names.map(compilePart)
  return { pattern, hasWildcard: /[*?]/.test(pattern), start: position(parts, [0], new Map()) }
}

type Part = { readonly isAny: boolean; readonly matches: (name: string, hidden: boolean) => boolean }

function compilePart(text: string): Part {
  const isAny = text === '**'
  if (isAny || text === '*') return { isAny, matches: (name, hidden) => hidden || !name.startsWith('.') }
  const source = text.replaceAll(/[\\^$.*+?()[\]{}|]/g, (sign) =>
    sign === '*' ? '[^]*' : sign === '?' ? '[^]' : `\\${sign}`,
  )
  const expression = new RegExp(`^${source}$`, 'u')
  const takesDot = text.startsWith('.')
  const matches = (name: string, hidden: boolean): boolean =>
    (hidden || takesDot || !name.startsWith('.')) && expression.test(name)
  return { isAny, matches }
}

/** So many bits are exact in a number. */
const mostNumbered = 50

/** @param known every position of the pattern that was ever met: they are few, and names are many */
function position(parts: readonly Part[], from: readonly number[], known: Map<string, Position>): Position {
  const key = from.join(',')
  const found = known.get(key)
  if (found !== undefined) return found
  const at = new Set(from)
  for (const index of at) if (parts[index]?.isAny === true) at.add(index + 1) // `**` may match no directory
  const all = [...at].sort((one, other) => one - other)
  const open = all.flatMap((index) => parts[index] ?? [])
  const after = (matches: readonly boolean[]): Position => {
    const next = all.flatMap((index, which) =>
      matches[which] === true ? [parts[index]?.isAny === true ? index : index + 1] : [],
    )
    return position(parts, [...new Set(next)], known)
  }
  /** By which of its parts a name matches. */
  const steps = new Map<number, Position>()
  const made: Position = {
    isEnd: at.has(parts.length),
    isOpen: open.length > 0,
    step(name, hidden = false) {
      if (open.length > mostNumbered) return after(open.map((part) => part.matches(name, hidden)))
      let matched = 0
      for (let which = 0; which < open.length; which++)
        if (open[which]?.matches(name, hidden) === true) matched += 2 ** which
      const next = steps.get(matched) ?? after(open.map((part) => part.matches(name, hidden)))
      steps.set(matched, next)
      return next
    },
  }
  known.set(key, made)
  return made
}

/** Whether all patterns match a relative path. */
export function matchesAll(globs: readonly Glob[], path: string): boolean {
  return globs.every(({ start }) => path.split('/').reduce((at, name) => at.step(name), start).isEnd)
}
