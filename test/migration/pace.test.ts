import { describe, expect, test } from 'vitest'
import { Pace } from '../../src/migration/pace.ts'

/** What each piece of work of 10 ms is followed by, in whole milliseconds, for these answers. */
function rests(latencies: readonly (number | undefined)[], pace = new Pace()): readonly number[] {
  return latencies.map((latency) => Math.round(pace.restAfter(10, latency)))
}

const times = (count: number, latency: number): readonly number[] => Array<number>(count).fill(latency)

describe('a run that gives way', () => {
  test.each<[string, readonly (number | undefined)[], readonly number[]]>([
    ['answers are quick, or slow from the start', [0.2, 0.3, 0.2, 5, 0.2], [60, 60, 60, 90, 72]],
    ['one is slow now and then', [1, 1, 9, 1, 1, 1], [60, 60, 90, 72, 60, 60]],
    ['all get slow, and quick again', [1, 9, 9, 9, 9, 1, 1], [60, 90, 135, 160, 160, 128, 102]],
    ['differences are smaller than what a clock can tell', [0.01, 0.2, 0.3, 0.01], [60, 60, 60, 60]],
    ['the store cannot be asked', [undefined, undefined], [60, 60]],
  ])('rests as long as it must when %s', (_, latencies, expected) => {
    expect(rests(latencies)).toEqual(expected)
  })

  test('learns that the store got quicker, and that it got slower for good', () => {
    const pace = new Pace()
    rests(times(50, 10), pace)
    expect(pace.isPressed).toBe(false)
    // What was quick before is slow beside this.
    rests([...times(20, 1), 10], pace)
    expect(pace.isPressed).toBe(true)
    rests(times(200, 10), pace)
    expect([rests([10], pace), pace.isPressed]).toEqual([[60], false])
  })

  test('rests in proportion to the work, and never so long that a signal waits for it', () => {
    const pace = new Pace()
    expect([1, 100, 60_000].map((ms) => pace.restAfter(ms, 1))).toEqual([6, 600, 1000])
  })
})
