import { afterAll, beforeEach, expect, test } from 'vitest'
import { tryScenario } from './harness/engine.ts'
import { allScenarios, Kit } from './harness/scenarios.ts'
import { shimMissing } from './harness/shim.ts'

/** A small part of `npm run faults`, the same points in each run. */

const kit = new Kit()
afterAll(async () => kit.close())

beforeEach((context) => {
  const missing = shimMissing()
  if (missing !== undefined) context.skip(missing)
})

test.for(allScenarios(kit).map((scenario) => [scenario.title, scenario.store, scenario] as const))(
  '%s on %s, killed or with a failing disk, ends old, new, or in what resume and rollback finish',
  async ([, , scenario]) => {
    const rows = await tryScenario(scenario, { lanes: 1, most: 4 })
    expect(rows.flatMap(({ fault, bad }) => bad.map((one) => `${fault}: ${one}`))).toEqual([])
    expect(rows.reduce((sum, { tried }) => sum + tried, 0)).toBeGreaterThanOrEqual(3)
  },
)
