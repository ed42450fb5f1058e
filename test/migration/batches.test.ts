import { describe, expect, test } from 'vitest'
import { BatchSize } from '../../src/migration/batch-size.ts'
import { readAhead } from '../../src/migration/read-ahead.ts'

describe('the size of a batch', () => {
  test('grows while a batch is quick, shrinks when one is slow, and stays within its bounds', () => {
    const size = new BatchSize(undefined, undefined, true)
    const seen = [size.records]
    for (const ms of [10, 10, 150, 900, ...Array<number>(12).fill(10), ...Array<number>(12).fill(900)]) {
      size.took(ms)
      seen.push(size.records)
    }
    expect(seen.slice(0, 5)).toEqual([500, 800, 800, 800, 400])
    expect([Math.max(...seen), Math.min(...seen)]).toEqual([800, 50])
  })

  test('is what the operator asked for, however long it takes', () => {
    const size = new BatchSize(10_000, undefined, true)
    size.took(60_000)
    expect(size.records).toBe(10_000)
  })

  test('is small where the run gives way, whatever the store is', () => {
    const size = new BatchSize(undefined, 'auto', false)
    const seen = [size.records]
    for (const ms of [1, 1, 2, 3, ...Array<number>(6).fill(90)]) {
      size.took(ms)
      seen.push(size.records)
    }
    expect(seen).toEqual([10, 20, 40, 40, 40, 20, 10, 5, 5, 5, 5])
    const asked = new BatchSize(300, 'auto', true)
    asked.took(1)
    expect(asked.records).toBe(300)
  })

  test('is never more than a second may have, and does not change where time says nothing', () => {
    const slow = new BatchSize(undefined, 40, true)
    slow.took(1)
    expect([
      slow.records,
      new BatchSize(500, 7, true).records,
      new BatchSize(undefined, 0.5, true).records,
    ]).toEqual([40, 7, 1])
    const files = new BatchSize(undefined, undefined, false)
    files.took(1)
    expect(files.records).toBe(500)
  })
})

/** Counts up, and notes what was asked of it. */
async function* source(log: string[], end: number, failAt?: number): AsyncGenerator<number> {
  try {
    for (let page = 0; page < end; page++) {
      log.push(`read ${page}`)
      if (page === failAt) throw new Error('the store is gone')
      yield page
    }
  } finally {
    log.push('closed')
  }
}

describe('reading ahead', () => {
  test('asks for the next page before the one at hand is done, never for two, and keeps their order', async () => {
    const log: string[] = []
    for await (const page of readAhead(source(log, 4))) {
      await new Promise((turn) => setImmediate(turn))
      log.push(`worked on ${page}`)
    }
    expect(log).toEqual([
      ...['read 0', 'read 1', 'worked on 0', 'read 2', 'worked on 1', 'read 3'],
      ...['worked on 2', 'closed', 'worked on 3'],
    ])
  })

  test('tells a failure when its page is due, after the pages before it', async () => {
    const worked: number[] = []
    const all = async (): Promise<void> => {
      for await (const page of readAhead(source([], 5, 2))) worked.push(page)
    }
    await expect(all()).rejects.toThrow('the store is gone')
    expect(worked).toEqual([0, 1])
  })

  test('closes its source when it is left early, and waits for the page under way', async () => {
    const log: string[] = []
    for await (const page of readAhead(source(log, 100))) if (page === 1) break
    expect(log).toEqual(['read 0', 'read 1', 'read 2', 'closed'])
  })
})
