import type { CommandFact, FlagFact } from '../../src/ui/command-facts.ts'
import { topics } from './topics.ts'

/** What is taken from oclif's description of a command, in its manifest or its class. */
export type Described = {
  readonly id: string
  readonly summary?: string | undefined
  readonly description?: string | undefined
  readonly strict?: boolean | undefined
  readonly args?: Readonly<Record<string, DescribedArgument>>
  readonly flags?: Readonly<Record<string, DescribedFlag>>
  readonly examples?: unknown
}

type DescribedArgument = {
  readonly description?: string | undefined
  readonly required?: boolean | undefined
  readonly multiple?: boolean | undefined
}

type DescribedFlag = {
  readonly type: string
  readonly description?: string | undefined
  readonly helpValue?: string | readonly string[] | undefined
  readonly helpGroup?: string | undefined
  readonly options?: readonly string[] | undefined
  readonly multiple?: boolean | undefined
  readonly required?: boolean | undefined
  readonly hidden?: boolean | undefined
}

/** Commands in the order of their names, without what only oclif needs. */
export function factsOf(commands: readonly Described[]): readonly CommandFact[] {
  return commands
    .map(({ id, summary = '', description = '', strict, args = {}, flags = {}, examples }) => ({
      words: id.split(':'),
      summary,
      description,
      args: Object.entries(args).map(([name, arg]) => ({
        name: name.toUpperCase(),
        description: arg.description ?? '',
        required: arg.required === true,
        multiple: arg.multiple === true || strict === false,
      })),
      flags: Object.entries(flags)
        .filter(([, { hidden }]) => hidden !== true)
        .map(flagFact),
      examples: examplesOf(examples),
    }))
    .sort((one, other) => (one.words.join(' ') < other.words.join(' ') ? -1 : 1))
}

/** `key` and its like, which are no commands themselves. */
export function topicFacts(): readonly { readonly name: string; readonly summary: string }[] {
  return Object.entries(topics).map(([name, { description }]) => ({ name, summary: description }))
}

function flagFact([name, flag]: readonly [string, DescribedFlag]): FlagFact {
  const takes = flag.type === 'boolean' ? undefined : String(flag.helpValue ?? 'VALUE')
  return {
    name,
    description: flag.description ?? '',
    value: takes,
    options: flag.options ?? [],
    isGlobal: flag.helpGroup === 'GLOBAL',
    multiple: flag.multiple === true,
    required: flag.required === true,
  }
}

function examplesOf(examples: unknown): CommandFact['examples'] {
  if (!Array.isArray(examples)) return []
  return (examples as readonly { description: string; command: string }[]).map((example) => ({
    description: example.description,
    command: example.command.replaceAll('<%= config.bin %>', 'kvx'),
  }))
}
