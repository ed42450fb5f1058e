import { readdirSync } from 'node:fs'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { allScenarios, Kit } from './harness/scenarios.ts'
import { runShimmed, shimMissing } from './harness/shim.ts'

/** What the harness found once, held fast at the very call. */

beforeEach((context) => {
  const missing = shimMissing()
  if (missing !== undefined) context.skip(missing)
})

const kit = new Kit()

test.for([
  ['rotate', ['run', 'rollback', '--yes']],
  ['rotate --stage', ['rotate', 'master', '--unstage', '--yes']],
] as const)(
  'a %s that was killed while it wrote the new key leaves no part of it when it is undone',
  async ([title, undo]) => {
    const scenario = allScenarios(kit).find((one) => one.title === title)
    const site = await scenario?.make()
    if (scenario === undefined || site === undefined) throw new Error(`there is no ${title}`)
    onTestFinished(async () => {
      await site.close()
      await kit.close()
    })
    await site.keep()
    const { calls } = await runShimmed(site, scenario.args(site), { record: 'calls' })
    const ofTheKey = calls.filter(({ path }) => path.endsWith('keys/.master.v2.key.kvx-new'))
    const at = ofTheKey.filter(({ kind }) => kind === 'write' || kind === 'link').map(({ n }) => n)
    expect(at).toHaveLength(2)
    for (const n of [at[0] ?? 0, (at[0] ?? 0) + 1, (at[1] ?? 0) + 1]) {
      await site.reset()
      const { fired } = await runShimmed(site, scenario.args(site), { armed: { at: n, act: 'kill' } })
      expect(fired).toBe(true)
      expect(readdirSync(site.file('.kvx/keys'))).toContain('.master.v2.key.kvx-new')
      site.ok(...undo)
      expect(readdirSync(site.file('.kvx/keys'))).not.toContain('.master.v2.key.kvx-new')
    }
  },
)
