import { type Limits, recover, type Row, type Scenario } from './engine.ts'
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
 * Records one run, builds disk states for cuts at each of its operations, and looks at them.
 * @param limits `most` bounds the states that are looked at; one in `each` is recovered with kvx
 */
export async function tryPowerCuts(
  scenario: Scenario,
  limits: Pick<Limits, 'most' | 'until'> & { readonly each: number },
): Promise<readonly PowerRow[]> {
  const site = await scenario.make()
  try {
    await site.keep()
    await site.reset()
    const recording = new Recording(site.path)
    const input = scenario.input?.(site)
    const ended = await runShimmed(site, scenario.args(site), { record: 'data', input })
    if (ended.exit !== 0) throw new Error(`${scenario.title} ended with ${ended.exit}: ${ended.stderr}`)
    recording.take(ended.calls)
    const rows: PowerRow[] = []
    for (const model of ['ordered', 'hostile'] as const) {
      const cuts = allCuts(recording, model)
      const row = { command: scenario.title, store: scenario.store, model, states: cuts.length }
      rows.push(await tryCuts(scenario, site, { ...row, looked: 0, recovered: 0, bad: [] }, cuts, limits))
    }
    return rows
  } finally {
    await site.close()
  }
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
  { most = cuts.length, until, each }: Parameters<typeof tryPowerCuts>[1],
): Promise<PowerRow> {
  for (const [turn, cut] of chosen(cuts, most).entries()) {
    if (until !== undefined && performance.now() > until) break
    row.looked++
    try {
      writeTree(site.path, cut.tree)
      await site.expectWhole()
      await scenario.always?.(site)
      if (cut.acknowledged) await scenario.done(site)
      else if (turn % each === 0) {
        await recover(scenario, site, { row: counters(), turn: turn / each, exit: null })
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

/** Those after the end of the command first, since what was acknowledged must be there; of the rest an even part. */
function chosen(cuts: readonly Cut[], most: number): readonly Cut[] {
  const [ended, others] = [cuts.filter((cut) => cut.acknowledged), cuts.filter((cut) => !cut.acknowledged)]
  const step = Math.max(1, others.length / Math.max(1, most - ended.length))
  const some = Array.from(
    { length: Math.floor(others.length / step) },
    (_, index) => others[Math.floor(index * step)],
  )
  return [...ended, ...some.filter((cut) => cut !== undefined)]
}

/** `recover` counts into a row that nobody prints. */
function counters(): Row {
  return {
    ...{ command: '', store: 'home', fault: 'power cut', points: 0 },
    ...{ tried: 0, old: 0, done: 0, resumed: 0, rolledBack: 0, again: 0, bad: [] },
  }
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
