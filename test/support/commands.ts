import { commandFiles } from '../../tools/build.ts'

export type CommandFacts = {
  readonly file: string
  readonly flags: ReadonlySet<string>
  readonly args: Readonly<Record<string, Argument>>
}

/** The manifest leaves `ignoreStdin` out; the parser takes it from the class. */
type Argument = { readonly ignoreStdin?: boolean }

type CommandClass = {
  readonly args?: Readonly<Record<string, Argument>>
  readonly flags?: Readonly<Record<string, unknown>>
  readonly baseFlags?: Readonly<Record<string, unknown>>
}

/** Every command by its id, as its source declares it. */
export async function commandFacts(): Promise<ReadonlyMap<string, CommandFacts>> {
  const facts = new Map<string, CommandFacts>()
  for (const [id, file] of await commandFiles()) {
    const { default: command } = (await import(file)) as { default: CommandClass }
    const flags = new Set([...Object.keys(command.flags ?? {}), ...Object.keys(command.baseFlags ?? {})])
    facts.set(id, { file, flags, args: command.args ?? {} })
  }
  return facts
}
