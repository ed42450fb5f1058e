import { spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { type DocumentName, documentNames, documentSchema } from '../../src/ui/schemas.ts'

export const root = join(import.meta.dirname, '../..')
/** The harness runs a copy with planted faults by the same tests. */
export const kvxBin = process.env['KVX_TEST_BIN'] ?? join(root, 'bin/kvx')

export type CliResult = { readonly exit: number; readonly stdout: string; readonly stderr: string }

export type CliOptions = {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string | Uint8Array
  readonly uid?: number
  readonly gid?: number
}

/** Runs the built `./bin/kvx` to its end. Build first: `npm run build`. */
export function kvx(args: readonly string[], options: CliOptions = {}): CliResult {
  const { input = '', env = {}, ...rest } = options
  const result = spawnSync(kvxBin, args, {
    ...rest,
    input,
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...env },
    encoding: 'utf8',
    maxBuffer: 64 * 1_048_576,
  })
  if (result.error !== undefined) throw result.error
  return { exit: result.status ?? -1, stdout: result.stdout, stderr: result.stderr }
}

/** The same, and the exit code must be as expected; the output is in the failure. */
export function kvxOk(args: readonly string[], options: CliOptions = {}): CliResult {
  const result = kvx(args, options)
  if (result.exit !== 0) {
    throw new Error(`kvx ${args.join(' ')} ended with ${result.exit}\n${result.stdout}\n${result.stderr}`)
  }
  return result
}

export type KvxDocument<T = Record<string, unknown>> = {
  readonly schema: string
  readonly ok: boolean
  readonly exit: number
  readonly run?: string
  readonly data: T
  readonly warnings: readonly { readonly code: string; readonly message: string }[]
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string | null }
}

/** Runs with `--json`, parses the one document on standard output and holds it to its schema. */
export function kvxJson<T = Record<string, unknown>>(
  args: readonly string[],
  options: CliOptions = {},
): KvxDocument<T> {
  const result = kvx([...args, '--json'], options)
  let document: KvxDocument<T>
  try {
    document = JSON.parse(result.stdout) as KvxDocument<T>
  } catch {
    throw new Error(`kvx ${args.join(' ')} printed no JSON document\n${result.stdout}\n${result.stderr}`)
  }
  requireSchema(document)
  return document
}

const schemas = new Map<DocumentName, ReturnType<typeof documentSchema>>()

/** A document that its schema does not take is an error, whatever else the test is about. */
function requireSchema(document: KvxDocument<unknown>): void {
  // `test/docs/schemas.test.ts` finds the commands whose document has no schema.
  const name = documentNames.find((known) => known === document.schema)
  if (name === undefined) return
  const schema = schemas.get(name) ?? documentSchema(name)
  schemas.set(name, schema)
  const parsed = schema.safeParse(document)
  if (parsed.success) return
  const places = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
  throw new Error(
    `${document.schema} is not what src/ui/schemas.ts says: ${places.join('; ')}\n${JSON.stringify(document, null, 2)}`,
  )
}

/** Starts the built CLI without waiting, for tests that kill it or run it beside others. */
export function startKvx(args: readonly string[], options: CliOptions = {}) {
  return spawn(kvxBin, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}
