import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { unreadableReasons } from '../../src/migration/envelope/reasons.ts'
import { commandFacts } from '../support/commands.ts'
import { root } from '../support/cli.ts'
import { page, writtenPages } from './pages.ts'

const pages = writtenPages()
const commands = await commandFacts()

/** Every `kvx …` that a page shows: lines of code blocks, and spans between backticks. */
function shownCommands(text: string): readonly string[] {
  const prose = text.replace(/```[\s\S]*?```/g, '').replace(/^ {4}.*$/gm, '')
  const spans = [...prose.matchAll(/`([^`\n]+)`/g)].map(([, span = '']) => span)
  const inBlocks = [...text.matchAll(/```(?:sh|console)?\n([\s\S]*?)```/g)].flatMap(([, block = '']) =>
    block.split('\n'),
  )
  const indented = [...text.matchAll(/^ {4}(\S.*)$/gm)].map(([, line = '']) => line)
  return [...spans, ...inBlocks, ...indented]
    .flatMap((line) => line.replace(/^\$ /, '').split(/ && | \| |; /))
    .map((line) => line.trim().replace(/ {2,}#.*$/, ''))
    .filter((line) => /^(\.\/bin\/)?kvx \S/.test(line) && !line.startsWith('kvx canary: '))
}

type Shown = { readonly id: string | undefined; readonly flags: readonly string[] }

function parseShown(line: string): Shown {
  // What stands in quotes is an argument, whatever it looks like.
  const words = line
    .replaceAll(/'[^']*'|"[^"]*"/g, 'TEXT')
    .split(' ')
    .slice(1)
  const flags = words.flatMap((word) => /^--([a-z-]+)/.exec(word)?.[1] ?? [])
  const names = words.filter((word) => /^[a-z][a-z-]*$/.test(word))
  const id = [names.slice(0, 2).join(':'), names[0] ?? ''].find((name) => commands.has(name))
  return { id, flags }
}

const shown = pages.flatMap(({ path, text }) => shownCommands(text).map((line) => ({ path, line })))

test('the documents show commands', () => expect(shown.length).toBeGreaterThan(100))

test('every command that the documents show exists, with its flags', () => {
  const wrong = shown.flatMap(({ path, line }) => {
    const [first = ''] = line.split(' ').slice(1)
    if (first.startsWith('-') || first === 'help' || first === '…' || first === 'COMMAND') return []
    const { id, flags } = parseShown(line)
    if (id === undefined) return [`${path}: ${line}`]
    const unknown = flags.filter((flag) => flag !== 'help' && commands.get(id)?.flags.has(flag) !== true)
    return unknown.map((flag) => `${path}: ${line} (--${flag})`)
  })
  expect(wrong).toEqual([])
})

test('every path of the project that the documents name exists', () => {
  const named = pages.flatMap(({ path, text }) =>
    [...text.matchAll(/`((?:docs|test|src|bench|commands|templates|tools|bin)\/[\w./-]*)`/g)].map(
      ([, to = '']) => ({ path, to }),
    ),
  )
  expect(named.length).toBeGreaterThan(30)
  expect(
    named.filter(({ to }) => !existsSync(join(root, to))).map(({ path, to }) => `${path}: ${to}`),
  ).toEqual([])
})

test('a folder of tests that the documents name has tests', () => {
  const folders = pages.flatMap(({ text }) =>
    [...text.matchAll(/`(test\/[\w/-]+)\/`/g)].map(([, to = '']) => to),
  )
  expect([...new Set(folders)].filter((folder) => testsIn(folder).length === 0)).toEqual([])
})

test('the README names every page', () => {
  const { text } = page('README.md')
  const all = readdirSync(join(root, 'docs')).filter((file) => file.endsWith('.md'))
  expect(all.filter((file) => !text.includes(`docs/${file}`))).toEqual([])
})

test('every reason for which a value does not open is explained', () => {
  const { text } = page('docs/operations.md')
  expect(Object.values(unreadableReasons).filter((reason) => !text.includes(`| ${reason} |`))).toEqual([])
})

test('the documents speak of the project alone', () => {
  const foreign = /\/work\/|registry\.|localhost/
  expect(pages.filter(({ text }) => foreign.test(text)).map(({ path }) => path)).toEqual([])
})

function testsIn(folder: string): readonly string[] {
  const files = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
  return files.filter((file) => file.endsWith('.test.ts'))
}
