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
