import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { kvxBin, root } from '../../support/cli.ts'
import { type Counted, Counters } from './counters.ts'

const source = join(import.meta.dirname, '../shim/faultshim.c')

/** Why the shim cannot be built or used here, or undefined. */
export function shimMissing(): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux: the shim is an ELF library'
  if (!['/usr/bin/cc', '/usr/bin/gcc'].some((path) => existsSync(path))) return 'needs gcc and libc6-dev'
  return undefined
}

let built: string | undefined

/** The library, built once for each state of its source. */
function shimLibrary(): string {
  if (built !== undefined) return built
  const digest = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16)
  const folder = join(root, 'node_modules/.cache/kvx')
  const library = join(folder, `faultshim-${digest}.so`)
  if (!existsSync(library)) {
    mkdirSync(folder, { recursive: true })
    const fresh = `${library}.${process.pid}`
    execFileSync('gcc', [
      '-O2',
      '-Wall',
      '-Wextra',
      '-Werror',
      '-shared',
      '-fPIC',
      '-o',
      fresh,
      source,
      '-ldl',
    ])
    renameSync(fresh, library)
  }
  built = library
  return library
}

/**
 * What is done at one call. Numbers are errors: 5 EIO, 28 ENOSPC, 122 EDQUOT, 104 ECONNRESET; behind `sig` signals:
 * 1 SIGHUP, 2 SIGINT, 15 SIGTERM. `epipe`: from here on nobody reads the outputs of kvx.
 */
export type Act =
  | 'kill'
  | `sig${1 | 2 | 15}`
  | 'epipe'
  | 'short'
  | 'short-full'
  | 'full'
  | 'rofs'
  | 'cut'
  | '5'
  | '28'
  | '122'
  | '104'

export type Armed = { readonly at: number; readonly act: Act }

/** One counted call: its ordinal, its kind (`write`, `fsync`, `rename`, …) and what it was about. */
export type Call = {
  readonly n: number
  readonly kind: string
  /** `device:inode` of the file or directory after the call. */
  readonly inode: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly offset: number
  readonly length: number
  readonly result: number
  readonly path: string
  readonly other: string
  readonly bytes: Buffer
}

export type Place = {
  readonly path: string
  readonly env: Readonly<Record<string, string>>
  /** The folder of a database's socket. */
  readonly socket?: string
}

export type Shimmed = Counted & {
  readonly exit: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  readonly calls: readonly Call[]
}

export type ShimOptions = {
  readonly armed?: Armed
  readonly input?: string | undefined
  /** Keeps the calls; `data` also the bytes that were written. */
  readonly record?: 'calls' | 'data'
  readonly wrapper?: readonly string[]
}

/** Runs the built kvx in a folder with the shim, whose counter covers all threads and children. */
export async function runShimmed(
  place: Place,
  args: readonly string[],
  options: ShimOptions = {},
): Promise<Shimmed> {
  const counters = new Counters()
  try {
    counters.arm(options.armed, options.record !== undefined, false)
    const env = {
      PATH: process.env['PATH'] ?? '',
      ...place.env,
      ...shimEnvironment(place),
      ...counters.environment,
      ...(options.record === 'data' ? { FS_DATA: '1' } : {}),
    }
    const ended = await run(place.path, [...(options.wrapper ?? []), kvxBin, ...args], env, options.input)
    const calls = options.record === undefined ? [] : counters.lines().map(parseCall)
    return { ...ended, ...counters.read(), calls: calls.sort((a, b) => a.n - b.n) }
  } finally {
    counters.close()
  }
}

export function shimEnvironment(place: Place): Record<string, string> {
  return {
    KVX_FAULT_SHIM: '1',
    LD_PRELOAD: shimLibrary(),
    // One thread for files, so that the order of the calls is the same in each run.
    UV_THREADPOOL_SIZE: '1',
    FS_ROOT: place.path,
    ...(place.socket === undefined ? {} : { FS_SOCKET: place.socket }),
  }
}

export type Ended = Pick<Shimmed, 'exit' | 'signal' | 'stdout' | 'stderr'>

async function run(
  cwd: string,
  [program = '', ...args]: readonly string[],
  env: Record<string, string>,
  input: string | undefined,
): Promise<Ended> {
  const child = spawn(program, args, { cwd, env, stdio: ['pipe', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin.on('error', () => undefined)
  child.stdin.end(input ?? '')
  return await new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (exit, signal) => done({ exit, signal, stdout, stderr }))
  })
}

export function parseCall(line: string): Call {
  const [n, kind = '', inode = '', access = '', offset, length, result, path = '', other = '', bytes = ''] =
    line.split('\t')
  const [mode = '', uid, gid] = access.split(':')
  return {
    n: Number(n),
    kind,
    inode,
    mode: Number.parseInt(mode, 8),
    uid: Number(uid),
    gid: Number(gid),
    offset: Number(offset),
    length: Number(length),
    result: Number(result),
    path,
    other,
    bytes: Buffer.from(bytes, 'hex'),
  }
}
