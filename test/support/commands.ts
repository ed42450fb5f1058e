import { commandFiles } from '../../tools/build.ts'

export type CommandFacts = {
  readonly file: string
  readonly flags: ReadonlySet<string>
  /** Flags that take a value. */
  readonly valued: ReadonlySet<string>
  /** Arguments and flags without which it is no whole command. */
  readonly required: { readonly args: number; readonly flags: readonly string[] }
  readonly args: Readonly<Record<string, Argument>>
}

/** The manifest leaves `ignoreStdin` out; the parser takes it from the class. */
type Argument = { readonly ignoreStdin?: boolean; readonly required?: boolean }
type Flag = { readonly type: string; readonly required?: boolean }

type CommandClass = {
  readonly args?: Readonly<Record<string, Argument>>
  readonly flags?: Readonly<Record<string, Flag>>
  readonly baseFlags?: Readonly<Record<string, Flag>>
}

/** Every command by its id, as its source declares it. */
export async function commandFacts(): Promise<ReadonlyMap<string, CommandFacts>> {
  const facts = new Map<string, CommandFacts>()
  for (const [id, file] of await commandFiles()) {
    const { default: command } = (await import(file)) as { default: CommandClass }
    const { args = {} } = command
    const flags = Object.entries({ ...command.flags, ...command.baseFlags })
    facts.set(id, {
      file,
      flags: new Set(flags.map(([name]) => name)),
      valued: new Set(flags.filter(([, { type }]) => type === 'option').map(([name]) => name)),
      required: {
        args: Object.values(args).filter(({ required }) => required).length,
        flags: flags.filter(([, { required }]) => required).map(([name]) => name),
      },
      args,
    })
  }
  return facts
}
