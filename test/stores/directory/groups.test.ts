import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { fileFormat } from '../../../src/stores/directory/file-format.ts'
import { compileGlob } from '../../../src/stores/directory/glob.ts'
import { groupsOf } from '../../../src/stores/directory/groups.ts'
import { HeldFolders } from '../../../src/stores/directory/held-folders.ts'
import type { Directory } from '../../../src/stores/directory/record-files.ts'
import { needsTool } from '../../support/needs.ts'
import { type CallResult, runModule } from '../../support/platform-process.ts'
import { trustedDirectory } from '../../support/trusted-directory.ts'
import { directoryWith } from './fixture.ts'

const storeFile = fileURLToPath(new URL('../../../src/stores/directory/directory-store.ts', import.meta.url))

/** Swaps every file of a directory in one batch, in a process of its own, and prints the outcomes. */
async function swapAll(path: string, wrapper: readonly string[]): Promise<CallResult> {
  const script = `
    import { openDirectoryStore } from ${JSON.stringify(storeFile)}
    const store = await openDirectoryStore({ name: 'docs', path: ${JSON.stringify(path)}, match: '**', format: 'file' })
    const set = { table: '**', id: ['path'], columns: ['content'] }
    const swaps = []
    for await (const page of store.scan(set, 500)) {
      for (const { id, cells } of page)
        swaps.push({ id, expected: cells, change: { content: Buffer.from('new ' + id[0]) } })
    }
    const outcomes = await store.swap(set, swaps, () => {})
    console.log(outcomes.filter((outcome) => outcome === 'changed').length)`
  return await runModule(script, { wrapper, timeoutMs: 120_000, env: { UV_THREADPOOL_SIZE: '4' } })
}

function manyFiles(count: number): string {
  const root = trustedDirectory()
  for (const name of ['a', 'b']) mkdirSync(join(root, name))
  for (let at = 0; at < count; at++) writeFileSync(join(root, at % 2 === 0 ? 'a' : 'b', `f${at}`), 'old')
  return root
}

function expectNew(root: string): void {
  for (const folder of ['a', 'b']) {
    for (const name of readdirSync(join(root, folder)))
      expect(readFileSync(join(root, folder, name), 'utf8')).toBe(`new ${folder}/${name}`)
  }
}

it('replaces 600 files with two programs a group of 512, and writes each directory once a group', async (context) => {
  needsTool(context, 'strace')
  const root = manyFiles(600)
  const log = join(trustedDirectory(), 'strace')
  const { stdout, stderr } = await swapAll(root, [
    ...['strace', '-f', '-y', '-qq', '-o', log, '-e', 'trace=execve,fsync'],
  ])
  expect(stdout, stderr).toBe('600\n')
  expectNew(root)
  const text = readFileSync(log, 'utf8')
  const count = (pattern: RegExp): number => [...text.matchAll(pattern)].length
  expect(count(/execve\("[^"]*\/cp".* = 0$/gm)).toBe(2)
  expect(count(/execve\("[^"]*\/getfacl".* = 0$/gm)).toBe(2)
  expect(count(/fsync\(\d+<[^>]*\.kvx-new>/g)).toBe(600)
  // In the order of their paths: 300 of a and 212 of b, then 88 of b.
  for (const [folder, times] of [
    ['a', 1],
    ['b', 2],
  ] as const) {
    const own = text.split(`fsync(`).filter((line) => line.includes(`<${join(root, folder)}>`))
    expect(own).toHaveLength(times)
  }
})

it('takes fewer at once where few files may be open', async () => {
  const root = manyFiles(130)
  const { stdout, stderr } = await swapAll(root, ['prlimit', '--nofile=100:100'])
  expect(stdout, stderr).toBe('130\n')
  expectNew(root)
})

it.each([26, 28, 30, 32])(
  'says so where %i open files do not suffice, and leaves nothing behind',
  async (limit) => {
    const root = manyFiles(6)
    const { stdout, stderr } = await swapAll(root, ['prlimit', `--nofile=${limit}:${limit}`])
    if (stdout === '6\n') return expectNew(root)
    expect(stderr).toContain('RESOURCE_LIMIT')
    const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.includes('/'),
    )
    expect(names).toHaveLength(6)
    for (const name of names) expect(readFileSync(join(root, name), 'utf8')).toBe('old')
  },
)

it('holds a few MiB of files at once, and each large one by itself', async () => {
  const root = directoryWith({})
  const sizes = {
    large: 1_048_577,
    m1: 1_000_000,
    m2: 1_000_000,
    m3: 1_000_000,
    m4: 1_000_000,
    m5: 1_000_000,
  }
  for (const [name, size] of Object.entries(sizes)) {
    writeFileSync(join(root, name), '')
    truncateSync(join(root, name), size)
  }
  const target = { name: 'docs', path: root }
  const directory: Directory = {
    target,
    match: compileGlob('*'),
    format: fileFormat,
    isOnline: false,
    isStreamed: false,
    touched: new Set(),
    folders: new HeldFolders(target),
  }
  const paths = [...Object.keys(sizes), undefined, 'gone']
  expect(groupsOf(directory, paths)).toEqual([['m1', 'm2', 'm3', 'm4'], ['m5', 'gone'], ['large']])
  const many = Array.from({ length: 9 }, (_, index) => `none${index}`)
  expect(groupsOf({ ...directory, isOnline: true }, many).map(({ length }) => length)).toEqual([4, 4, 1])
})
