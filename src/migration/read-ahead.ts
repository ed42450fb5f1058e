/** The same pages; each next one is asked for while its predecessor is worked on. Two of them are held at a time. */
export async function* readAhead<Page>(pages: AsyncIterable<Page>): AsyncGenerator<Page> {
  const iterator = pages[Symbol.asyncIterator]()
  const ask = (): Promise<IteratorResult<Page>> => {
    const next = iterator.next()
    // It is awaited later: until then nobody else hears of a failure.
    next.catch(() => undefined)
    return next
  }
  let coming = ask()
  try {
    for (;;) {
      const { done, value } = await coming
      if (done === true) return
      coming = ask()
      yield value
    }
  } finally {
    await coming.catch(() => undefined)
    await iterator.return?.()
  }
}

/**
 * What `work` makes of each page, in the order of the pages, with so many more under way as `ahead` says. Where it ends
 * early, nothing is under way any more; what was under way then goes to `unused`.
 */
export async function* inOrder<Page, Made>(
  pages: AsyncIterable<Page>,
  ahead: number,
  work: (page: Page) => Made | Promise<Made>,
  unused?: (made: Made) => void,
): AsyncGenerator<Made> {
  const under: Promise<Made>[] = []
  const next = (): Promise<Made> | undefined => under.shift()
  try {
    for await (const page of pages) {
      const made = Promise.resolve(work(page))
      // It is awaited later: until then nobody else hears of a failure.
      made.catch(() => undefined)
      under.push(made)
      const first = under.length > ahead ? next() : undefined
      if (first !== undefined) yield await first
    }
    for (let first = next(); first !== undefined; first = next()) yield await first
  } finally {
    for (const one of under) await one.then(unused, () => undefined)
  }
}
