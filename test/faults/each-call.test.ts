import { afterAll, beforeEach, expect, test } from 'vitest'
import { type Limits, type Scenario, tryScenario, withSites } from './harness/engine.ts'
import { allRecoveries } from './harness/recoveries.ts'
import { allScenarios, Kit } from './harness/scenarios.ts'
import { shimMissing } from './harness/shim.ts'

/** A small part of `npm run faults`, the same points in each run. */

const kit = new Kit()
afterAll(async () => kit.close())

beforeEach((context) => {
  const missing = shimMissing()
  if (missing !== undefined) context.skip(missing)
})

function named(scenarios: readonly Scenario[], names?: readonly string[]) {
  return scenarios
    .filter(({ title, store }) => names?.includes(`${title} ${store}`) ?? true)
    .map((scenario) => [scenario.title, scenario.store, scenario] as const)
}

async function expectNoneBad(scenario: Scenario, limits: Limits, atLeast: number): Promise<void> {
  const rows = await withSites(scenario, 1, async (sites) => tryScenario(scenario, sites, limits))
  expect(rows.flatMap(({ fault, bad }) => bad.map((one) => `${fault}: ${one}`))).toEqual([])
  expect(rows.reduce((sum, { tried }) => sum + tried, 0)).toBeGreaterThanOrEqual(atLeast)
}

test.for(named(allScenarios(kit)))(
  '%s on %s, killed or with a failing disk, ends old, new, or in what resume and rollback finish',
  async ([, , scenario]) => expectNoneBad(scenario, { most: 4 }, 3),
)

const recoveries = named(allRecoveries(kit), [
  'keygen, killed before home',
  'run resume of rotate --then data, one slot SQLite',
  'run rollback of reencrypt directory',
  'backup confirm, of the last share, killed before home',
  'vault put, killed before vault',
])

test.for(recoveries)(
  '%s on %s, killed or with a failing disk too, is finished when it is given again',
  async ([, , scenario]) => expectNoneBad(scenario, { most: 4 }, 3),
)

const stopped = named(
  [...allScenarios(kit), ...allRecoveries(kit)],
  ['rewrap SQLite', 'rotate home', 'run resume of reencrypt directory'],
)

test.for(stopped)('%s on %s whose output nobody reads any more goes on to its end', async ([, , scenario]) =>
  expectNoneBad(scenario, { most: 3, only: ['EPIPE from then on'] }, 3),
)

test.for(stopped)(
  '%s on %s that a signal stops at any call ends in 0 or 10, says how it goes on, and is finished',
  async ([, , scenario]) => expectNoneBad(scenario, { most: 6, only: ['SIGINT', 'SIGTERM', 'SIGHUP'] }, 5),
)

// Before it had read anything, a restore kept the lock of its run until the end of the process.
test.for(named(allScenarios(kit), ['run restore PostgreSQL']))(
  '%s on %s whose connection is cut holds nothing afterwards',
  async ([, , scenario]) => expectNoneBad(scenario, { most: 8, only: ['connection cut'] }, 5),
)
