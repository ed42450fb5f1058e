import { type SpawnOptions, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export type CallOptions = {
  /** A program and its arguments that run the call: `['strace', '-f']`, `['prlimit', '--nofile=16']`. */
  readonly wrapper?: readonly string[]
  readonly uid?: number
  readonly gid?: number
  readonly env?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
}

export type CallError = { code: string; message: string; hint?: string; exit: number; all: string }

export type CallResult = {
  readonly value?: unknown
  readonly error?: CallError
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

const script = fileURLToPath(new URL('./platform-call.ts', import.meta.url))

/** Absolute file of a module of src/platform, for scripts that import it. */
export function platformFile(module: string): string {
  return fileURLToPath(new URL(`../../src/platform/${module}`, import.meta.url))
}

/** Calls a function of src/platform in a process of its own: with another uid, limits, under strace. */
export async function callInProcess(
  module: string,
  name: string,
  args: readonly unknown[],
  options: CallOptions = {},
): Promise<CallResult> {
  const line = [...(options.wrapper ?? []), process.execPath, script, module, name, JSON.stringify(args)]
  const ended = await runToEnd(line, options)
  const answer = /^\{"(?:value|error)".*\}$|^\{\}$/m.exec(ended.stdout)?.[0]
  return { ...(answer === undefined ? {} : (JSON.parse(answer) as object)), ...ended }
}

/** Runs an ES module text in a Node process of its own. */
export async function runModule(text: string, options: CallOptions = {}): Promise<CallResult> {
  const line = [...(options.wrapper ?? []), process.execPath, '--input-type=module', '-e', text]
  return await runToEnd(line, options)
}

async function runToEnd(line: readonly string[], options: CallOptions): Promise<CallResult> {
  const [file = '', ...args] = line
  const spawnOptions: SpawnOptions = {
    cwd: '/',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', UV_THREADPOOL_SIZE: '1', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: options.timeoutMs ?? 30_000,
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
  }
  const child = spawn(file, args, spawnOptions)
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  return await new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (exitCode, signal) => done({ exitCode, signal, stdout, stderr }))
  })
}

/** A wrapper that runs the call where another file lies in place of a tool. Needs root and mount namespaces. */
export function inPlaceOf(tool: string, other: string): string[] {
  return ['unshare', '-m', 'sh', '-c', `mount --bind ${other} ${tool} && exec "$@"`, 'sh']
}
