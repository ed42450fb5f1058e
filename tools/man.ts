/**
 * Manual pages from the same description of the commands as the help: `kvx.1` and one for each command, for
 * `dist/man/`. They are made with the build, so that they say what the build does.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Described, factsOf, topicFacts } from '../commands/_program/command-facts.ts'
import { helpGroups, programDescription } from '../commands/_program/topics.ts'
import { errorCatalogue } from '../src/core/errors.ts'
import type { CommandFact, FlagFact } from '../src/ui/command-facts.ts'
import { kvxReleased, kvxVersion } from '../src/version.ts'
import { exitMeanings } from './exit-meanings.ts'

/** What of the manifest is read. */
export type Manual = { readonly commands: Readonly<Record<string, Described>> }

export async function writeManual(directory: string, manual: Manual): Promise<void> {
  await mkdir(directory, { recursive: true })
  for (const [name, text] of Object.entries(manualPages(manual))) await writeFile(join(directory, name), text)
}

/** File names and their texts. */
export function manualPages({ commands }: Manual): Readonly<Record<string, string>> {
  const facts = factsOf(Object.entries(commands).map(([id, command]) => ({ ...command, id })))
  return {
    'kvx.1': programPage(facts),
    ...Object.fromEntries(facts.map((fact) => [`${pageName(fact)}.1`, commandPage(fact)])),
  }
}

function pageName({ words }: CommandFact): string {
  return ['kvx', ...words].join('-')
}

function page(name: string, summary: string, sections: readonly string[]): string {
  const head = [
    `.TH ${name.toUpperCase()} 1 ${kvxReleased} "kvx ${kvxVersion}" "kvx"`,
    '.SH NAME',
    `${roff(name)} \\- ${roff(summary.replace(/\.$/, ''))}`,
  ]
  return `${[...head, ...sections].join('\n')}\n`
}

function programPage(commands: readonly CommandFact[]): string {
  const groups = helpGroups.flatMap(({ title, commands: words }) => [
    `.SS ${title}`,
    ...words.flatMap((word) => entriesOf(word, commands)),
  ])
  const [first] = commands
  const codes = [...new Set([0, ...Object.values(errorCatalogue)])].sort((a, b) => a - b)
  return page('kvx', programDescription, [
    '.SH SYNOPSIS',
    '.B kvx',
    '.I command',
    '.RI [ flags ]',
    '.SH DESCRIPTION',
    roff(programDescription),
    '.PP',
    roff(
      'Begin with kvx init. In doubt: kvx status. After a crash: kvx run resume. Each command has a page of its own, and tells about itself with --help.',
    ),
    '.SH COMMANDS',
    ...groups,
    '.SH OPTIONS',
    ...(first?.flags ?? []).filter(({ isGlobal }) => isGlobal).flatMap(flagEntry),
    '.SH EXIT STATUS',
    ...codes.flatMap((code) => ['.TP', `.B ${code}`, roff(exitMeanings[code] ?? '')]),
    '.SH FILES',
    ...entry(
      './kvx.yaml, /etc/kvx/kvx.yaml',
      'the configuration; the variable KVX_CONFIG or --config names another',
    ),
    ...entry('.kvx beside it, /var/lib/kvx', 'the home: keys, keyring, log, runs, backups'),
  ])
}

/** A command of one word, or all of a topic. */
function entriesOf(word: string, commands: readonly CommandFact[]): readonly string[] {
  const own = commands.filter(({ words }) => words[0] === word)
  const topic = topicFacts().find(({ name }) => name === word)
  const head = topic === undefined ? [] : entry(`kvx ${word}`, topic.summary)
  return [...head, ...own.flatMap(({ words, summary }) => entry(`kvx ${words.join(' ')}`, summary))]
}

function entry(term: string, text: string): readonly string[] {
  return ['.TP', `.B ${roff(term)}`, roff(text)]
}

function commandPage(fact: CommandFact): string {
  const { words, summary, description, args, flags, examples } = fact
  const shown = args.map(({ name, required, multiple }) => {
    const text = multiple ? `${name}...` : name
    return required ? text : `[${text}]`
  })
  const own = flags.filter(({ isGlobal }) => !isGlobal)
  return page(pageName(fact), summary, [
    '.SH SYNOPSIS',
    `.B kvx ${roff(words.join(' '))}`,
    ...(shown.length === 0 ? [] : [`.I ${roff(shown.join(' '))}`]),
    '.RI [ flags ]',
    '.SH DESCRIPTION',
    ...paragraphs(summary),
    ...(description === '' ? [] : ['.PP', ...paragraphs(description)]),
    ...(args.length === 0 ? [] : ['.SH ARGUMENTS']),
    ...args.flatMap((arg) => entry(arg.name, arg.description)),
    ...(own.length === 0 ? [] : ['.SH OPTIONS']),
    ...own.flatMap(flagEntry),
    '.SH GLOBAL OPTIONS',
    ...flags.filter(({ isGlobal }) => isGlobal).flatMap(flagEntry),
    ...(examples.length === 0 ? [] : ['.SH EXAMPLES']),
    ...examples.flatMap(({ description: text, command }, at) => [
      ...(at === 0 ? [] : ['.PP']),
      roff(`${text}:`),
      '.PP',
      '.RS 4',
      '.nf',
      ...command.split('\n').map(roff),
      '.fi',
      '.RE',
    ]),
    '.SH SEE ALSO',
    '.BR kvx (1)',
  ])
}

function flagEntry(flag: FlagFact): readonly string[] {
  const { name, description, value, options, multiple, required } = flag
  const shown =
    value === undefined ? '' : ` \\fI${roff(options.length === 0 ? value : options.join('|'))}\\fR`
  const notes = [...(required ? ['required'] : []), ...(multiple ? ['may be repeated'] : [])]
  const tail = notes.length === 0 ? '' : ` (${notes.join(', ')})`
  return ['.TP', `\\fB\\-\\-${roff(name)}\\fR${shown}`, roff(description + tail)]
}

/** An empty line parts paragraphs, every other line break is meant. Lines that begin with two spaces are a table. */
function paragraphs(text: string): readonly string[] {
  let isTable = false
  let isNew = true
  return text.split('\n').flatMap((line) => {
    const row = /^ {2}(\S+) +(.*)$/.exec(line)
    if (row !== null) {
      isTable = true
      return ['.TP 26', `.B ${roff(row[1] ?? '')}`, roff(row[2] ?? '')]
    }
    const before = line === '' || isTable ? ['.PP'] : isNew ? [] : ['.br']
    isTable = false
    isNew = line === ''
    return [...before, ...(line === '' ? [] : [roff(line)])]
  })
}

/** Text in which no sign means anything to the formatter. */
function roff(text: string): string {
  const escaped = text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
  const named = escaped
    .replaceAll('…', '...')
    .replaceAll('’', '\\(cq')
    .replaceAll('→', '\\(->')
    .replaceAll('·', '\\(pc')
  return named.startsWith('.') ? `\\&${named}` : named
}
