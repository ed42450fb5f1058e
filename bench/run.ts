/**
 * `npm run bench`: a Markdown table of ratios, each measured in this one run; `--write` puts it into
 * `docs/benchmarks.md`. `--rows N` takes another number of rows than 100,000.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { checkTree } from './check-tree.ts'
import { rounds, type Row, table } from './measure.ts'
import { inPostgres } from './postgres.ts'
import { inMemory, throughTheCli } from './rewrap.ts'
import { startUp } from './start-up.ts'
import { benchVault } from './vault.ts'

const { values } = parseArgs({
  options: { write: { type: 'boolean', default: false }, rows: { type: 'string', default: '100000' } },
})

const rows: Row[] = []
for (const measure of [
  startUp,
  checkTree,
  async () => [await inMemory()],
  async () => [await throughTheCli(Number(values.rows))],
  async () => inPostgres(Number(values.rows)),
  async () => benchVault(),
]) {
  rows.push(...(await measure()))
}

const machine = `Node ${process.versions.node}, ${cpus().length} processors, medians of ${rounds} rounds.`
const text = `${table(rows)}\n\n${machine}\n`
process.stdout.write(text)

if (values.write) {
  const page = join(import.meta.dirname, '../docs/benchmarks.md')
  const [begin, end] = ['<!-- measured -->', '<!-- /measured -->']
  const current = readFileSync(page, 'utf8')
  const [head, tail] = [current.split(begin)[0] ?? '', current.split(end)[1] ?? '']
  writeFileSync(page, `${head}${begin}\n\n${text}\n${end}${tail}`)
}
