import { afterAll, beforeEach, expect, test } from 'vitest'
import { withSites } from './harness/engine.ts'
import { tryPowerCuts } from './harness/power.ts'
import { allScenarios, Kit } from './harness/scenarios.ts'
import { shimMissing } from './harness/shim.ts'

/** A small part of `npm run faults`, the same states in each run. */

const kit = new Kit()
afterAll(async () => kit.close())

beforeEach((context) => {
  const missing = shimMissing()
  if (missing !== undefined) context.skip(missing)
})

const some = new Set([
  'key import home',
  'rotate home',
  'rewrap SQLite',
  'reencrypt directory',
  'vault put vault',
])
const chosen = allScenarios(kit).filter(({ title, store }) => some.has(`${title} ${store}`))

test.for(chosen.map((scenario) => [scenario.title, scenario.store, scenario] as const))(
  '%s on %s survives a power cut at any moment, on a disk that forgets what was not synced',
  async ([, , scenario]) => {
    const rows = await withSites(scenario, 1, async (sites) =>
      tryPowerCuts(scenario, sites, { most: 40, each: 20 }),
    )
    for (const row of rows) {
      expect(row.bad).toEqual([])
      expect(row.looked).toBeGreaterThanOrEqual(10)
    }
  },
)
