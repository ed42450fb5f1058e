import { type ChildProcess, spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import type { Writable } from 'node:stream'
import { nodeFlags } from '../../../tools/node-flags.ts'
import { kvxBin } from '../../support/cli.ts'
import { Counters } from './counters.ts'
import { type Ended, parseCall, type Place, shimEnvironment, type ShimOptions, type Shimmed } from './shim.ts'

/** A process is put aside after so many commands: what they leave in its memory shall not add up. */
const most = 400

/** Other threads of V8 and code that is never called cost more here than they give. */
const thrift = ['--v8-pool-size=0', '--max-lazy']

/**
 * Gives commands of kvx one after the other in one process, with the shim: a third of the time that a process each takes.
 * For faults that kvx outlives; a process that ends all the same is followed by another.
 */
export class WarmKvx {
  private readonly place: Place
  private readonly counters = new Counters()
  private child: ChildProcess | undefined
  private given = 0

  constructor(place: Place) {
    this.place = place
  }

  async run(args: readonly string[], { armed, record }: ShimOptions = {}): Promise<Shimmed> {
    if (this.given >= most) await this.end()
    this.counters.arm(armed, record !== undefined, this.child !== undefined)
    const child = (this.child ??= this.start())
    this.given++
    const ended = answer(child)
    ;(child.stdio[3] as Writable).write(`${JSON.stringify({ args, folder: this.place.path })}\n`)
    const result = await ended
    if (child.exitCode !== null || child.signalCode !== null) this.forget()
    const calls = record === undefined ? [] : this.counters.lines().map(parseCall)
    return { ...result, ...this.counters.read(), calls: calls.sort((a, b) => a.n - b.n) }
  }

  private start(): ChildProcess {
    const bundle = join(dirname(kvxBin), '../dist/cli/main.cjs')
    const script = join(import.meta.dirname, 'warm-worker.ts')
    const child = spawn(process.execPath, [...nodeFlags(), ...thrift, script, bundle], {
      cwd: this.place.path,
      env: {
        PATH: process.env['PATH'] ?? '',
        ...this.place.env,
        ...shimEnvironment(this.place),
        ...this.counters.environment,
      },
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    })
    // Whether it is gone is seen by its end.
    child.stdio[3]?.on('error', () => undefined)
    return child
  }

  private forget(): void {
    this.child = undefined
    this.given = 0
  }

  private async end(): Promise<void> {
    const { child } = this
    this.forget()
    if (child === undefined) return
    const closed = new Promise((done) => child.once('close', done))
    ;(child.stdio[3] as Writable).end()
    await closed
  }

  async close(): Promise<void> {
    await this.end()
    this.counters.close()
  }
}

/** Whether a command goes on living after it: what ends the process, or takes its inputs and outputs, does not. */
export function canStayWarm({ armed, input, record, wrapper }: ShimOptions): boolean {
  const act = armed?.act ?? ''
  return (
    input === undefined && wrapper === undefined && record !== 'data' && !/^(?:kill|epipe|sig\d+)$/.test(act)
  )
}

/** What both outputs hold up to their marks, or until the process is gone. */
async function answer(child: ChildProcess): Promise<Ended> {
  const texts = ['', '']
  const outputs = [child.stdout, child.stderr]
  return await new Promise((done, fail) => {
    const finish = (exit: number | null, signal: NodeJS.Signals | null): void => {
      for (const output of outputs) output?.removeAllListeners('data')
      child.removeAllListeners('close').removeAllListeners('error')
      const [stdout = '', stderr = ''] = texts.map((text) => text.split('\0')[0])
      done({ exit, signal, stdout, stderr })
    }
    const look = (): void => {
      const marks = texts.map((text) => /\0(\d+)\n$/.exec(text)?.[1])
      if (marks.every((mark) => mark !== undefined)) finish(Number(marks[0]), null)
    }
    for (const [index, output] of outputs.entries())
      output?.setEncoding('utf8').on('data', (text: string) => {
        texts[index] += text
        look()
      })
    child.once('error', fail)
    child.once('close', finish)
  })
}
