import { spawn } from 'node:child_process'
import { KvxError } from '../core/errors.ts'

/**
 * Runs a program on this very terminal: it asks and shows what it likes, and nothing of that passes through this
 * process. Ctrl-C is the program's while it runs.
 * @param program absolute path
 * @returns its exit code; 128 and the number of the signal that ended it
 */
export async function runInForeground(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<number> {
  process.on('SIGINT', ignore)
  try {
    return await new Promise<number>((done, fail) => {
      const child = spawn(program, [...args], { stdio: 'inherit', env, shell: false })
      child.on('error', () =>
        fail(new KvxError('TOOL_FAILED', `${program} could not be started`, { details: { tool: program } })),
      )
      child.on('exit', (code, signal) =>
        done(code ?? 128 + (signal === null ? 0 : (signalNumbers[signal] ?? 0))),
      )
    })
  } finally {
    process.off('SIGINT', ignore)
  }
}

/** A listener of our own is what keeps Ctrl-C from ending this process. */
const ignore = (): void => undefined

const signalNumbers: Readonly<Partial<Record<NodeJS.Signals, number>>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGKILL: 9,
  SIGTERM: 15,
}
