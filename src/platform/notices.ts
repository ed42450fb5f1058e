export type Notice = { readonly code: string; readonly message: string }

const waiting: Notice[] = []

/**
 * Remembers something that an operator must read and that stops nothing, such as a copy that could not be
 * written. The command prints it with its other warnings.
 */
export function notice(code: string, message: string): void {
  waiting.push({ code, message })
}

/** The notices so far, each given once. */
export function takeNotices(): readonly Notice[] {
  return waiting.splice(0)
}
