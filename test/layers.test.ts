import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { expect, it } from 'vitest'

const root = join(import.meta.dirname, '..')

type Import = {
  readonly file: string
  readonly target: string
  readonly builtin: boolean
  readonly local: boolean
}

function sourceFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.m?ts$/.test(file))
    .map((file) => join(folder, file))
}

/** Every import of every source file, type-only ones included: a layer is about what one may know. */
function imports(): Import[] {
  const files = [...sourceFiles('src'), ...sourceFiles('commands')]
  return files.flatMap((file) => {
    const text = readFileSync(join(root, file), 'utf8')
    const found = text.matchAll(
      /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s+'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/g,
    )
    return [...found].map((match) => {
      const name = match[1] ?? match[2] ?? ''
      const local = name.startsWith('.')
      const target = local ? relative(root, resolve(root, dirname(file), name)) : name
      return { file, target, builtin: name.startsWith('node:'), local }
    })
  })
}

const all = imports()
const area = (path: string): string =>
  path.startsWith('commands/') ? 'commands' : path.split('/').slice(0, 2).join('/')

const below = ['src/core', 'src/platform']
const workings = [
  ...below,
  'src/config',
  'src/audit',
  'src/backup',
  'src/templates',
  'src/keyring',
  'src/stores',
  'src/vault',
  'src/approvals',
  'src/version.ts',
]

/** What each area may import of ours, itself excepted. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  'src/core': [],
  'src/platform': ['src/core'],
  // Only open-store.ts: drivers take plain options.
  'src/stores': [...below, 'src/config'],
  'src/checks': below,
  'src/audit': below,
  'src/templates': below,
  'src/backup': [...below, 'src/templates'],
  'src/approvals': [...below, 'src/config', 'src/backup'],
  'src/config': below,
  'src/vault': [...below, 'src/stores'],
  'src/keyring': [...below, 'src/config', 'src/audit', 'src/backup', 'src/version.ts'],
  'src/ceremony': [
    ...below,
    'src/config',
    'src/audit',
    'src/templates',
    'src/backup',
    'src/keyring',
    'src/version.ts',
  ],
  'src/migration': workings,
  'src/ui': [...workings, 'src/ceremony', 'src/migration', 'src/checks'],
  commands: [...workings, 'src/ceremony', 'src/migration', 'src/checks', 'src/ui'],
}

function violations(wrong: (one: Import) => boolean): string[] {
  return all.filter(wrong).map(({ file, target }) => `${file} imports ${target}`)
}

it('sees the imports that it judges', () => {
  expect(all.length).toBeGreaterThan(200)
})

it('lets areas import only those below them', () => {
  const wrong = violations(({ file, target, local }) => {
    if (!local || area(file) === area(target)) return false
    const list = allowed[area(file)]
    return list !== undefined && !list.includes(area(target))
  })
  expect(wrong).toEqual([])
})

it('keeps oclif inside commands', () => {
  expect(
    violations(({ file, target }) => target.startsWith('@oclif/') && !file.startsWith('commands/')),
  ).toEqual([])
})

it('keeps core pure: node:crypto, node:util for printing, noble and the Shamir package only', () => {
  const pure = /^(node:(crypto|util)|@noble\/|shamir-secret-sharing$)/
  expect(
    violations(({ file, target, local }) => file.startsWith('src/core/') && !local && !pure.test(target)),
  ).toEqual([])
})

it('keeps the file system inside platform and drivers', () => {
  const door = /^src\/(platform|stores\/[a-z0-9-]+)\//
  expect(violations(({ file, target }) => target.startsWith('node:fs') && !door.test(file))).toEqual([])
})

it('keeps child processes inside platform', () => {
  const starts = /^node:child_process$/
  expect(violations(({ file, target }) => starts.test(target) && !file.startsWith('src/platform/'))).toEqual(
    [],
  )
})

it('keeps SQLite inside its driver and the journal', () => {
  const door = /^src\/(stores\/sqlite\/|migration\/journal\.ts)/
  expect(violations(({ file, target }) => target === 'node:sqlite' && !door.test(file))).toEqual([])
})

it('keeps prompts and terminal libraries inside ui', () => {
  expect(
    violations(({ file, target }) => target.startsWith('@inquirer/') && !file.startsWith('src/ui/')),
  ).toEqual([])
})
