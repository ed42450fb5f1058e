import { CLIError } from '@oclif/core/errors'
import { nearest } from '../../src/config/nearest.ts'
import { KvxError } from '../../src/core/errors.ts'
import { renderError } from '../../src/ui/error-view.ts'
import { asksFor, printDocument } from './document.ts'

type ParserFailure = {
  readonly flags?: readonly string[]
  readonly args?: readonly (string | { readonly name: string })[]
}

/**
 * Turns whatever was thrown into an error of the catalogue. Messages of the argument parser are rebuilt, since
 * they repeat what was typed: that may be a key.
 */
export function toKvxError(error: unknown): KvxError {
  if (error instanceof KvxError) return error
  if (error instanceof CLIError) return usageError(error)
  if (isExhausted(error)) {
    return new KvxError('RESOURCE_LIMIT', 'this process ran out of file descriptors', {
      hint: 'Raise the limit (`ulimit -n 1024`) and run the command again.',
    })
  }
  const kind = error instanceof Error ? error.constructor.name : typeof error
  return new KvxError('BUG', `an unexpected ${kind} stopped kvx${placeOf(error)}`, {
    hint: 'Nothing that was acknowledged is lost. Report it with the command that you ran; `kvx run list` shows whether a run is open.',
  })
}

function isExhausted(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EMFILE' || error.code === 'ENFILE')
}

/** File and line only: the message of a foreign error may hold a value. */
function placeOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  const frame = /\(?([\w.-]+\.c?[jt]s:\d+):\d+\)?$/m.exec(error.stack ?? '')
  return frame?.[1] === undefined ? '' : ` at ${frame[1]}`
}

function usageError(error: CLIError): KvxError {
  const { flags, args } = error as unknown as ParserFailure
  const hint = 'Run the command with `--help` to see its arguments and examples.'
  switch (error.constructor.name) {
    case 'NonExistentFlagsError':
      return new KvxError('USAGE', `there is no flag ${(flags ?? []).map(flagName).join(', ')}`, { hint })
    case 'UnexpectedArgsError':
      return new KvxError('USAGE', 'there is one argument too many', { hint })
    case 'RequiredArgsError': {
      const names = (args ?? []).map((arg) => (typeof arg === 'string' ? arg : arg.name.toUpperCase()))
      return new KvxError('USAGE', `an argument is missing: ${names.join(', ')}`, { hint })
    }
    default:
      return new KvxError('USAGE', badValue(error.message) ?? oneLine(error.message), { hint })
  }
}

/** What was typed comes back only where it can be a command: it may be a key. */
function unknownCommand(message: string, commands: readonly string[]): KvxError {
  const [, id] = /^command ([a-z][a-z: -]{0,40}) not found\.?$/i.exec(message) ?? []
  const meant =
    id === undefined
      ? undefined
      : nearest(id, new Set(commands.flatMap((name) => [name, name.split(':')[0] ?? name])))
  const typed = id === undefined ? 'the first word is no command' : `there is no command ${spoken(id)}`
  const hint = meant === undefined ? '' : `Did you mean \`kvx ${spoken(meant)}\`? `
  return new KvxError('USAGE', typed, { hint: `${hint}\`kvx --help\` lists every command.` })
}

const spoken = (id: string): string => id.replaceAll(':', ' ')

/** Of a number that is none, or out of its range, what it should be; the parser's line repeats what it was. */
function badValue(message: string): string | undefined {
  const [, flag, wanted] =
    /Parsing (--[\w-]+)\s+Expected (an integer[\w\s-]*?) but received/.exec(message) ?? []
  return flag === undefined || wanted === undefined
    ? undefined
    : `${flag} takes ${wanted.replace('an integer', 'a whole number').replace('greater than or equal to', 'from').replace('less than or equal to', 'up to')}`
}

function flagName(flag: string): string {
  return printable(flag.split('=')[0] ?? '').slice(0, 40)
}

function oneLine(message: string): string {
  // oclif heads a list of what is wrong with a line that says nothing.
  const lines = message
    .split('\n')
    .filter((part) => !/^\s*(?:The following errors? occurred:)?\s*$/.test(part))
  const line = lines[0] ?? 'the command line is not valid'
  return printable(line.trim().replace(/\.$/, '')).slice(0, 200)
}

/** What a person typed comes back without control characters, so that it cannot steer a terminal. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?')
}

/** For failures outside a command, of which there are `commands`: prints and sets the exit code. */
export function reportFailure(error: unknown, argv: readonly string[], commands: readonly string[]): void {
  const isUnknown = error instanceof CLIError && /^command .* not found\.?$/is.test(error.message)
  const failure = isUnknown ? unknownCommand(error.message, commands) : toKvxError(error)
  if (asksFor('--json', argv)) {
    printDocument('kvx.error/1', failure.details, { exit: failure.exit, warnings: [], failure })
  } else {
    process.stderr.write(renderError(failure, process.stderr))
  }
  process.exitCode = failure.exit
}
