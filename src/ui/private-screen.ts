import { KvxError } from '../core/errors.ts'

const signalExits = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const
type Signal = keyof typeof signalExits

/** The alternate screen has no scrollback: what was on it is gone when it is left. */
const enter = '\x1b[?1049h\x1b[2J\x1b[H'
/** Cleared before it is left, since some terminals keep the last picture; a multiplexer's history goes as well. */
const leave = '\x1b[2J\x1b[3J\x1b[H\x1b[?1049l'

/**
 * @throws KvxError NO_TERMINAL where nobody could look, or where the picture would go into a file or a pipe. Asked
 * before any key is read
 */
export function requirePrivateScreen(noInput: boolean): void {
  if (!noInput && process.stdout.isTTY && process.stdin.isTTY) return
  throw new KvxError('NO_TERMINAL', 'a share is shown on a terminal only, and here is none', {
    hint: 'Run it at a terminal, or draw a card: `--out FILE` in memory (/dev/shm), or `--out - | lp`. Nothing was read.',
  })
}

/**
 * Shows lines to the one person in front of the terminal until Enter is pressed. They are gone on every way out:
 * Enter, Ctrl-C, a signal, an error.
 * @throws KvxError CANCELLED for Ctrl-C
 */
export async function showPrivately(lines: readonly string[]): Promise<void> {
  const { stdin, stdout } = process
  let isShown = true
  const restore = (): void => {
    if (!isShown) return
    isShown = false
    stdin.pause()
    stdin.setRawMode(false)
    stdout.write(leave)
    process.off('exit', restore)
    for (const signal of Object.keys(signalExits) as Signal[]) process.off(signal, onSignal)
  }
  const onSignal = (signal: Signal): void => {
    restore()
    process.exit(signalExits[signal])
  }
  process.once('exit', restore)
  for (const signal of Object.keys(signalExits) as Signal[]) process.once(signal, onSignal)
  try {
    stdin.setRawMode(true)
    stdout.write(`${enter}${lines.join('\r\n')}`)
    await enterPressed()
  } finally {
    restore()
  }
}

async function enterPressed(): Promise<void> {
  const { stdin } = process
  return new Promise((done, failed) => {
    const finish = (error?: KvxError): void => {
      stdin.off('data', onData)
      stdin.off('end', onEnd)
      if (error === undefined) done()
      else failed(error)
    }
    const onEnd = (): void => finish()
    const onData = (keys: Buffer): void => {
      if (keys.includes(0x03)) finish(new KvxError('CANCELLED', 'stopped while a share was shown'))
      else if (keys.includes(0x0d) || keys.includes(0x0a)) finish()
    }
    stdin.on('data', onData)
    stdin.on('end', onEnd)
    stdin.resume()
  })
}
