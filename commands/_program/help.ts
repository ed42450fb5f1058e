import { colours, type Stream } from '../../src/ui/colours.ts'
import { helpWidth, wrapped } from '../../src/ui/columns.ts'
import { helpGroups, programDescription, topics } from './topics.ts'

type Summaries = Readonly<Record<string, string>>

/** `kvx`, `kvx --help`, `kvx -h`, `kvx help`: all of it, and not about one command. */
export function asksForEverything(argv: readonly string[]): boolean {
  return argv.every((word) => ['--help', '-h', 'help'].includes(word))
}

/** `kvx help rotate` is `kvx rotate --help`. */
export function withHelpFlag(argv: readonly string[]): string[] {
  const [first, ...rest] = argv
  return first === 'help' ? [...rest, '--help'] : [...argv]
}

/** Every command in the groups of `topics.ts`, a line each; a topic stands for its commands. */
export function rootHelp(
  commands: Summaries,
  version: string,
  stream: Stream & { readonly columns?: number },
): string {
  const names = [...new Set(Object.keys(commands).map((id) => id.split(':')[0] ?? id))]
  const width = Math.max(...names.map((name) => name.length))
  const columns = helpWidth(stream)
  const line = (name: string): string =>
    `  ${name.padEnd(width)}  ${wrapped(summaryOf(commands, name), columns - width - 4)}`.replaceAll(
      '\n',
      `\n${' '.repeat(width + 4)}`,
    )
  const grouped = new Set(helpGroups.flatMap((group) => group.commands))
  const others = names.filter((name) => !grouped.has(name))
  const sections = [...helpGroups, ...(others.length === 0 ? [] : [{ title: 'Others', commands: others }])]
  const { bold } = colours(stream)
  return [
    `${wrapped(programDescription, columns)}\n`,
    bold('Usage'),
    '  kvx COMMAND [flags]      kvx COMMAND --help tells about one of them\n',
    ...sections.flatMap(({ title, commands: own }) => [
      bold(title),
      ...own.filter((name) => names.includes(name)).map(line),
      '',
    ]),
    'Begin with kvx init. In doubt: kvx status. After a crash: kvx run resume.',
    `kvx ${version}\n`,
  ].join('\n')
}

function summaryOf(commands: Summaries, name: string): string {
  const topic = (topics as Readonly<Record<string, { readonly description: string }>>)[name]
  return commands[name] ?? topic?.description ?? ''
}
