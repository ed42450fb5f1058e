const waiting = new Set<Promise<void>>()

/** Work that goes on beside the command and never fails it. It must end by itself within seconds. */
export function inBackground(work: Promise<void>): void {
  waiting.add(work)
  void work.finally(() => waiting.delete(work))
}

/** Waits for all of it: before a command prints what it noticed. */
export async function settleBackground(): Promise<void> {
  while (waiting.size > 0) await Promise.all(waiting)
}
