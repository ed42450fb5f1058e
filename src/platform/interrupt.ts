const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

/** A signal that asks kvx to stop. */
export type StopSignal = keyof typeof exitCodes

let received: StopSignal | undefined
let listening = false

/**
 * From now on the first SIGINT, SIGTERM or SIGHUP is only remembered: long work polls `interrupted()` and
 * stops at its next consistent point. The second one ends the process at once.
 */
export function onSignals(): void {
  if (listening) return
  listening = true
  for (const signal of Object.keys(exitCodes) as StopSignal[]) {
    process.on(signal, () => {
      if (received !== undefined) process.exit(exitCodes[signal])
      received = signal
    })
  }
}

/** The signal that asked to stop, or undefined while none did. */
export function interrupted(): StopSignal | undefined {
  return received
}
