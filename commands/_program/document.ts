import type { KvxError } from '../../src/core/errors.ts'
import { isoNow } from '../../src/platform/clock.ts'

export type Warning = { readonly code: string; readonly message: string }

export type DocumentFacts = {
  readonly exit: number
  readonly warnings: readonly Warning[]
  readonly run?: string | undefined
  readonly failure: KvxError | undefined
}

/** Whether the words of a command line ask for a flag that every command has; what follows `--` is an argument. */
export function asksFor(flag: string, argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  return (end === -1 ? argv : argv.slice(0, end)).includes(flag)
}

/** The one document that `--json` prints. */
export function printDocument(schema: string, data: object, facts: DocumentFacts): void {
  const { failure } = facts
  const error = failure && { code: failure.code, message: failure.message, hint: failure.hint ?? null }
  const text = JSON.stringify(
    {
      schema,
      ok: facts.exit === 0,
      exit: facts.exit,
      ...(facts.run === undefined ? {} : { run: facts.run }),
      at: isoNow(),
      data,
      warnings: facts.warnings,
      ...(error === undefined ? {} : { error }),
    },
    // Counters that can pass 2^53 are strings.
    (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
    2,
  )
  process.stdout.write(`${text}\n`)
}
