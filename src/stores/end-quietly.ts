const patienceMs = 2000

/** Says goodbye to a server, and waits two seconds at most for its answer. */
export async function endQuietly(end: () => Promise<void>): Promise<void> {
  const ended = end().catch(() => undefined)
  const patience = new Promise<void>((resolve) => {
    setTimeout(resolve, patienceMs).unref()
  })
  await Promise.race([ended, patience])
}
