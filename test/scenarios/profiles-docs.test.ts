import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { declarations } from '../core/layout/declared.ts'
import { root } from '../support/cli.ts'

// Two tables of the documents against what they speak of: the vectors with their tests, and the profiles.

/** Rows of the tables of a page whose first cell matches, as cells. */
function rowsOf(page: string, first: RegExp): readonly (readonly string[])[] {
  return readFileSync(join(root, page), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.slice(2, -2).split(' | '))
    .filter(([cell = '']) => first.test(cell))
}

const vectors = readdirSync(join(root, 'test/vectors/layouts')).map((file) => file.replace('.json', ''))
const layoutRows = rowsOf('docs/envelopes.md', /^\d\d-[\w-]+$/)
const ways = ['moved by rewrap', 'DEK alone', 're-encrypted', 'converted from']

/** What becomes of a vector, as the declarations have it that the command line is tested with. */
function wayOf(file: string): readonly string[] {
  const own = declarations.filter((one) => one.file === file)
  const cases = [...new Set(own.map((one) => one.case))].map((number) =>
    own.filter((one) => one.case === number),
  )
  const found = cases.map((levels): string => {
    if (levels.some(({ test: legacy }) => legacy !== undefined)) return 'converted from'
    if (!levels.some(({ level }) => level === 'wrap')) return 're-encrypted'
    return levels.length === 1 ? 'DEK alone' : 'moved by rewrap'
  })
  return ways.filter((way) => found.includes(way))
}

test('every file of the vectors stands in the table of layouts once, in order', () => {
  expect(layoutRows.map(([file]) => file)).toEqual(vectors.toSorted())
})

test('the tests of vectors take every file, and what they do is what the table says', () => {
  expect(vectors.filter((file) => wayOf(file).length === 0)).toEqual([])
  const said = layoutRows.map(([file = '', , what = '']) => [file, what])
  expect(said).toEqual(vectors.toSorted().map((file) => [file, wayOf(file).join(' · ')]))
  const text = readFileSync(join(root, 'test/scenarios/vectors.test.ts'), 'utf8')
  expect(text).toContain("readdirSync(join(import.meta.dirname, '../vectors/layouts'))")
})

test('the counts of the survey add up, with a reason for each layout outside', () => {
  const counts = rowsOf('docs/envelopes.md', /^\d+$/).map(([count = '', what = '', why = '']) => ({
    count,
    what,
    why,
  }))
  expect(counts.reduce((sum, { count }) => sum + Number(count), 0)).toBe(76)
  const [inside, , , outside] = counts
  const parts = [...(inside?.why ?? '').matchAll(/\b(\d+) (?:with|more|that)/g)].map(([, number]) =>
    Number(number),
  )
  expect(parts.reduce((sum, number) => sum + number, 0)).toBe(Number(inside?.count))
  const text = readFileSync(join(root, 'docs/envelopes.md'), 'utf8')
  const [, table = ''] = /\| outside \| because \|\n\|.*\|\n((?:\|.*\n)+)/.exec(text) ?? []
  expect(table.trimEnd().split('\n')).toHaveLength(Number(outside?.count))
})

test('every profile stands in its table, with what proves it', () => {
  const rows = rowsOf('docs/profiles.md', /^`[\w-]+`$/)
  const files = readdirSync(join(root, 'templates/profiles')).map((file) => file.replace('.yaml', ''))
  expect(rows.map(([name = '']) => name.replaceAll('`', '')).toSorted()).toEqual(files.toSorted())
  for (const [name = '', , , , proof = ''] of rows) {
    const text = readFileSync(join(root, `templates/profiles/${name.replaceAll('`', '')}.yaml`), 'utf8')
    const [, proven = 'the seed document'] = /^# proven: (.*)$/m.exec(text) ?? []
    expect(proof.startsWith(proven), `${name}: ${proof}`).toBe(true)
  }
})

test('every profile has a scenario that goes to the retired key, with its name in the title', () => {
  const text = ['moved', 'forms', 'seeds']
    .map((part) => readFileSync(join(import.meta.dirname, `profiles-${part}.test.ts`), 'utf8'))
    .join('\n')
  const files = readdirSync(join(root, 'templates/profiles')).map((file) => file.replace('.yaml', ''))
  const titled = files.filter((name) => text.includes(`profile: '${name}'`) || text.includes(`test('${name}`))
  expect(titled.toSorted()).toEqual(files.toSorted())
})
