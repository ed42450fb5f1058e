import { spawn } from '@lydell/node-pty'
import { kvxBin } from '../../support/cli.ts'

/** What a person types, out of what was said until then where it depends on that; or a signal that comes. */
type Answer = string | ((screen: string) => string) | { readonly signal: string }

/** A text to wait for on the screen, and what happens then. */
export type Step = readonly [RegExp, Answer]

export type Screen = {
  /** All that was ever on the screen, with control sequences. */
  readonly screen: string
  readonly exit: number
}

const patienceMs = 30_000

/** Runs the built CLI in a real pseudo-terminal, with a person who answers. Fails when a text never comes. */
export async function atTerminal(
  args: readonly string[],
  steps: readonly Step[],
  options: {
    readonly cwd: string
    readonly env: Readonly<Record<string, string>>
    /** In place of the built CLI. */
    readonly program?: string
  },
): Promise<Screen> {
  const env = { ...options.env, PATH: process.env['PATH'] ?? '' }
  const terminal = spawn(options.program ?? kvxBin, [...args], { cwd: options.cwd, env, cols: 200, rows: 50 })
  let screen = ''
  let seen = 0
  let next = 0
  terminal.onData((data) => {
    screen += data
    for (let step = steps[next]; step !== undefined; step = steps[next]) {
      const found = step[0].exec(screen.slice(seen))
      if (found === null) return
      seen += found.index + found[0].length
      next++
      const [, answer] = step
      if (typeof answer === 'string') terminal.write(answer)
      else if (typeof answer === 'function') terminal.write(answer(screen))
      else terminal.kill(answer.signal)
    }
  })
  let isTooLong = false
  const impatience = setTimeout(() => {
    isTooLong = true
    terminal.kill('SIGKILL')
  }, patienceMs)
  const exit = await new Promise<number>((done) => terminal.onExit(({ exitCode }) => done(exitCode)))
  clearTimeout(impatience)
  if (isTooLong && next === steps.length) throw new Error(`the program goes on:\n${screen}`)
  if (next === steps.length) return { screen, exit }
  throw new Error(`the terminal never said ${String(steps[next]?.[0])}:\n${screen}`)
}
