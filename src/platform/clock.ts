/** The current time. */
export function now(): Date {
  return new Date()
}

/** The current time in UTC to the second: `2026-01-01T00:00:00Z`. */
export function isoNow(): string {
  return `${now().toISOString().slice(0, 19)}Z`
}

/** Milliseconds of a clock that never steps back, for measuring durations. */
export function monotonicMs(): number {
  // Not `performance`, which Node loads at its first use.
  return Number(process.hrtime.bigint()) / 1e6
}
