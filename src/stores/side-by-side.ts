/**
 * What `work` makes of each entry, in their order, with so many under way at once. When one fails no other is begun,
 * and the first error is thrown when nothing is under way any more.
 */
export async function sideBySide<Entry, Made>(
  entries: readonly Entry[],
  width: number,
  work: (entry: Entry, index: number) => Promise<Made>,
): Promise<readonly Made[]> {
  const made: Made[] = []
  const rest = entries.entries()
  let isFailing = false
  const lane = async (): Promise<void> => {
    for (const [index, entry] of rest) {
      if (isFailing) return
      made[index] = await work(entry, index)
    }
  }
  const lanes = Array.from({ length: Math.min(width, entries.length) }, async () =>
    lane().catch((error: unknown) => {
      isFailing = true
      throw error
    }),
  )
  for (const end of await Promise.allSettled(lanes)) if (end.status === 'rejected') throw end.reason
  return made
}
