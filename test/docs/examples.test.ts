import { afterAll, describe, expect, test } from 'vitest'
import { DocumentSites } from './document-site.ts'
import { shownLines } from './lines.ts'
import { page } from './pages.ts'
import { play } from './situation.ts'
import { situationOf } from './situations.ts'

/*
 * The examples in the help of each command, typed: each one at a site of its own. `docs/commands.md` has them all,
 * as `kvx COMMAND --help` shows them.
 */

/** What is parsed and not run here, and why. */
const onlyParsed: readonly { readonly lines: RegExp; readonly because: string }[] = [
  { lines: /vault kv/, because: 'Debian has no Vault' },
  { lines: /ssh host/, because: 'needs a second host' },
]

const sites = new DocumentSites()
afterAll(() => sites.close())

const examples = shownLines(page('docs/commands.md')).map(({ line }) => line)
const toRun = examples.filter((line) => !onlyParsed.some(({ lines }) => lines.test(line)))

test('every example is run, or is in the short list of what cannot be', () => {
  expect(toRun.filter((line) => situationOf(line) === undefined)).toEqual([])
  expect(examples.length - toRun.length).toBe(2)
  expect(onlyParsed.filter(({ lines }) => !examples.some((line) => lines.test(line)))).toEqual([])
})

describe('the example', () => {
  test.for(toRun)('%s', async (line, context) => {
    const situation = situationOf(line)
    if (situation === undefined) throw new Error('nobody said where')
    await play(context, sites, situation, line)
  })
})
