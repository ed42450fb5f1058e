import { stripVTControlCharacters } from 'node:util'
import { spawn } from '@lydell/node-pty'
import { kvxBin } from './cli.ts'

export const keys = { enter: '\r', ctrlC: '\x03', ctrlD: '\x04', ctrlU: '\x15' } as const

const patienceMs = 20_000

/** The built CLI on a real pseudo-terminal: keystrokes go in, what a person sees comes out. */
export class Terminal {
  #output = ''
  #seen = 0
  #exit: number | undefined
  readonly #pty: ReturnType<typeof spawn>
  readonly #waiting = new Set<() => void>()

  constructor(
    args: readonly string[],
    options: {
      readonly cwd: string
      readonly env: Readonly<Record<string, string>>
      /** In place of the built CLI. */
      readonly program?: string
    },
  ) {
    this.#pty = spawn(options.program ?? kvxBin, [...args], {
      name: 'xterm',
      cols: 200,
      rows: 60,
      cwd: options.cwd,
      env: { PATH: process.env['PATH'] ?? '', TERM: 'xterm', NO_COLOR: '1', ...options.env },
    })
    this.#pty.onData((data) => {
      this.#output += data
      this.#wake()
    })
    this.#pty.onExit(({ exitCode }) => {
      this.#exit = exitCode
      this.#wake()
    })
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
  }

  /** Everything that was drawn, without control sequences. */
  get screen(): string {
    return stripVTControlCharacters(this.#output).replaceAll('\r', '')
  }

  /** Waits until a text is drawn that was not there before the last key. */
  async see(text: string): Promise<this> {
    const end = Date.now() + patienceMs
    while (!this.screen.slice(this.#seen).includes(text)) {
      if (this.#exit !== undefined || Date.now() > end) {
        throw new Error(`never showed ${JSON.stringify(text)}; exit ${this.#exit ?? 'none'}\n${this.screen}`)
      }
      await this.#change(end)
    }
    return this
  }

  press(key: string): this {
    this.#seen = this.screen.length
    this.#pty.write(key)
    return this
  }

  /** Waits for a question, then types the answer; an empty one takes the default. */
  async answer(question: string, reply = ''): Promise<this> {
    await this.see(question)
    return this.press(`${reply}${keys.enter}`)
  }

  /** Waits for the end of the process. */
  async ended(): Promise<number> {
    const end = Date.now() + patienceMs
    while (this.#exit === undefined) {
      if (Date.now() > end) throw new Error(`goes on\n${this.screen}`)
      await this.#change(end)
    }
    return this.#exit
  }

  async #change(end: number): Promise<void> {
    await new Promise<void>((done) => {
      const wake = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        done()
      }
      const timer = setTimeout(wake, Math.max(1, end - Date.now()))
      this.#waiting.add(wake)
    })
  }

  close(): void {
    if (this.#exit === undefined) this.#pty.kill('SIGKILL')
  }
}
