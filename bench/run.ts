/**
 * `npm run bench`: tables of ratios, each measured in this one run; `--write` puts them into `docs/performance.md`.
 * `--rows N` takes another number of rows than 100,000 (`--rows 1000000`), `--large` adds a vault of 4 GiB and 100,000
 * files, `--quick` takes a minute, `--json` prints data. `--growth 10000,10000000` measures nothing but one rewrap of
 * each of these numbers of records: 10^7 of them take three quarters of an hour and 15 GB under /var/tmp.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { checkTree } from './check-tree.ts'
import { inFiles } from './files.ts'
import { type Growth, growth, growthTable, scaleTable } from './growth.ts'
import { machineFacts } from './machine.ts'
import { type Row, type Scale, table as ratioTable } from './measure.ts'
import { inPostgres, withPostgres } from './postgres.ts'
import { inMemory } from './rewrap.ts'
import { inSqlite } from './sqlite.ts'
import { startUp } from './start-up.ts'
import { besidePgbench } from './throttle.ts'
import { benchVault } from './vault.ts'

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    rows: { type: 'string' },
    large: { type: 'boolean', default: false },
    growth: { type: 'string' },
  },
})

const rows = Number(values.rows ?? (values.quick ? 2000 : 100_000))
const scale: Scale = values.quick
  ? { rounds: 1, rows, growth: [Math.ceil(rows / 4), rows], vaultMiB: 16, files: 50, memoryRecords: 2000 }
  : {
      rounds: 5,
      rows,
      growth: [10_000, 30_000, Math.max(rows, 100_000)],
      vaultMiB: 512,
      files: 2000,
      memoryRecords: 20_000,
    }
// A whole run of a million rows takes minutes: three rounds tell as much as five.
const large = { ...scale, rounds: Math.min(scale.rounds, rows > 300_000 ? 1 : 3) }

const measured: Row[] = []
const add = (...more: readonly Row[]): void => {
  measured.push(...more)
  for (const { what } of more) process.stderr.write(`measured: ${what}\n`)
}
const grown =
  values.growth === undefined ? await measureAll() : await growthOf(values.growth.split(',').map(Number))

const machine = machineFacts(scale.rounds)
const table = [ratioTable(measured), machine].join('\n\n')
const ofGrowth = [
  'Growth of the whole command:',
  growthTable(grown),
  'What more records need, by the slope between the last two of each store:',
  scaleTable(grown),
].join('\n\n')
process.stdout.write(
  values.json
    ? `${JSON.stringify({ rows: measured, growth: grown, machine })}\n`
    : `${values.growth === undefined ? `${table}\n\n` : ''}${ofGrowth}\n`,
)

if (values.write) {
  if (values.growth === undefined) write('measured', table)
  write('growth', ofGrowth)
}

async function measureAll(): Promise<readonly Growth[]> {
  add(...(await startUp(scale)))
  if (!values.quick) add(await checkTree(scale))
  add(...(await inMemory(scale)))
  add(...(await benchVault(scale)))
  add(...(await inFiles(large)))
  if (values.large) {
    // What takes minutes tells as much in one round.
    add(...(await benchVault({ vaultMiB: 4096, rounds: 1 })))
    add(...(await inFiles({ files: 100_000, rounds: 1 })))
  }
  add(...(await inSqlite(large)))
  const withServer = await withPostgres(async (server) => {
    add(...(await inPostgres(server, large)))
    add(...(await besidePgbench(server, { rounds: Math.min(scale.rounds, 3), rows: Math.min(rows, 10_000) })))
    return await growth(server, scale.growth)
  })
  return withServer ?? (await growth(undefined, scale.growth))
}

async function growthOf(sizes: readonly number[]): Promise<readonly Growth[]> {
  const withServer = await withPostgres((server) => growth(server, sizes))
  return withServer ?? (await growth(undefined, sizes))
}

/** Puts a text between the two marks of its name in the document. */
function write(name: string, text: string): void {
  const page = join(import.meta.dirname, '../docs/performance.md')
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  const current = readFileSync(page, 'utf8')
  const [head, tail] = [current.split(begin)[0] ?? '', current.split(end)[1] ?? '']
  writeFileSync(page, `${head}${begin}\n\n${text}\n\n${end}${tail}`)
}
