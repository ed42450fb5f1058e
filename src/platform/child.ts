import { basename } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { errnoOf, fileError } from './file-errors.ts'
import type { Descriptor, ProcessEnd } from './run-process.ts'
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
  /** Open descriptors that the child gets as 3, 4, …, or each under the number that is its key. */
  readonly fds?: readonly number[] | ReadonlyMap<number, number>
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
 * carry secrets. Errors are made anew from the tool's name and its exit alone: those of Node hold arguments.
 * @throws KvxError TOOL_MISSING, RESOURCE_LIMIT, or TOOL_FAILED for a signal, a time-out, too much output, a failed start.
 */
export async function runChild(
  tool: string,
  args: readonly string[],
  options: ChildOptions = {},
): Promise<ChildResult> {
  const file = requireTool(tool)
  const name = basename(tool)
  // Most commands that ask no other program do not wait for what starts one.
  const { runProcess } = await import('./run-process.ts')
  let end: ProcessEnd
  try {
    end = await runProcess(file, args, {
      stdio: childStdio(options),
      env: childEnvironment(options.env),
      ownSession: options.ownSession === true,
      maxOutput: options.maxOutput ?? defaultMaxOutput,
      timeoutMs: options.timeoutMs,
    })
  } catch (error) {
    const code = errnoOf(error)
    if (code === 'EMFILE' || code === 'ENFILE') throw fileError({ code }, 'start', file)
    throw new KvxError('TOOL_FAILED', `${name} could not be started`, { details: { tool: name } })
  }
  return childResult(name, end, options)
}

function childStdio(options: ChildOptions): readonly Descriptor[] {
  const input = options.inputFd ?? options.input ?? 'ignore'
  const pipes = (options.pipes ?? []).map((pipe) => (pipe === 'out' ? ('pipe' as const) : pipe))
  return [input, 'pipe', 'pipe', ...passedOn(options), ...pipes]
}

/** From 3 on. */
function passedOn({ fds = [] }: ChildOptions): readonly (number | 'ignore')[] {
  if (!('get' in fds)) return fds
  const length = Math.max(2, ...fds.keys()) - 2
  return Array.from({ length }, (_, index) => fds.get(3 + index) ?? 'ignore')
}

function childResult(name: string, end: ProcessEnd, options: ChildOptions): ChildResult {
  const problem = childProblem(end, options)
  if (problem !== undefined || end.exitCode === null) {
    for (const output of end.outputs) output.fill(0)
    throw new KvxError('TOOL_FAILED', `${name} ${problem ?? 'could not be started'}`, {
      details: { tool: name, ...(end.signal === null ? {} : { signal: end.signal }) },
    })
  }
  const first = 3 + passedOn(options).length
  return {
    exitCode: end.exitCode,
    stdout: end.outputs[1] ?? empty,
    stderr: end.outputs[2] ?? empty,
    pipes: end.outputs.slice(first),
  }
}

const empty = Buffer.alloc(0)

function childProblem(end: ProcessEnd, options: ChildOptions): string | undefined {
  if (end.timedOut) return `did not end within ${String(options.timeoutMs)} ms`
  if (end.saidTooMuch) return `said more than ${options.maxOutput ?? defaultMaxOutput} bytes`
  if (end.signal !== null) return `was ended by ${end.signal}`
  return undefined
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
