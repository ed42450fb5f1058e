import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { postgresMissing, startPostgres, type PostgresServer } from '../test/support/postgres.ts'
import { Installation, type Rewrapped } from './installation.ts'
import { rowOf, type Row, type Scale, timed } from './measure.ts'
import { fillPostgres } from './records.ts'

/** So many rows of the loop are enough to tell what one takes. */
const looped = 5000

export type InPostgres = Rewrapped & {
  readonly bareMs: number
  readonly loopMs: number
  /** What the server wrote into its log for the rewrap. */
  readonly walBytes: number
}

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

/** `kvx rewrap` in PostgreSQL beside one bare UPDATE, and beside a program that takes row after row. */
export async function inPostgres(server: PostgresServer, { rows, rounds }: Scale): Promise<readonly Row[]> {
  const shown = rows.toLocaleString('en')
  const what = `\`kvx rewrap\` of ${shown} rows in PostgreSQL: plan, backup, swaps, read-back, full scan, report`
  const measured: InPostgres[] = []
  for (let round = 0; round < rounds; round++) measured.push(await rewrapOnce(server, rows))
  return [
    rowOf(
      { what, beside: `one \`UPDATE\` of that column in ${shown} rows`, target: 3 },
      measured.map(({ ms, bareMs }) => ({ ms, besideMs: bareMs })),
    ),
    rowOf(
      {
        what,
        beside: `a loop of one \`SELECT\` and one \`UPDATE\` a row, as many rows (timed over ${Math.min(looped, rows).toLocaleString('en')} of them)`,
        target: 0.1,
      },
      measured.map(({ ms, loopMs }) => ({ ms, besideMs: loopMs })),
    ),
  ]
}

export async function rewrapOnce(server: PostgresServer, rows: number): Promise<InPostgres> {
  const kek = randomBytes(32)
  const url = await server.createDatabase()
  const client = new Client({ connectionString: url })
  await client.connect()
  const installation = new Installation(kek, '{ postgres: "${DATABASE_URL}" }', { DATABASE_URL: url })
  try {
    await fillPostgres(client, kek, rows)
    await client.query(
      'CREATE TABLE other (LIKE secrets INCLUDING ALL); INSERT INTO other SELECT * FROM secrets',
    )
    await client.query('VACUUM ANALYZE')
    await client.query('CHECKPOINT')
    const bareMs = await timed(async () =>
      client.query('UPDATE other SET dek = set_byte(dek, 0, (get_byte(dek, 0) + 1) % 256)'),
    )
    const some = Math.min(looped, rows)
    const loopMs = ((await timed(async () => rowByRow(client, some))) / some) * rows
    await client.query('CHECKPOINT')
    const before = await position(client)
    const rewrapped = await installation.move(rows)
    const walBytes = (await position(client)) - before
    return { ...rewrapped, bareMs, loopMs, walBytes }
  } finally {
    installation.close()
    await client.query('DROP TABLE secrets, other')
    await client.end()
  }
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
