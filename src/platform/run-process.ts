import { type ChildProcess, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'

/** What one descriptor of a child is: nothing, an open one of ours, a pipe that is read, bytes that are written. */
export type Descriptor = 'ignore' | 'pipe' | number | Uint8Array

export type ProcessOptions = {
  /** From descriptor 0 on. */
  readonly stdio: readonly Descriptor[]
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>
  /** A session and process group of its own. Other children are ended with this process. */
  readonly ownSession: boolean
  /** Bytes that each pipe may say; a child that says more is ended. */
  readonly maxOutput: number
  readonly timeoutMs: number | undefined
}

/** How a child ended. The caller overwrites the outputs where they carry secrets. */
export type ProcessEnd = {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  readonly timedOut: boolean
  readonly saidTooMuch: boolean
  /** By descriptor; empty where it is no pipe that is read. */
  readonly outputs: readonly Buffer[]
}

const graceMs = 5000

/**
 * Runs a program until it has ended and all its pipes are closed, also those that programs of its own still hold.
 * A child that is told to end gets SIGTERM, and SIGKILL 5 s later; then nobody waits for its pipes.
 * @param file absolute path
 * @throws the error of Node when it could not be started: it holds the arguments
 */
export async function runProcess(
  file: string,
  args: readonly string[],
  options: ProcessOptions,
): Promise<ProcessEnd> {
  const child = spawn(file, [...args], {
    env: options.env,
    detached: options.ownSession,
    stdio: options.stdio.map((entry) => (entry instanceof Uint8Array ? 'pipe' : entry)),
  })
  const gone = closed(child)
  if (child.pid === undefined) await gone // fails with the reason; there may be no pipes at all
  const watch = new Watch(child, options.timeoutMs)
  const outputs = options.stdio.map((entry, fd) => {
    const stream: unknown = child.stdio[fd]
    if (entry instanceof Uint8Array) feed(stream as Writable, entry)
    return entry === 'pipe' ? new Gathered(stream as Readable, options.maxOutput, watch) : undefined
  })
  if (!options.ownSession) endWithUs(child)
  try {
    const { exitCode, signal } = await gone
    const { timedOut, saidTooMuch } = watch
    return { exitCode, signal, timedOut, saidTooMuch, outputs: outputs.map(taken) }
  } finally {
    watch.stop()
    outputs.forEach((output) => output?.wipe())
    tied.delete(child)
    if (tied.size === 0) stopListening()
  }
}

async function closed(child: ChildProcess): Promise<Pick<ProcessEnd, 'exitCode' | 'signal'>> {
  return await new Promise((done, fail) => {
    // Also told of a signal that could not be sent: then the child has ended, and `close` says how.
    child.on('error', (error) => (child.pid === undefined ? fail(error) : undefined))
    child.once('close', (exitCode, signal) => done({ exitCode, signal }))
  })
}

/** A child may end without reading what it is given; that is its own affair. */
function feed(stream: Writable, bytes: Uint8Array): void {
  stream.on('error', () => undefined)
  stream.end(bytes)
}

function taken(output: Gathered | undefined): Buffer {
  return output?.take() ?? Buffer.alloc(0)
}

/** Tells a child to end, once, and remembers why. */
class Watch {
  timedOut = false
  saidTooMuch = false
  readonly #child: ChildProcess
  readonly #timers: NodeJS.Timeout[] = []
  #isEnding = false

  constructor(child: ChildProcess, timeoutMs: number | undefined) {
    this.#child = child
    if (timeoutMs === undefined) return
    this.#timers.push(
      setTimeout(() => {
        this.timedOut = true
        this.#end()
      }, timeoutMs),
    )
  }

  tooMuch(): void {
    this.saidTooMuch = true
    this.#end()
  }

  stop(): void {
    this.#timers.forEach(clearTimeout)
  }

  #end(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    const release = (): void => this.#child.stdio.forEach((stream) => stream?.destroy())
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return release()
    this.#child.once('exit', release)
    this.#child.kill('SIGTERM')
    this.#timers.push(setTimeout(() => this.#child.kill('SIGKILL'), graceMs))
  }
}

/** All that a pipe says. Its pieces are overwritten when they were taken. */
class Gathered {
  readonly #pieces: Buffer[] = []
  #length = 0

  constructor(stream: Readable, most: number, watch: Watch) {
    stream.on('error', () => undefined)
    stream.on('data', (piece: Buffer) => {
      this.#length += piece.length
      this.#pieces.push(piece)
      if (this.#length <= most) return
      this.wipe() // and every piece that still follows
      watch.tooMuch()
    })
  }

  /** A copy in memory of its own, never in the pool that Node's small buffers share. */
  take(): Buffer {
    const length = this.#pieces.reduce((sum, piece) => sum + piece.length, 0)
    const all = Buffer.allocUnsafeSlow(length)
    let offset = 0
    for (const piece of this.#pieces) offset += piece.copy(all, offset)
    return all
  }

  wipe(): void {
    for (const piece of this.#pieces.splice(0)) piece.fill(0)
  }
}

/** Children that end with this process, as those in the foreground of a terminal do. */
const tied = new Set<ChildProcess>()
const signals = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const

function endWithUs(child: ChildProcess): void {
  if (tied.size === 0) {
    process.on('exit', endAll)
    for (const signal of signals) process.on(signal, passOn)
  }
  tied.add(child)
}

function stopListening(): void {
  process.off('exit', endAll)
  for (const signal of signals) process.off(signal, passOn)
}

function endAll(): void {
  for (const child of tied) child.kill('SIGTERM')
}

/** Without a listener the signal would have ended this process; with another one, that one decides. */
function passOn(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return
  endAll()
  stopListening()
  process.kill(process.pid, signal)
}
