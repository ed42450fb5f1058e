import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../support/cli.ts'
import { commandFacts } from '../support/commands.ts'
import { commandFiles, manifest } from '../../tools/build.ts'
import { type Manual, manualPages } from '../../tools/man.ts'
import { needsTool } from '../support/needs.ts'

const folder = join(root, 'dist/man')
const pages = readdirSync(folder)
const facts = await commandFacts()

/** Bold is a sign, a step back, and the sign again. */
function unstruck(text: string): string {
  return text
    .split('\b')
    .map((part, at, all) => (at < all.length - 1 ? part.slice(0, -1) : part))
    .join('')
}

test('there is a manual page for the program and for every command', () => {
  const names = [...facts.keys()].map((id) => `kvx-${id.replaceAll(':', '-')}.1`)
  expect(pages.toSorted()).toEqual(['kvx.1', ...names].toSorted())
})

test('the pages that were built are what the commands say', async () => {
  const made = manualPages(JSON.parse(await manifest(await commandFiles())) as Manual)
  for (const [name, text] of Object.entries(made)) expect(readFileSync(join(folder, name), 'utf8')).toBe(text)
})

test('mandoc has nothing to say against any of them', (context) => {
  needsTool(context, 'mandoc')
  const { stdout, stderr, status } = spawnSync('mandoc', ['-T', 'lint', '-W', 'warning', ...pages], {
    cwd: folder,
    encoding: 'utf8',
  })
  expect([stdout, stderr, status]).toEqual(['', '', 0])
})

test('a page shows every flag of its command, as it is typed', (context) => {
  needsTool(context, 'mandoc')
  for (const [id, { flags }] of facts) {
    const page = join(folder, `kvx-${id.replaceAll(':', '-')}.1`)
    const { stdout } = spawnSync('mandoc', ['-T', 'utf8', page], { encoding: 'utf8' })
    const text = unstruck(stdout)
    expect(
      [...flags].filter((flag) => !text.includes(`--${flag}`)),
      id,
    ).toEqual([])
  }
})
