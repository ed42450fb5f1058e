import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { type FileSystem, LoopDisk, loopDiskMissing } from '../support/loop-disk.ts'
import { newRow, recover, type Scenario, withSites } from './harness/engine.ts'
import { allScenarios, Kit } from './harness/scenarios.ts'
import { runShimmed, shimMissing } from './harness/shim.ts'
import type { Site } from './harness/site.ts'

/** Power cuts of real file systems: what the disk model of the harness says, held against ext4 and xfs themselves. */

const kit = new Kit()
afterAll(async () => kit.close())

const isSlow = process.env['KVX_SLOW'] === '1'
const missing = isSlow ? (shimMissing() ?? loopDiskMissing()) : 'needs KVX_SLOW=1: it takes minutes'
beforeEach((context) => {
  if (missing !== undefined) context.skip(missing)
})

const some = ['key import home', 'rotate home', 'rewrap SQLite', 'reencrypt directory', 'vault put vault']
const chosen = allScenarios(kit).filter(({ title, store }) => some.includes(`${title} ${store}`))
const points = 16

type Cut = { readonly at: number | undefined; readonly withMetadata: boolean; readonly turn: number }

/** Runs the command up to a call, or to its end, cuts the power, and looks at what is there when it is back. */
async function tryCut(scenario: Scenario, site: Site, disk: LoopDisk, cut: Cut): Promise<void> {
  const { at, withMetadata, turn } = cut
  disk.fill(`${site.path}.kept`)
  const options = at === undefined ? {} : { armed: { at, act: 'kill' as const } }
  const { exit, stderr } = await runShimmed(site, scenario.args(site), {
    ...options,
    input: scenario.input?.(site),
  })
  if (at === undefined) expect(exit, stderr).toBe(0)
  disk.cutPower(withMetadata)
  await site.expectWhole()
  await scenario.always?.(site)
  if (at === undefined) await scenario.done(site)
  else await recover(scenario, site, { row: newRow(scenario, 'power cut', 0), turn, exit: null })
}

/** Cuts at points spread over the command and at its end, each with and without the names on the medium. */
async function tryCuts(
  scenario: Scenario,
  site: Site,
  disk: LoopDisk,
  count: number,
): Promise<readonly string[]> {
  const bad: string[] = []
  const calls = Array.from({ length: points }, (_, turn) => Math.ceil((count * (turn + 0.5)) / points))
  for (const [turn, at] of [...calls, undefined].entries()) {
    for (const withMetadata of [false, true]) {
      await tryCut(scenario, site, disk, { at, withMetadata, turn }).catch((error: unknown) => {
        const disks = withMetadata ? 'names written' : 'nothing written'
        bad.push(`call ${at ?? 'none'} of ${count}, ${disks}: ${String(error)}`)
      })
    }
  }
  return bad
}

describe.each<FileSystem>(['ext4', 'xfs'])('on %s whose power is cut', (kind) => {
  test.for(chosen.map((scenario) => [scenario.title, scenario.store, scenario] as const))(
    '%s (%s) is done where it said so, and old, new or to be finished elsewhere',
    { timeout: 1_800_000 },
    async ([, , scenario]) => {
      await withSites(scenario, 1, async ([site]) => {
        if (site === undefined) throw new TypeError('there is one site')
        const { count } = await runShimmed(site, scenario.args(site), { input: scenario.input?.(site) })
        const disk = new LoopDisk(kind, site.path)
        try {
          expect(await tryCuts(scenario, site, disk, count)).toEqual([])
        } finally {
          disk.close()
        }
      })
    },
  )
})
