/**
 * The latency of an application beside a run: 99 of 100 transactions of `pgbench` take no longer than p99. It works on
 * tables of its own in the same server, below what that can take, alone, beside a run at full speed, and beside one
 * that gives way.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import type { PostgresServer } from '../test/support/postgres.ts'
import { Installation } from './installation.ts'
import { type Pair, rowOf, type Row, type Scale } from './measure.ts'
import { fillPostgres } from './records.ts'

/** Four clients, and so many transactions a second of them all: a tenth of what two processors can do. */
const clients = 4
const perSecond = 100
/** Until it works at its speed, and until its log, which is written a page at a time, has what came before. */
const settleMs = 1500
const aim = 1.5

/** Why it cannot be measured here, or undefined. */
export function pgbenchMissing(): string | undefined {
  return spawnSync('pgbench', ['--version']).error === undefined ? undefined : 'needs `pgbench` (postgresql)'
}

/** p99 of pgbench beside both kinds of run; nothing where there is no pgbench. */
export async function besidePgbench(
  server: PostgresServer,
  { rows, rounds }: Pick<Scale, 'rows' | 'rounds'>,
): Promise<readonly Row[]> {
  const missing = pgbenchMissing()
  if (missing !== undefined) {
    process.stderr.write(`the latency beside a run is left out: ${missing}\n`)
    return []
  }
  const application = await Application.begin(server)
  const full: Pair[] = []
  const gentle: Pair[] = []
  for (let round = 0; round < rounds; round++) {
    full.push(await pair(server, application, rows))
    gentle.push(await pair(server, application, rows, '--rate', 'auto'))
  }
  const shown = rows.toLocaleString('en')
  const p99 = 'p99 of the transactions of `pgbench`'
  const names = (run: string): string => `${p99} beside \`${run}\` of ${shown} rows`
  const alone = 'the same, alone'
  return [
    rowOf({ what: names('kvx rewrap'), beside: alone }, full),
    rowOf({ what: names('kvx rewrap --rate auto'), beside: alone, target: aim }, gentle),
  ]
}

/** As long alone as beside the run, one after the other. */
async function pair(
  server: PostgresServer,
  application: Application,
  rows: number,
  ...flags: readonly string[]
): Promise<Pair> {
  const kek = randomBytes(32)
  const url = await server.createDatabase()
  const client = new Client({ connectionString: url })
  await client.connect()
  const installation = new Installation(kek, '{ postgres: "${DATABASE_URL}" }', { DATABASE_URL: url })
  try {
    await fillPostgres(client, kek, rows)
    await client.query('VACUUM ANALYZE')
    await client.query('CHECKPOINT')
    let took = 0
    const ms = await application.during(async () => {
      took = (await installation.move(rows, ...flags)).ms
      return took
    })
    await client.query('CHECKPOINT')
    const besideMs = await application.during(async () => {
      await sleep(took)
      return took
    })
    return { ms, besideMs }
  } finally {
    installation.close()
    await client.query('DROP TABLE secrets')
    await client.end()
  }
}

/** `pgbench` with its own database. */
class Application {
  readonly #url: string

  private constructor(url: string) {
    this.#url = url
  }

  static async begin(server: PostgresServer): Promise<Application> {
    const url = await server.createDatabase()
    const { status, stderr } = spawnSync('pgbench', ['-i', '-q', '-s', '2', url], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`pgbench -i: ${stderr}`)
    return new Application(url)
  }

  /**
   * p99 in milliseconds of the transactions that began and ended while the work went on.
   * @param work gives how long it took, from its beginning: what it looks at afterwards does not count
   */
  async during(work: () => Promise<number>): Promise<number> {
    const folder = mkdtempSync('/var/tmp/kvx-bench-')
    // Each transaction changes a row of its own and adds one: clients wait for the disk, not for each other.
    const args = [
      '-b',
      'simple-update',
      '-c',
      `${clients}`,
      '-R',
      `${perSecond}`,
      '-T',
      '100000',
      '-n',
      '-l',
      this.#url,
    ]
    const child = spawn('pgbench', args, { cwd: folder, stdio: 'ignore' })
    const ended = once(child, 'close')
    try {
      await sleep(settleMs)
      const from = Date.now()
      const to = from + (await work())
      await sleep(settleMs)
      child.kill('SIGKILL')
      await ended
      const found = latencies(folder, from, to)
      if (found.length === 0) throw new Error('pgbench did nothing beside the run')
      return quantile(found, 0.99)
    } finally {
      child.kill('SIGKILL')
      rmSync(folder, { recursive: true })
    }
  }
}

/** A line of the log: client, number, microseconds since it was due, script, end in seconds and microseconds. */
function latencies(folder: string, from: number, to: number): readonly number[] {
  const text = readdirSync(folder)
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('')
  return text
    .split('\n')
    .slice(0, -1)
    .flatMap((line) => {
      const [, , took = Number.NaN, , seconds = Number.NaN, rest = Number.NaN] = line.split(' ').map(Number)
      const ended = seconds * 1000 + rest / 1000
      return ended - took / 1000 >= from && ended <= to ? [took / 1000] : []
    })
}

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.ceil(sorted.length * part) - 1] ?? Number.NaN
}
