let isAlone = false

/**
 * Says that this process does one command of kvx and then ends, and that its event loop turns all the while: then
 * locks may stay with it for a moment. Whoever uses kvx's functions may do anything after them.
 */
export function beLoneCommand(): void {
  isAlone = true
}

export function isLoneCommand(): boolean {
  return isAlone
}
