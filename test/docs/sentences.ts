import type { CommandFacts } from '../support/commands.ts'
import type { Page } from './pages.ts'

/** What stands between backticks in the sentences of a page and begins with a command. */
export function spansOf({ text }: Page): readonly string[] {
  const prose = text.replace(/```[\s\S]*?```/g, '').replace(/^ {4}.*$/gm, '')
  return [...prose.matchAll(/`([^`\n]+)`/g)]
    .map(([, span = '']) => span)
    .filter((span) => /^kvx \S/.test(span) && !span.startsWith('kvx canary: '))
}

const placeholder = /(^|[^\w-])[A-Z]{1,}\b|…|\\/

/** Somebody could type it as it stands: nothing is to be filled in, and nothing that it needs is left out. */
export function isWhole(commands: ReadonlyMap<string, CommandFacts>, span: string): boolean {
  if (placeholder.test(span.replaceAll(/'[^']*'|"[^"]*"/g, 'text'))) return false
  const words = span.split(' ').slice(1)
  const named = [words.slice(0, 2), words.slice(0, 1)].find((some) => commands.has(some.join(':')))
  if (named === undefined) return words.every((word) => word.startsWith('--'))
  const facts = commands.get(named.join(':'))
  let args = 0
  const flags = new Set<string>()
  const rest = words.slice(named.length)
  for (let at = 0; at < rest.length; at++) {
    const [, flag] = /^--([a-z-]+)$/.exec(rest[at] ?? '') ?? []
    if (flag === undefined) args++
    else flags.add(flag)
    if (flag !== undefined && facts?.valued.has(flag) === true && rest[++at] === undefined) return false
  }
  const { required = { args: 0, flags: [] } } = facts ?? {}
  return args >= required.args && required.flags.every((flag) => flags.has(flag))
}
