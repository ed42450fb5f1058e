import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { HeldFolder, Room } from '../../../src/platform/held-folder.ts'
import type { Store } from '../../../src/stores/store.ts'
import { directoryWith, openLocked, openStore, readAll, refusalOf, setOf } from './fixture.ts'

const reading = { path: () => 'a', require: () => undefined, room: new Room() }

describe('a folder that is held', () => {
  it('is the one that was opened, whatever gets its name', () => {
    const root = directoryWith({ 'd/a': 'own' })
    const elsewhere = directoryWith({ a: 'foreign' })
    const folder = new HeldFolder(join(root, 'd'))
    onTestFinished(() => folder.close())
    expect(folder.canonicalPath()).toBe(join(root, 'd'))
    renameSync(join(root, 'd'), join(root, 'away'))
    symlinkSync(elsewhere, join(root, 'd'))
    expect(folder.readFile('a', reading).bytes.toString()).toBe('own')
    expect(folder.canonicalPath()).toBe(join(root, 'away'))
  })

  it('says where links led to, and reads no link itself', () => {
    const root = directoryWith({ 'd/a': 'own' })
    symlinkSync('d', join(root, 'link'))
    symlinkSync('a', join(root, 'd/b'))
    const folder = new HeldFolder(join(root, 'link'))
    onTestFinished(() => folder.close())
    expect(folder.canonicalPath()).toBe(join(root, 'd'))
    expect(() => folder.readFile('b', reading)).toThrow('symbolic link')
    mkdirSync(join(root, 'd/c'))
    expect(() => folder.readFile('c', reading)).toThrow('not a regular file')
  })
})

it('refuses a file that got a second name after it was listed', async () => {
  const root = directoryWith({ a: 'x', b: 'x' })
  const store = await openStore(root)
  const pages = store.scan(setOf(), 1)[Symbol.asyncIterator]()
  expect((await pages.next()).value).toHaveLength(1)
  linkSync(join(root, 'b'), join(directoryWith({}), 'second'))
  expect((await refusalOf(pages.next())).message).toContain('has 2 names')
})

/** Another program that gives a folder's name to a link and back, as fast as it can, with pauses of so many milliseconds. */
async function startSwapper(folder: string, elsewhere: string, pauseMs = 0): Promise<void> {
  const script = `
    const { renameSync, symlinkSync, unlinkSync } = require('node:fs')
    const [folder, elsewhere, pause] = process.argv.slice(1)
    const turn = () => {
      for (let at = 0; at < 20; at++) {
        renameSync(folder, folder + '-away')
        symlinkSync(elsewhere, folder)
        unlinkSync(folder)
        renameSync(folder + '-away', folder)
      }
      setTimeout(turn, Number(pause))
    }
    console.log('ready')
    turn()`
  const child = spawn(process.execPath, ['-e', script, folder, elsewhere, String(pauseMs)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await once(child, 'close')
  })
  await once(child.stdout, 'data')
}

const codeOf = (error: unknown): string => (isKvxError(error) ? error.code : String(error))

async function look(store: Store): Promise<string> {
  try {
    const [record] = await store.fetch(setOf(), [['d/a']])
    return Buffer.from((record?.cells['content'] as Buffer | undefined) ?? 'missing').toString()
  } catch (error) {
    return codeOf(error)
  }
}

/** Reads the record and swaps it, as a run does. */
async function overwrite(
  store: Store,
  options: { readonly format?: string },
  content: string,
): Promise<string> {
  const isNumbered = options.format === 'records'
  const set = isNumbered ? setOf(['content'], '**', ['path', 'index']) : setOf()
  try {
    const [record] = await store.fetch(set, [isNumbered ? ['d/a', 0n] : ['d/a']])
    if (record === undefined) return 'missing'
    const swap = {
      id: record.id,
      expected: { content: record.cells['content'] ?? null },
      change: { content: Buffer.from(content) },
    }
    const [outcome = 'none'] = await store.swap(set, [swap], () => undefined)
    return outcome
  } catch (error) {
    return codeOf(error)
  }
}

describe('a folder whose name goes to a link and back all the time', () => {
  it('gives its own file, none, or a refusal, and never what the link leads to', async () => {
    const root = directoryWith({ 'd/a': 'own' })
    const elsewhere = directoryWith({ a: 'foreign' })
    const store = await openStore(root, { match: 'd/*' })
    await startSwapper(join(root, 'd'), elsewhere)
    const seen: Record<string, number> = {}
    const end = performance.now() + 3000
    while (performance.now() < end) {
      const found = await look(store)
      seen[found] = (seen[found] ?? 0) + 1
    }
    expect(Object.keys(seen).filter((one) => !['own', 'missing', 'STORE_SHAPE'].includes(one))).toEqual([])
    expect(seen['own']).toBeGreaterThan(50)
    expect(seen['STORE_SHAPE']).toBeGreaterThan(50)
  })

  it.each([
    {},
    { online: 'exchange' },
    { format: 'records', sizes: { headerSize: 0, recordSize: 8 } },
  ] as const)('is written to itself, or not at all, and never where the link leads: %j', async (options) => {
    const root = directoryWith({ 'd/a': 'own-0000' })
    const elsewhere = directoryWith({ a: 'foreign!' })
    const store = await openLocked(root, { match: 'd/*', ...options })
    expect(await overwrite(store, options, 'own-9999')).toBe('changed')
    await startSwapper(join(root, 'd'), elsewhere, 4)
    const seen: Record<string, number> = {}
    const end = performance.now() + 3000
    for (let turn = 1; performance.now() < end; turn++) {
      const found = await overwrite(store, options, `own-${String(turn % 10_000).padStart(4, '0')}`)
      seen[found] = (seen[found] ?? 0) + 1
      expect(readdirSync(elsewhere)).toEqual(['a'])
    }
    expect(readFileSync(join(elsewhere, 'a'), 'utf8')).toBe('foreign!')
    expect(seen['changed']).toBeGreaterThan(5)
    expect(seen['STORE_SHAPE']).toBeGreaterThan(5)
  })
})

it('reads many files into memory that they share, each with its own bytes', async () => {
  const files = Object.fromEntries(
    Array.from({ length: 700 }, (_, at) => [`d${at % 3}/f${at}`, `${at}`.repeat(1 + (at % 900))]),
  )
  const root = directoryWith(files)
  const records = await readAll(await openStore(root), setOf(), 500)
  const found = records.map(({ id, cells }) => [id[0], Buffer.from(cells['content'] as Buffer).toString()])
  expect(Object.fromEntries(found)).toEqual(files)
})
