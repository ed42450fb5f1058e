import type { Interfaces } from '@oclif/core'
import * as Flags from '@oclif/core/flags'
import { parse } from '@oclif/core/parser'
import type { KvxError } from '../../src/core/errors.ts'
import { settleBackground } from '../../src/platform/background.ts'
import { hardenLight, hardenProcess } from '../../src/platform/harden.ts'
import { beLoneCommand } from '../../src/platform/lone-command.ts'
import { takeNotices } from '../../src/platform/notices.ts'
import { colours } from '../../src/ui/colours.ts'
import { renderError } from '../../src/ui/error-view.ts'
import { refuseSecretsIn } from './arguments.ts'
import { asksFor, printDocument, type Warning } from './document.ts'
import { toKvxError } from './failure.ts'

/** What a command hands to its view: the JSON data and the same for people, line by line. */
export type Outcome = {
  readonly data: object
  readonly lines: readonly string[]
  readonly warnings?: readonly Warning[]
  readonly run?: string
  /** A command that finished but must not end in 0: findings, records kept apart, a gate. */
  readonly failure?: KvxError
}

export const globalFlags = {
  json: Flags.boolean({ description: 'one JSON document on stdout', helpGroup: 'GLOBAL' }),
  config: Flags.string({
    description: 'the configuration file; else KVX_CONFIG, ./kvx.yaml, /etc/kvx/kvx.yaml',
    helpValue: 'FILE',
    helpGroup: 'GLOBAL',
  }),
  home: Flags.string({
    description: 'the home directory, in place of the configured one',
    helpValue: 'DIR',
    helpGroup: 'GLOBAL',
  }),
  'dry-run': Flags.boolean({ description: 'show what would be done and write nothing', helpGroup: 'GLOBAL' }),
  yes: Flags.boolean({ description: 'answer the prompt of a reversible step with yes', helpGroup: 'GLOBAL' }),
  confirm: Flags.string({
    description: 'the text that a prompt would ask to type, e.g. master@1',
    helpValue: 'TEXT',
    helpGroup: 'GLOBAL',
  }),
  'no-input': Flags.boolean({ description: 'never ask; a missing answer is exit 2', helpGroup: 'GLOBAL' }),
  quiet: Flags.boolean({ description: 'print nothing but errors', helpGroup: 'GLOBAL' }),
}

/**
 * A command parses, makes one call, and renders: `finish` does what all of them share. The static members are
 * those of oclif's commands, for its parser, its help and its manifest; its own base class would load all of oclif.
 */
export abstract class KvxCommand {
  static summary: string | undefined
  static description: string | undefined
  static examples: readonly { readonly description: string; readonly command: string }[] = []
  static args: Interfaces.ArgInput = {}
  static flags: Interfaces.FlagInput = {}
  static baseFlags = globalFlags
  /** Whether a word that no argument takes is refused. */
  static strict = true

  protected readonly argv: string[]

  /** @param argv the words after the command's own */
  constructor(argv: readonly string[]) {
    this.argv = [...argv]
  }

  abstract run(): Promise<void>

  protected async parse<
    F extends Interfaces.OutputFlags<Interfaces.FlagInput>,
    B extends Interfaces.OutputFlags<Interfaces.FlagInput>,
    A extends Interfaces.OutputArgs<Interfaces.ArgInput>,
  >(command: Interfaces.Input<F, B, A>): Promise<Interfaces.ParserOutput<F, B, A>> {
    const flags = { ...command.baseFlags, ...command.flags } as Interfaces.FlagInput<F>
    return await parse<F, B, A>([...this.argv], { ...command, flags })
  }

  /** Commands that never hold key material start without the steps that only guard memory. */
  protected readonly holdsKeys: boolean = true

  /**
   * Runs the work, prints its outcome as JSON or for people, and sets the exit code. Nothing is thrown past
   * this point: each failure is an error of the catalogue.
   */
  protected async finish(schema: string, work: () => Promise<Outcome>): Promise<void> {
    try {
      refuseSecretsIn(this.argv)
      beLoneCommand()
      await (this.holdsKeys ? hardenProcess() : hardenLight())
      const outcome = await work()
      await settleBackground()
      this.print(schema, outcome)
    } catch (error) {
      await settleBackground()
      this.fail(schema, toKvxError(error))
    }
  }

  private print(schema: string, outcome: Outcome): void {
    const { failure } = outcome
    const warnings = [...(outcome.warnings ?? []), ...takeNotices()]
    const exit = failure?.exit ?? 0
    if (asksFor('--json', this.argv)) {
      printDocument(schema, outcome.data, { exit, warnings, run: outcome.run, failure })
    } else {
      if (!asksFor('--quiet', this.argv) && outcome.lines.length > 0) {
        process.stdout.write(`${outcome.lines.join('\n')}\n`)
      }
      warn(warnings)
      if (failure !== undefined) process.stderr.write(renderError(failure, process.stderr))
    }
    process.exitCode = exit
  }

  private fail(schema: string, error: KvxError): void {
    // What was noticed before the failure is often why it failed, e.g. a missing key file.
    const warnings = takeNotices()
    if (asksFor('--json', this.argv)) {
      printDocument(schema, error.details, { exit: error.exit, warnings, failure: error })
    } else {
      warn(warnings)
      process.stderr.write(renderError(error, process.stderr))
    }
    process.exitCode = error.exit
  }
}

function warn(warnings: readonly Warning[]): void {
  const { yellow } = colours(process.stderr)
  for (const { message } of warnings) process.stderr.write(`${yellow('warning:')} ${message}\n`)
}
