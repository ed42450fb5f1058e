import assert from 'node:assert/strict'
import type { Scenario } from './engine.ts'
import { allScenarios, type Kit } from './scenarios.ts'
import { runShimmed } from './shim.ts'
import type { Site } from './site.ts'

/**
 * Recoveries are commands like others: what a person gives after a command was killed in its middle is tried with a
 * fault at each of its own calls, and with power cuts.
 */
export function allRecoveries(kit: Kit): readonly Scenario[] {
  return allScenarios(kit).flatMap(recoveriesOf)
}

function recoveriesOf(scenario: Scenario): readonly Scenario[] {
  const { title, store, done, back } = scenario
  const same = {
    ...{ store, again: true as const, make: async () => await killed(scenario, back !== undefined) },
    ...(scenario.always === undefined ? {} : { always: scenario.always }),
    ...(scenario.input === undefined ? {} : { input: scenario.input }),
    already: ['RUN_UNKNOWN', ...(scenario.already ?? [])],
  }
  if (back === undefined) {
    const next = (site: Site): readonly string[] =>
      scenario.again === undefined && site.openRun() !== undefined ? ['run', 'resume'] : scenario.args(site)
    return [{ ...same, title: `${title}, killed before`, args: next, done }]
  }
  return [
    { ...same, title: `run resume of ${title}`, args: () => ['run', 'resume'], done },
    { ...same, title: `run rollback of ${title}`, args: () => ['run', 'rollback', '--yes'], done: back },
  ]
}

/** Where in the command it is killed: the first of these parts of its calls at which there is something to recover. */
const parts = [0.5, 0.6, 0.7, 0.4, 0.8, 0.3]

async function killed(scenario: Scenario, isRun: boolean): Promise<Site> {
  const site = await scenario.make()
  await site.keep()
  const input = scenario.input?.(site)
  const { exit, count, stderr } = await runShimmed(site, scenario.args(site), { input })
  assert.equal(exit, 0, stderr)
  for (const part of parts) {
    await site.reset()
    const armed = { at: Math.ceil(count * part), act: 'kill' } as const
    await runShimmed(site, scenario.args(site), { armed, input })
    if (isRun ? site.openRun() !== undefined : !(await isDone(scenario, site))) return site
  }
  throw new Error(`${scenario.title} leaves nothing to recover`)
}

async function isDone(scenario: Scenario, site: Site): Promise<boolean> {
  try {
    await scenario.done(site)
    return true
  } catch {
    return false
  }
}
