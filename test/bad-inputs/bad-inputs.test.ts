import { afterAll, beforeAll, expect, test } from 'vitest'
import { configCases } from './config.ts'
import { fileCases } from './files.ts'
import { keyCases } from './keys.ts'
import { type BadInput, expectRefused, goodPlace, type Place } from './place.ts'
import { usageCases } from './usage.ts'

/** One table of what people give kvx that is wrong; each is refused with its code, without a byte changed. */

const cases: readonly BadInput[] = [...keyCases, ...usageCases, ...configCases, ...fileCases]
let good: Place
beforeAll(() => {
  good = goodPlace()
})
afterAll(() => good.close())

test('the table has 250 different inputs or more', () => {
  expect(new Set(cases.map(({ title }) => title)).size).toBe(cases.length)
  expect(cases.length).toBeGreaterThanOrEqual(250)
})

test.each(cases.map((one) => [one.title, one] as const))('%s is refused, and nothing changes', (_, one) => {
  expectRefused(good, one)
})
