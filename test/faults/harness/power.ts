import { type Limits, newRow, recover, type Scenario, spread } from './engine.ts'
import { type Model, Recording, type Tree, treeDigest, writeTree } from './disk-model.ts'
import { runShimmed } from './shim.ts'
import type { Site } from './site.ts'

/** What power cuts at every moment of a command left behind, in one model of a disk. */
export type PowerRow = {
  readonly command: string
  readonly store: string
  readonly model: Model
  /** Different states that were built. */
  readonly states: number
  /** Of those, looked at with code of the harness: keys whole, every record opens, done where it was acknowledged. */
  looked: number
  /** Of those, also recovered with kvx. */
  recovered: number
  readonly bad: string[]
}

type Cut = { readonly tree: Tree; readonly at: number; readonly acknowledged: boolean }

/**
 * Records one run for each model of a disk, builds disk states for cuts at each of its operations, and looks at them.
 * @param sites one for each lane; the models share them
 * @param limits `most` bounds the states that are looked at; one in `each` is recovered with kvx
 */
export async function tryPowerCuts(
  scenario: Scenario,
  sites: readonly Site[],
  limits: PowerLimits,
): Promise<readonly PowerRow[]> {
  const models: readonly Model[] = ['ordered', 'hostile']
  const rounds = Math.ceil(models.length / sites.length)
  const start = performance.now()
  const rows: PowerRow[] = []
  const lane = async (site: Site, index: number): Promise<void> => {
    for (let round = 0; round < rounds; round++) {
      const model = models[round * sites.length + index]
      if (model === undefined) return
      const { until } = limits
      const end = until === undefined ? {} : { until: start + ((until - start) * (round + 1)) / rounds }
      rows.push(await tryModel(scenario, site, model, { ...limits, ...end }))
    }
  }
  await Promise.all(sites.map(lane))
  return rows
}

/** So many states of a model, whatever time they take. */
const fewest = 12

type PowerLimits = Pick<Limits, 'most' | 'until'> & { readonly each: number }

async function tryModel(
  scenario: Scenario,
  site: Site,
  model: Model,
  limits: PowerLimits,
): Promise<PowerRow> {
  await site.reset()
  const recording = new Recording(site.path)
  const input = scenario.input?.(site)
  const ended = await runShimmed(site, scenario.args(site), { record: 'data', input })
  if (ended.exit !== 0) throw new Error(`${scenario.title} ended with ${ended.exit}: ${ended.stderr}`)
  const cuts = allCuts(recording.take(ended.calls), model)
  const row = { command: scenario.title, store: scenario.store, model, states: cuts.length }
  return await tryCuts(scenario, site, { ...row, looked: 0, recovered: 0, bad: [] }, cuts, limits)
}

function allCuts(recording: Recording, model: Model): readonly Cut[] {
  const random = seeded(20_260_101)
  const seen = new Set<string>()
  const cuts: Cut[] = []
  for (let at = recording.length; at >= 0; at--) {
    const acknowledged = at === recording.length
    for (const tree of recording.states(at, model, random)) {
      const digest = `${treeDigest(tree)} ${acknowledged}`
      if (seen.has(digest)) continue
      seen.add(digest)
      cuts.push({ tree, at, acknowledged })
    }
  }
  return cuts
}

async function tryCuts(
  scenario: Scenario,
  site: Site,
  row: PowerRow,
  cuts: readonly Cut[],
  { most = cuts.length, until, each }: PowerLimits,
): Promise<PowerRow> {
  let turn = 0
  for (const cut of ordered(cuts).slice(0, most)) {
    if (row.looked >= fewest && until !== undefined && performance.now() > until) break
    row.looked++
    try {
      writeTree(site.path, cut.tree)
      await site.expectWhole()
      await scenario.always?.(site)
      if (cut.acknowledged) await scenario.done(site)
      else if (turn++ % each === 0) {
        await recover(scenario, site, {
          row: newRow(scenario, 'power cut', 0),
          turn: Math.floor(turn / each),
          exit: null,
        })
        row.recovered++
      }
    } catch (error) {
      row.bad.push(
        `cut at ${cut.at}${cut.acknowledged ? ', acknowledged' : ''}: ${error instanceof Error ? error.message : String(error)}`,
      )
    }
  }
  return row
}

/** What was acknowledged must be there: every second one is of those, as long as there are any; all are spread. */
function ordered(cuts: readonly Cut[]): readonly Cut[] {
  const ended = spread(cuts.filter((cut) => cut.acknowledged))
  const others = spread(cuts.filter((cut) => !cut.acknowledged))
  const pairs = others.flatMap((cut, index) => [cut, ...ended.slice(index, index + 1)])
  return [...pairs, ...ended.slice(others.length)]
}

/** The same numbers in each run: xorshift. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}
