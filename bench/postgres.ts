import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { postgresMissing, startPostgres, type PostgresServer } from '../test/support/postgres.ts'
import { floorInPostgres } from './floor-postgres.ts'
import { Installation, type Rewrapped } from './installation.ts'
import { floorRows, rowOf, type Row, type Scale, timed } from './measure.ts'
import { fillPostgres } from './records.ts'

/** So many rows of the loop are enough to tell what one takes. */
const looped = 5000

/** What the server wrote into its log for the rewrap. */
export type InPostgres = Rewrapped & { readonly walBytes: number }

type Aside = { readonly bareMs: number; readonly loopMs: number; readonly floorMs: number }

/** With a server of its own, whose commits wait for the disk; undefined where none is installed. */
export async function withPostgres<T>(work: (server: PostgresServer) => Promise<T>): Promise<T | undefined> {
  const missing = postgresMissing()
  if (missing !== undefined) {
    process.stderr.write(`PostgreSQL is left out: ${missing}\n`)
    return undefined
  }
  const server = await startPostgres(['fsync=on', 'max_wal_size=4GB'])
  try {
    return await work(server)
  } finally {
    await server.stop()
  }
}

/**
 * `kvx rewrap` in PostgreSQL beside one bare UPDATE, beside the same laws by hand, and beside a program that takes row
 * after row.
 */
export async function inPostgres(server: PostgresServer, { rows, rounds }: Scale): Promise<readonly Row[]> {
  const measured: (InPostgres & Aside)[] = []
  for (let round = 0; round < rounds; round++)
    measured.push(
      await withTable(server, rows, async (table) => {
        const aside = await measureAside(table, rows)
        return { ...aside, ...(await rewrapTable(table, rows)) }
      }),
    )
  const shown = rows.toLocaleString('en')
  const what = `\`kvx rewrap\` of ${shown} rows in PostgreSQL: plan, backup, swaps, read-back, full scan, report`
  const bare = `one \`UPDATE\` of that column in ${shown} rows`
  const floor = `the same laws by hand in ${shown} rows of PostgreSQL`
  const loop = `a loop of one \`SELECT\` and one \`UPDATE\` a row, as many rows (timed over ${Math.min(looped, rows).toLocaleString('en')} of them)`
  return [
    ...floorRows({ what, bare, floor, target: 3 }, measured),
    rowOf(
      { what, beside: loop, target: 0.1 },
      measured.map(({ ms, loopMs: besideMs }) => ({ ms, besideMs })),
    ),
    rowOf(
      { what: floor, beside: loop },
      measured.map(({ floorMs: ms, loopMs: besideMs }) => ({ ms, besideMs })),
    ),
  ]
}

type Table = {
  readonly url: string
  readonly client: Client
  readonly kek: Buffer
  readonly installation: Installation
}

export async function rewrapOnce(server: PostgresServer, rows: number): Promise<InPostgres> {
  return await withTable(server, rows, async (table) => await rewrapTable(table, rows))
}

async function withTable<T>(
  server: PostgresServer,
  rows: number,
  work: (table: Table) => Promise<T>,
): Promise<T> {
  const kek = randomBytes(32)
  const url = await server.createDatabase()
  const client = new Client({ connectionString: url })
  await client.connect()
  const installation = new Installation(kek, '{ postgres: "${DATABASE_URL}" }', { DATABASE_URL: url })
  try {
    await fillPostgres(client, kek, rows)
    return await work({ url, client, kek, installation })
  } finally {
    installation.close()
    await client.query('DROP TABLE secrets')
    await client.end()
  }
}

async function rewrapTable({ client, installation }: Table, rows: number): Promise<InPostgres> {
  await client.query('VACUUM ANALYZE')
  await client.query('CHECKPOINT')
  const before = await position(client)
  const rewrapped = await installation.move(rows)
  return { ...rewrapped, walBytes: (await position(client)) - before }
}

/** On copies of the table, each as fresh as the one that kvx gets. */
async function measureAside({ url, client, kek, installation }: Table, rows: number): Promise<Aside> {
  const fresh = async (): Promise<void> => {
    await client.query('CREATE TABLE other (LIKE secrets INCLUDING ALL)')
    await client.query('INSERT INTO other SELECT * FROM secrets')
    await client.query('VACUUM ANALYZE')
    await client.query('CHECKPOINT')
  }
  await fresh()
  const bareMs = await timed(async () =>
    client.query('UPDATE other SET dek = set_byte(dek, 0, (get_byte(dek, 0) + 1) % 256)'),
  )
  const some = Math.min(looped, rows)
  const loopMs = ((await timed(async () => rowByRow(client, some))) / some) * rows
  await client.query('DROP TABLE other')
  await fresh()
  const keys = { old: kek, next: randomBytes(32) }
  const floorMs = await timed(async () => {
    const moved = await floorInPostgres(url, installation.file('floor-backup'), keys)
    if (moved !== rows) throw new Error('the floor did not move every record')
  })
  await client.query('DROP TABLE other')
  return { bareMs, loopMs, floorMs }
}

async function position(client: Client): Promise<number> {
  const { rows } = await client.query<{ at: string }>("SELECT pg_current_wal_lsn() - '0/0' AS at")
  return Number(rows[0]?.at)
}

async function rowByRow(client: Client, count: number): Promise<void> {
  const { rows } = await client.query<{ id: string }>(`SELECT id FROM other LIMIT ${count}`)
  for (const { id } of rows) {
    const found = await client.query<{ dek: Buffer }>('SELECT dek FROM other WHERE id = $1', [id])
    await client.query('UPDATE other SET dek = $2 WHERE id = $1', [id, found.rows[0]?.dek])
  }
}
