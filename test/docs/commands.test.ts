import { afterAll, describe, expect, test } from 'vitest'
import { answered, DocumentSites, named, type } from './document-site.ts'
import { type ShownLine, shownLines } from './lines.ts'
import { page, writtenPages } from './pages.ts'
import { ceremony } from './places.ts'
import { alone, isIn, onlyParsed, type Scene, sceneOf, scenes } from './scenes.ts'
import { play } from './situation.ts'
import { situationOf } from './situations.ts'

/*
 * The lines that the documents give an operator to type, typed: each page at a site of its own, in the order of
 * the page. What stands in sentences is typed in sentences.test.ts; the guide has a test of its own.
 */

const sites = new DocumentSites()
afterAll(() => sites.close())

const lines = writtenPages()
  .filter(({ path }) => path !== 'docs/guide.md')
  .flatMap(shownLines)
const toRun = lines.filter((one) => !isIn(onlyParsed, one))
const inScenes = toRun.filter((one) => !isIn(alone, one))
const atOwnSites = toRun.filter((one) => isIn(alone, one))

test('every line is run, or is in the short list of what cannot be', () => {
  expect(inScenes.filter((one) => sceneOf(one) === undefined)).toEqual([])
  expect(atOwnSites.filter(({ line }) => situationOf(line) === undefined)).toEqual([])
  expect(lines.length - toRun.length).toBe(4)
  expect(toRun.length).toBeGreaterThan(100)
})

test('what is only parsed, and every scene, is about lines that are there', () => {
  const idle = [...onlyParsed, ...alone].filter(
    ({ page, lines: some }) => !lines.some((one) => one.page === page && some.test(one.line)),
  )
  expect([...idle, ...scenes.filter((scene) => linesOf(scene).length === 0)]).toEqual([])
})

const titled = scenes.map((scene) => ({
  title: [scene.page, scene.heading, scene.blocks].flat().join(' · '),
  scene,
}))

describe('the lines of the documents do what they say', () => {
  test.each(titled)('$title', async ({ scene }) => {
    let site = await begin(scene)
    for (const [at, { line }] of linesOf(scene).entries()) {
      if (scene.each === true && at > 0) site = await begin(scene)
      const asTyped = answered(named(site, sites, line))
      const { status, output } = type(site, asTyped)
      const wanted = scene.ends?.find(([which]) => which.test(line))?.[1] ?? 0
      expect({ line, status }, `${asTyped}\n${output}`).toEqual({ line, status: wanted })
      if (scene.after?.[0].test(line) === true) expect(type(site, scene.after[1]).status).toBe(0)
    }
  })
})

describe('at a site of its own', () => {
  // What the help has too is run by examples.test.ts.
  const examples = new Set(shownLines(page('docs/commands.md')).map(({ line }) => line))
  const own = atOwnSites
    .map(({ line }) => line)
    .filter((line) => !examples.has(line.replace('DIR', ceremony)))
  test.for(own)('%s', async (line, context) => {
    const situation = situationOf(line)
    if (situation === undefined) throw new Error('nobody said where')
    await play(context, sites, situation, line)
  })
})

function linesOf(scene: Scene): readonly ShownLine[] {
  return inScenes.filter((one) => sceneOf(one) === scene)
}

async function begin({ state, before }: Scene): ReturnType<DocumentSites['copy']> {
  const site = await sites.copy(state)
  if (before === undefined) return site
  const { status, output } = type(site, named(site, sites, before))
  expect(status, `${before}\n${output}`).toBe(0)
  return site
}
