import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../support/cli.ts'
import { page } from './pages.ts'

const rows = [...page('docs/ceremony-requirements.md').text.matchAll(/^\| C(\d+) \| .* \| (.*) \|$/gm)].map(
  ([, number = '', tests = '']) => ({
    number: Number(number),
    files: [...tests.matchAll(/`([^`]+)`/g)].map(([, file = '']) => file),
  }),
)

test('every requirement has its row, in order', () => {
  expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: 49 }, (_, at) => at + 1))
})

test('every row names tests, and each of them carries the number in a title', () => {
  const wrong = rows.flatMap(({ number, files }) =>
    files
      .filter((file) => !new RegExp(`['\`"]C${number} `).test(readFileSync(join(root, file), 'utf8')))
      .map((file) => `C${number}: ${file}`),
  )
  expect(wrong).toEqual([])
  expect(rows.filter(({ files }) => files.length === 0).map(({ number }) => `C${number}`)).toEqual([])
})
