import { basename } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { requireTool } from './tools.ts'

export type ChildResult = {
  readonly exitCode: number
  readonly stdout: Buffer
  readonly stderr: Buffer
  /** One buffer for each entry of `options.pipes`; empty for the written ones. */
  readonly pipes: readonly Buffer[]
}

export type ChildOptions = {
  /** Bytes for standard input; without it and without `inputFd` it is /dev/null. */
  readonly input?: Uint8Array
  /** An open descriptor that becomes standard input. */
  readonly inputFd?: number
  /** Open descriptors that the child gets as 3, 4, … */
  readonly fds?: readonly number[]
  /** Pipes that follow `fds`: `'out'` is read into `result.pipes`, bytes are written to the child. */
  readonly pipes?: readonly ('out' | Uint8Array)[]
  /** Added to the fixed environment. Never a secret: use `input` or `pipes`. */
  readonly env?: Readonly<Record<string, string>>
  /** The child gets SIGTERM after this time, SIGKILL 5 s later. Without it a child may take for ever. */
  readonly timeoutMs?: number
  /** Bytes that each output may have, 16 MiB unless told. A child that says more is ended. */
  readonly maxOutput?: number
  /** Shields a short helper from Ctrl+C, which the terminal sends to the whole foreground group. */
  readonly ownSession?: boolean
}

const fixedEnvironment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' } as const
const defaultMaxOutput = 16 * 1024 * 1024

/**
 * Runs one program to its end, without a shell, with a fixed environment and absolute path.
 *
 * An exit code other than 0 is a result, not an error. The caller overwrites `stdout` and `pipes` where they
 * carry secrets. Errors are made anew from the tool's name and its exit alone: those of execa hold arguments
 * and output.
 * @throws KvxError TOOL_MISSING, or TOOL_FAILED for a signal, a time-out, too much output, a failed start.
 */
export async function runChild(
  tool: string,
  args: readonly string[],
  options: ChildOptions = {},
): Promise<ChildResult> {
  const file = requireTool(tool)
  const name = basename(tool)
  const { execa } = await import('execa')
  let outcome: Outcome
  try {
    outcome = await execa(file, [...args], {
      env: childEnvironment(options.env),
      extendEnv: false,
      preferLocal: false,
      shell: false,
      reject: false,
      verbose: 'none',
      encoding: 'buffer',
      buffer: true,
      stripFinalNewline: false,
      cleanup: true,
      detached: options.ownSession === true,
      maxBuffer: options.maxOutput ?? defaultMaxOutput,
      // The types of execa know descriptors above 9 only in some places; it takes them everywhere.
      stdio: childStdio(options) as ['ignore', 'pipe', 'pipe'],
      ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs }),
    })
  } catch {
    throw new KvxError('TOOL_FAILED', `${name} could not be started`, { details: { tool: name } })
  }
  return childResult(name, outcome, options)
}

/** What is taken of execa's result; everything else of it stays unread and is dropped. */
type Outcome = {
  readonly exitCode?: number | undefined
  readonly signal?: string | undefined
  readonly timedOut: boolean
  readonly isMaxBuffer: boolean
  readonly stdio: readonly unknown[]
}

type Input = 'ignore' | number | Uint8Array
type Stdio = [Input, 'pipe', 'pipe', ...('pipe' | number | Uint8Array)[]]

function childStdio(options: ChildOptions): Stdio {
  const input = options.inputFd ?? options.input ?? 'ignore'
  const pipes = (options.pipes ?? []).map((pipe) => (pipe === 'out' ? ('pipe' as const) : pipe))
  return [input, 'pipe', 'pipe', ...(options.fds ?? []), ...pipes]
}

function childResult(name: string, outcome: Outcome, options: ChildOptions): ChildResult {
  const problem = childProblem(outcome, options)
  if (problem !== undefined || outcome.exitCode === undefined) {
    for (const output of outcome.stdio) if (output instanceof Uint8Array) output.fill(0)
    throw new KvxError('TOOL_FAILED', `${name} ${problem ?? 'could not be started'}`, {
      details: { tool: name, ...(outcome.signal === undefined ? {} : { signal: outcome.signal }) },
    })
  }
  const first = 3 + (options.fds?.length ?? 0)
  return {
    exitCode: outcome.exitCode,
    stdout: asBuffer(outcome.stdio[1]),
    stderr: asBuffer(outcome.stdio[2]),
    pipes: (options.pipes ?? []).map((_, index) => asBuffer(outcome.stdio[first + index])),
  }
}

function childProblem(outcome: Outcome, options: ChildOptions): string | undefined {
  if (outcome.timedOut) return `did not end within ${String(options.timeoutMs)} ms`
  if (outcome.isMaxBuffer) return `said more than ${options.maxOutput ?? defaultMaxOutput} bytes`
  if (outcome.signal !== undefined) return `was ended by ${outcome.signal}`
  return undefined
}

function asBuffer(output: unknown): Buffer {
  if (!(output instanceof Uint8Array)) return Buffer.alloc(0)
  return Buffer.from(output.buffer, output.byteOffset, output.byteLength)
}

/** The fault harness counts calls by a preloaded library: its variables pass only under the test flag. */
function childEnvironment(own: Readonly<Record<string, string>> = {}): Record<string, string> {
  const environment: Record<string, string> = { ...fixedEnvironment, ...own }
  if (process.env['KVX_FAULT_SHIM'] !== '1') return environment
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && (name === 'LD_PRELOAD' || name.startsWith('FS_'))) environment[name] = value
  }
  return environment
}

/** `TOOL_FAILED` for a tool whose exit code says that it failed. Its output is not looked at. */
export function toolFailed(tool: string, exitCode: number, purpose: string): KvxError {
  return new KvxError('TOOL_FAILED', `${tool} ended with exit code ${exitCode} while it ${purpose}`, {
    details: { tool, exitCode },
  })
}
