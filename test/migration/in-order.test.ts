import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { inOrder } from '../../src/migration/read-ahead.ts'

async function* pages(count: number, seen: number[] = []): AsyncGenerator<number> {
  for (let page = 0; page < count; page++) {
    seen.push(page)
    yield page
  }
}

async function all<T>(made: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const one of made) found.push(one)
  return found
}

describe('pages that are worked on together', () => {
  test('come in their order, whichever is ready first', async () => {
    const late = async (page: number): Promise<number> => sleep(page % 2 === 0 ? 5 : 0, page)
    expect(await all(inOrder(pages(9), 3, late))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
  })

  test('are never more under way than was asked for, and none is where nothing is', async () => {
    let [under, most] = [0, 0]
    const work = async (page: number): Promise<number> => {
      most = Math.max(most, ++under)
      await sleep(1)
      under--
      return page
    }
    await all(inOrder(pages(12), 2, work))
    expect(most).toBe(3)
    most = 0
    await all(inOrder(pages(5), 0, work))
    expect(most).toBe(1)
  })

  test('a failure comes where its page would, and what was made behind it is handed back', async () => {
    const unused: number[] = []
    const got: number[] = []
    const work = async (page: number): Promise<number> => {
      if (page === 2) throw new Error('page 2')
      return page
    }
    const made = inOrder(pages(6), 2, work, (page) => unused.push(page))
    await expect(async () => {
      for await (const one of made) got.push(one)
    }).rejects.toThrow('page 2')
    expect(got).toEqual([0, 1])
    expect(unused).toEqual([3, 4])
  })

  test('whoever stops early leaves nothing under way and reads no further', async () => {
    const unused: number[] = []
    const seen: number[] = []
    for await (const one of inOrder(
      pages(50, seen),
      2,
      async (page) => sleep(1, page),
      (page) => unused.push(page),
    ))
      if (one === 1) break
    expect(unused).toEqual([2, 3])
    expect(seen).toEqual([0, 1, 2, 3])
  })
})
