import { afterAll, describe, expect, test } from 'vitest'
import { commandFacts } from '../support/commands.ts'
import { DocumentSites } from './document-site.ts'
import { shownLines } from './lines.ts'
import { page, writtenPages } from './pages.ts'
import { isWhole, spansOf } from './sentences.ts'
import { play } from './situation.ts'
import { situationOf } from './situations.ts'

/*
 * Whole commands in the sentences of the documents, typed: each that no block and no example of the help has, at a
 * site of its own. What is a name of a command, or has something to fill in, is parsed (references.test.ts).
 */

const pages = writtenPages()
const commands = await commandFacts()
const shown = new Set([...pages, page('docs/commands.md')].flatMap(shownLines).map(({ line }) => line))
const spans = new Set(pages.flatMap(spansOf))
const whole = [...spans].filter((span) => isWhole(commands, span))

/** What is parsed and not run here: names of commands, which alone ask for the rest. */
const names = ['kvx destroy', 'kvx check', 'kvx check --recursive', 'kvx plan rewrap']
const toRun = whole.filter((span) => !shown.has(span) && !names.includes(span))

const sites = new DocumentSites()
afterAll(() => sites.close())

test('every whole command is run here, in a block, as an example, or is a name', () => {
  expect(toRun.filter((span) => situationOf(span) === undefined)).toEqual([])
  expect(whole.length).toBeGreaterThan(50)
  expect(names.filter((span) => !whole.includes(span))).toEqual([])
})

describe('the command', () => {
  test.for(toRun)('%s', async (span, context) => {
    const situation = situationOf(span)
    if (situation === undefined) throw new Error('nobody said where')
    await play(context, sites, situation, span)
  })
})
