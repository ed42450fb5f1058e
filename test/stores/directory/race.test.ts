import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import type { Store, SwapOutcome } from '../../../src/stores/store.ts'
import { openStore, putFiles, setOf, startOther } from './fixture.ts'

const tries = 1200
const laneCount = 3
const accept = (): void => {}

const old = (path: string): Buffer => Buffer.from(`old ${path}`)

async function swapOne(store: Store, path: string): Promise<SwapOutcome | undefined> {
  const swap = {
    id: [path],
    expected: { content: old(path) },
    change: { content: Buffer.from(`kvx ${path}`) },
  }
  return (await store.swap(setOf(), [swap], accept))[0]
}

/** A directory in memory where there is one: syncs to a disk would only make the tries slower. */
function memoryDirectory(): string {
  const path = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'kvx-race-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/**
 * For each file at once: another process replaces it by rename at a random moment, and the store swaps it. Whoever
 * comes first, the file must hold what the application wrote: it never wrote on top of the store's bytes.
 */
it(`loses none of ${tries} writes of an atomic writer that hits the very moment of a swap`, async () => {
  const paths = Array.from({ length: tries }, (_, index) => `d${index % 7}/f${index}`)
  const directory = memoryDirectory()
  putFiles(directory, Object.fromEntries(paths.map((path) => [path, old(path)])))
  const store = await openStore(directory, { online: 'exchange' })
  const outcomes: Record<string, number> = {}
  const lanes = Array.from({ length: laneCount }, async (_, lane) => {
    const writer = startOther('race', directory, '')
    await writer.next()
    let pause = 20
    for (const path of paths.filter((__, index) => index % laneCount === lane)) {
      writer.child.stdin.write(`${pause * (0.8 + Math.random() * 0.4)} ${join(directory, path)}\n`)
      const outcome = (await swapOne(store, path)) ?? 'none'
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
      pause *= outcome === 'changed' ? 0.9 : 1.1 // towards the moment at which it may go either way
      await writer.next()
    }
    await writer.end()
  })
  await Promise.all(lanes)
  const lost = paths.filter(
    (path) => readFileSync(join(directory, path), 'utf8') !== `application ${join(directory, path)}`,
  )
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  expect(lost).toEqual([])
  expect(names.filter((name) => name.includes('.kvx-new'))).toEqual([])
  expect(outcomes['changed']).toBeGreaterThan(tries / 4)
  expect(outcomes['lost']).toBeGreaterThan(tries / 4)
}, 600_000)

it('leaves the newest in place when a writer writes again while its file is given back', async () => {
  const directory = memoryDirectory()
  putFiles(directory, { f: 'last -1' })
  const store = await openStore(directory, { online: 'exchange' })
  const writer = startOther('burst', directory, '150')
  await writer.next()
  let result: unknown
  const waitForResult = async (): Promise<void> => {
    result = await writer.next()
  }
  void waitForResult()
  const outcomes: Record<string, number> = {}
  while (result === undefined) {
    const [record] = await store.fetch(setOf(), [['f']])
    const content = record?.cells['content']
    if (record === undefined || !(content instanceof Uint8Array)) throw new Error('the file is not there')
    const next = Buffer.concat([Buffer.from(content.length < 1000 ? 'kvx:' : ''), content])
    const swap = { id: record.id, expected: { content }, change: { content: next } }
    const [outcome = 'none'] = await store.swap(setOf(), [swap], accept)
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  }
  expect(result).toEqual({ lost: 0 })
  expect(outcomes['changed']).toBeGreaterThan(20)
  expect(outcomes['lost']).toBeGreaterThan(20)
  expect(readdirSync(directory)).toEqual(['f'])
}, 300_000)
