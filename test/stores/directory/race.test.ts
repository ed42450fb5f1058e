import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { Store, SwapOutcome } from '../../../src/stores/store.ts'
import { directoryWith, openStore, setOf, startOther } from './fixture.ts'

const tries = 2100
const laneCount = 3
const accept = (): void => {}

const old = (path: string): Buffer => Buffer.from(`old ${path}`)

async function swapOne(store: Store, path: string): Promise<SwapOutcome | undefined> {
  const swap = { id: [path], expected: { content: old(path) }, change: { content: Buffer.from(`kvx ${path}`) } }
  return (await store.swap(setOf(), [swap], accept))[0]
}

/** How long a swap takes on this machine now, in microseconds: the median of some, the first left out. */
async function swapTime(store: Store, paths: readonly string[]): Promise<number> {
  const times: number[] = []
  for (const path of paths) {
    const begun = performance.now()
    await swapOne(store, path)
    times.push(performance.now() - begun)
  }
  return Math.ceil((times.slice(1).sort((one, other) => one - other)[4] ?? 0) * 1000)
}

/**
 * For each file at once: another process replaces it by rename at a random moment, and the store swaps it. Whoever
 * comes first, the file must hold what the application wrote: it never wrote on top of the store's bytes.
 */
it(`loses none of ${tries} writes of an atomic writer that hits the very moment of a swap`, async () => {
  const paths = Array.from({ length: tries }, (_, index) => `d${index % 7}/f${index}`)
  const probes = Array.from({ length: 10 }, (_, index) => `probe${index}`)
  const directory = directoryWith(Object.fromEntries([...probes, ...paths].map((path) => [path, old(path)])))
  const store = await openStore(directory, { online: 'exchange' })
  const longest = await swapTime(store, probes)
  const outcomes: Record<string, number> = {}
  const lanes = Array.from({ length: laneCount }, async (_, lane) => {
    const writer = startOther('race', directory, String(longest * 2))
    await writer.next()
    for (const path of paths.filter((__, index) => index % laneCount === lane)) {
      writer.child.stdin.write(`${join(directory, path)}\n`)
      const outcome = (await swapOne(store, path)) ?? 'none'
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
      await writer.next()
    }
    await writer.end()
  })
  await Promise.all(lanes)
  const lost = paths.filter(
    (path) => readFileSync(join(directory, path), 'utf8') !== `application ${join(directory, path)}`,
  )
  console.log(lost.length, outcomes)
  expect(lost).toEqual([])
  expect(outcomes['changed']).toBeGreaterThan(tries / 10)
  expect(outcomes['lost']).toBeGreaterThan(tries / 10)
  expect(readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.includes('.kvx-new'))).toEqual([])
}, 600_000)
