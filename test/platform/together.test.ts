import { expect, test } from 'vitest'
import { alone, type SharedJob, together } from '../../src/platform/together.ts'

const ofValues = <T>(values: readonly PromiseSettledResult<T>[]): unknown[] =>
  values.map((one) => (one.status === 'fulfilled' ? one.value : one.reason))

/** Doubles what it is asked, and remembers with whom. */
function doubling(): { readonly job: SharedJob<number, number>; readonly asked: (readonly number[])[] } {
  const asked: (readonly number[])[] = []
  const job: SharedJob<number, number> = async (numbers) => {
    asked.push(numbers)
    return numbers.map((value) =>
      value === 3 ? { status: 'rejected', reason: 'not three' } : { status: 'fulfilled', value: 2 * value },
    )
  }
  return { job, asked }
}

const pause = async (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms))

test('a job waits for all who work, and each gets the answer or the error of its own', async () => {
  const { job, asked } = doubling()
  const ends = await together([1, 2, 3, 4], async (item, company) => {
    await pause(item * 5)
    return await company.share(job, item)
  })
  expect(asked).toEqual([[1, 2, 3, 4]])
  expect(ofValues(ends)).toEqual([2, 4, 'not three', 8])
})

test('who has ended or failed is not waited for, and who comes a second time is', async () => {
  const { job, asked } = doubling()
  const ends = await together([1, 2, 5, 6], async (item, company) => {
    if (item === 5) throw new Error('gone')
    if (item === 6) return 6
    const first = await company.share(job, item)
    await pause(item * 5)
    return await company.share(job, first)
  })
  expect(asked).toEqual([
    [1, 2],
    [2, 4],
  ])
  expect(ofValues(ends)).toEqual([4, 8, new Error('gone'), 6])
})

test('those who wait for different jobs do not wait for each other', async () => {
  const [one, other] = [doubling(), doubling()]
  const ends = await together([1, 2], async (item, company) =>
    company.share(item === 1 ? one.job : other.job, item),
  )
  expect([one.asked, other.asked]).toEqual([[[1]], [[2]]])
  expect(ofValues(ends)).toEqual([2, 4])
})

test('a job that fails fails for all who asked, and nobody is left waiting', async () => {
  const broken: SharedJob<number, number> = async () => {
    throw new Error('broken')
  }
  const ends = await together([1, 2], async (item, company) => company.share(broken, item))
  expect(ofValues(ends)).toEqual([new Error('broken'), new Error('broken')])
  const silent: SharedJob<number, number> = async () => []
  await expect(alone.share(silent, 1)).rejects.toThrow('answers everybody')
})
