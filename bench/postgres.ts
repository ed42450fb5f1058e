import { randomBytes } from 'node:crypto'
import { sealRow, ServerApplication } from '../test/support/server-application.ts'
import { startPostgres, type PostgresServer } from '../test/support/postgres.ts'
import { Client } from 'pg'
import { beside, type Row, timed } from './measure.ts'

const reason = ['--without-backup', '--reason', 'a benchmark']

/** `kvx rewrap` in PostgreSQL beside one bare UPDATE, and beside a program that takes row after row. */
export async function inPostgres(rows: number): Promise<readonly Row[]> {
  // The machine's disk decides for both sides: commits wait for it, as in production.
  const server = await startPostgres(['fsync=on'])
  try {
    const shown = rows.toLocaleString('en')
    const what = `\`kvx rewrap\` of ${shown} rows in PostgreSQL: plan, backup, swaps, read-back, full scan, report`
    const bare = `one \`UPDATE\` of that column in ${shown} rows`
    const loop = `a loop of one \`SELECT\` and one \`UPDATE\` a row, ${shown} rows`
    return [
      await beside({ what, beside: bare }, async () => compare(server, rows, bareUpdate)),
      await beside({ what, beside: loop }, async () => compare(server, rows, rowByRow)),
    ]
  } finally {
    await server.stop()
  }
}

type Work = (client: Client) => Promise<void>

async function compare(
  server: PostgresServer,
  rows: number,
  other: Work,
): Promise<{ readonly ms: number; readonly besideMs: number }> {
  const kek = randomBytes(32)
  const url = await server.createDatabase()
  const client = new Client({ connectionString: url })
  await client.connect()
  const app = new ServerApplication(kek, '{ postgres: "${DATABASE_URL}" }', { DATABASE_URL: url })
  try {
    await fill(client, kek, rows)
    const besideMs = await timed(async () => other(client))
    app.begin()
    app.ok('rotate', 'master', '--offline', '--yes', ...reason)
    const ms = await timed(() => app.ok('rewrap', '--yes', '--batch', '2000'))
    return { ms, besideMs }
  } finally {
    app.close()
    await client.end()
  }
}

/** The rows, and a copy of their table for the other side. */
async function fill(client: Client, kek: Buffer, rows: number): Promise<void> {
  await client.query('CREATE TABLE secrets (id uuid PRIMARY KEY, enc_blob bytea, dek_encrypted bytea)')
  const piece = 1000
  for (let at = 0; at < rows; at += piece) {
    const made = Array.from({ length: Math.min(piece, rows - at) }, () => sealRow(kek))
    await client.query('INSERT INTO secrets SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::bytea[])', [
      made.map(({ id }) => id),
      made.map(({ enc_blob }) => enc_blob),
      made.map(({ dek_encrypted }) => dek_encrypted),
    ])
  }
  await client.query(
    'CREATE TABLE other (LIKE secrets INCLUDING ALL); INSERT INTO other SELECT * FROM secrets',
  )
}

async function bareUpdate(client: Client): Promise<void> {
  await client.query(
    'UPDATE other SET dek_encrypted = set_byte(dek_encrypted, 0, (get_byte(dek_encrypted, 0) + 1) % 256)',
  )
}

async function rowByRow(client: Client): Promise<void> {
  const { rows } = await client.query<{ id: string }>('SELECT id FROM other')
  for (const { id } of rows) {
    const found = await client.query<{ dek_encrypted: Buffer }>(
      'SELECT dek_encrypted FROM other WHERE id = $1',
      [id],
    )
    await client.query('UPDATE other SET dek_encrypted = $2 WHERE id = $1', [
      id,
      found.rows[0]?.dek_encrypted,
    ])
  }
}
