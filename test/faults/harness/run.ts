/**
 * `npm run faults`: every mutating command killed at each of its calls, with each error and short write at each of its calls,
 * with signals and lost readers at one call in 24, with power cuts, and adversaries. Prints the tables of
 * `docs/reliability.md`; `--write` puts them there.
 *
 *   --minutes N    a sample of all points that takes about so long
 *   --part K/N     the K-th of N equal parts of all points, those of signals too: N runs try every point once
 *   --most N       so many points and states of each command, whatever time they take
 *   --only TEXT    commands whose name and store contain it; `adversaries` for those alone
 *   --fault NAME   this kind of fault alone, e.g. EIO, and no power cuts
 *   --mutants      plants faults into a copy of kvx instead; each must be found
 */
import { existsSync, readFileSync, statfsSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../../support/cli.ts'
import { adversaries } from './adversaries.ts'
import { type Row, type Scenario, tryScenario, withSites } from './engine.ts'
import { type PowerRow, tryPowerCuts } from './power.ts'
import { allRecoveries } from './recoveries.ts'
import { faultTable, kindTable, powerTable } from './report.ts'
import { allScenarios, Kit } from './scenarios.ts'
import { shimMissing } from './shim.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string' },
    most: { type: 'string' },
    part: { type: 'string' },
    only: { type: 'string' },
    fault: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})

/** More than processors: each waits for the disk and for its children now and then. */
const lanes = 3

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

function sayBad(title: string, bad: readonly string[]): void {
  for (const one of bad) say(`  BAD ${title}: ${one.replaceAll(/\s+/g, ' ').slice(0, 900)}`)
}

type Results = { readonly rows: Row[]; readonly power: PowerRow[]; readonly bad: string[] }

const part = /^(\d+)\/(\d+)$/
  .exec(values.part ?? '')
  ?.slice(1)
  .map(Number)
const fixed = {
  ...(values.most === undefined ? {} : { most: Number(values.most) }),
  ...(part === undefined ? {} : { part: { at: (part[0] ?? 1) - 1, of: part[1] ?? 1 } }),
  ...(part !== undefined || values.fault !== undefined ? {} : { outside: 24 }),
}
const sampled = values.minutes === undefined ? undefined : Number(values.minutes) * 60_000
const secondsOfPower = 3

function powerLimits(end: number): Parameters<typeof tryPowerCuts>[2] {
  if (values.most !== undefined) return { most: Number(values.most), each: 8 }
  return { until: sampled === undefined ? performance.now() + secondsOfPower * 1000 : end, each: 10 }
}

/** @param seconds that the command has, its preparation included; three fifths of what is left then are for its faults */
async function tryOne(scenario: Scenario, seconds: number, results: Results): Promise<void> {
  const started = performance.now()
  const end = started + seconds * 1000
  const title = `${scenario.title} (${scenario.store})`
  const only = values.fault === undefined ? {} : { only: [values.fault] }
  await withSites(scenario, lanes, async (sites) => {
    const now = performance.now()
    const until = sampled === undefined ? {} : { until: now + Math.max(0, end - now) * 0.6 }
    const rows = await tryScenario(scenario, sites, { ...fixed, ...until, ...only })
    for (const row of rows) sayBad(`${title} ${row.fault}`, row.bad)
    results.rows.push(...rows)
    const isModelled = scenario.store !== 'PostgreSQL' && values.fault === undefined
    const cut = !isModelled ? [] : await tryPowerCuts(scenario, sites, powerLimits(end))
    for (const row of cut) sayBad(`${title} power cut, ${row.model}`, row.bad)
    results.power.push(...cut)
    const spent = Math.round((performance.now() - started) / 1000)
    const tried = rows.reduce((sum, row) => sum + row.tried, 0)
    say(`${title}: ${tried} points, ${cut.reduce((sum, row) => sum + row.looked, 0)} states, ${spent} s`)
  })
}

const wantedAdversaries = adversaries.filter(({ title }) => wanted(`adversaries ${title}`))

async function tryAll(): Promise<boolean> {
  const kit = new Kit()
  const results: Results = { rows: [], power: [], bad: [] }
  try {
    const scenarios = [...allScenarios(kit), ...allRecoveries(kit)].filter(({ title, store }) =>
      wanted(`${title} ${store}`),
    )
    if (scenarios.length + wantedAdversaries.length === 0) {
      say(`no command and no adversary is called ${values.only}`)
      return false
    }
    for (const { title, work } of wantedAdversaries) {
      const bad = await work(kit).then(
        () => [],
        (error: unknown) => [String(error)],
      )
      sayBad(title, bad)
      results.bad.push(...bad)
      say(`${title}: ${bad.length === 0 ? 'as promised' : 'BAD'}`)
    }
    const end = performance.now() + (sampled ?? Infinity)
    for (const [index, scenario] of scenarios.entries()) {
      const left = (end - performance.now()) / 1000
      const seconds = Math.max(5, left / (scenarios.length - index))
      await tryOne(scenario, seconds, results).catch((error: unknown) => {
        sayBad(scenario.title, [String(error)])
        results.bad.push(String(error))
      })
    }
  } finally {
    await kit.close()
  }
  print(results)
  return results.bad.length + [...results.rows, ...results.power].flatMap(({ bad }) => bad).length === 0
}

function wanted(name: string): boolean {
  return values.only === undefined || name.includes(values.only)
}

function print({ rows, power, bad }: Results): void {
  const parts = [
    ...(rows.length === 0
      ? []
      : [faultTable(rows), kindTable(rows), ...(power.length === 0 ? [] : [powerTable(power)])]),
    `Adversaries: ${wantedAdversaries.map(({ title }) => title).join(', ') || 'none'}. Bad: ${bad.length}.`,
    `It took ${Math.ceil(performance.now() / 60_000)} minutes on ${availableParallelism()} processors.`,
  ]
  const text = `${parts.join('\n\n')}\n`
  process.stdout.write(text)
  if (values.write && values.only === undefined && values.fault === undefined) writePart('measured', text)
}

/** Puts text between its marks in the page. */
function writePart(mark: string, text: string): void {
  const page = join(root, 'docs/reliability.md')
  const [begin, end] = [`<!-- ${mark} -->`, `<!-- /${mark} -->`]
  const current = readFileSync(page, 'utf8')
  const [head, tail] = [current.split(begin)[0] ?? '', current.split(end)[1] ?? '']
  writeFileSync(page, `${head}${begin}\n\n${text}\n${end}${tail}`)
}

/** The calls are counted and broken in the C library: which file system is below makes no difference, and memory is quicker. */
function sitesInMemory(): void {
  const memory = '/dev/shm'
  const least = 1_000_000_000
  if (!existsSync(memory)) return
  const { bavail, bsize } = statfsSync(memory)
  if (bavail * bsize > least) process.env['KVX_TEST_SITES'] ??= memory
}

sitesInMemory()
const missing = shimMissing()
if (missing !== undefined) {
  say(`the harness ${missing}`)
  process.exit(9)
}
if (values.mutants) {
  const { tryMutants } = await import('./mutants.ts')
  const { table, survived } = await tryMutants(say, values.only)
  process.stdout.write(table)
  if (values.write) writePart('mutants', table)
  process.exitCode = survived === 0 ? 0 : 1
} else {
  process.exitCode = (await tryAll()) ? 0 : 1
}
