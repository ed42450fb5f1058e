import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { gently, isGivingWay } from '../../../src/migration/giving-way.ts'
import { opens, type SealedRow, sealRow, ServerApplication } from '../../support/server-application.ts'
import { untested } from '../../support/rotations.ts'
import { makeDatabase, openStore, readAll, recordSet, usePostgres } from './fixture.ts'

const postgres = usePostgres()
const rows = 150

async function rotated(): Promise<{
  readonly app: ServerApplication
  readonly moved: () => Promise<number>
  readonly movedIds: () => Promise<readonly string[]>
}> {
  const { server } = postgres
  const kek = randomBytes(32)
  const url = await makeDatabase(
    server,
    'CREATE TABLE secrets (id uuid PRIMARY KEY, enc_blob bytea NOT NULL, dek_encrypted bytea NOT NULL)',
  )
  for (let count = 0; count < rows; count++) {
    const { id, enc_blob, dek_encrypted } = sealRow(kek)
    await server.sql(url, 'INSERT INTO secrets VALUES ($1, $2, $3)', [id, enc_blob, dek_encrypted])
  }
  const app = new ServerApplication(kek, '{ postgres: "${DATABASE_URL}" }', { DATABASE_URL: url })
  onTestFinished(() => app.close())
  app.begin()
  app.ok('rotate', 'master', '--offline', '--yes', ...untested)
  const movedIds = async (): Promise<readonly string[]> => {
    const found = (await server.sql(url, 'SELECT * FROM secrets')) as SealedRow[]
    return found.filter((row) => opens(app.kek(), row)).map(({ id }) => id)
  }
  return { app, movedIds, moved: async () => (await movedIds()).length }
}

it('moves everything beside an application, and says how long it gave way', async () => {
  const { app, moved } = await rotated()
  const result = app.ok('rewrap', '--yes', '--rate', 'auto').data as {
    readonly envelopes: readonly { readonly changed: number }[]
    readonly seconds: number
    readonly restedSeconds: number
  }
  expect(result.envelopes.map(({ changed }) => changed)).toEqual([rows])
  expect(result.restedSeconds).toBeGreaterThan(0)
  expect(result.restedSeconds).toBeLessThan(result.seconds)
  expect(await moved()).toBe(rows)
  app.ok('verify', '--rate', 'auto')
})

it('hears a signal between two batches, however many a page has, and has the old bytes of all that moved', async () => {
  const { app, moved, movedIds } = await rotated()
  const child = app.start('rewrap', '--yes', '--rate', 'auto', '--batch', '1')
  const ended = new Promise((done) => child.on('close', done))
  for (let tries = 0; tries < 6000 && (await moved()) === 0; tries++) await sleep(10)
  child.kill('SIGTERM')
  expect(await ended).toBe(10)
  // The first page has a hundred records.
  const before = await moved()
  expect(before).toBeGreaterThan(0)
  expect(before).toBeLessThan(100)
  const [run] = readdirSync(join(app.path, '.kvx/runs')).filter((name) =>
    existsSync(join(app.path, '.kvx/runs', name, 'backup/ciphertext.jsonl')),
  )
  const backup = readFileSync(join(app.path, '.kvx/runs', run ?? '', 'backup/ciphertext.jsonl'), 'utf8')
  expect((await movedIds()).filter((id) => !backup.includes(id))).toEqual([])
  app.ok('run', 'resume')
  expect(await moved()).toBe(rows)
})

it('rests longer while the server is slow to answer, and no longer when it is quick again', async () => {
  const { server } = postgres
  const url = await makeDatabase(
    server,
    "CREATE TABLE t (id int PRIMARY KEY, value text); INSERT INTO t SELECT n, 'v' FROM generate_series(1, 250) n",
  )
  const { store, rest } = gently(await openStore(url))
  expect(await readAll(store, recordSet(), 500)).toHaveLength(250)
  const quickAgain = async (): Promise<boolean> => {
    for (let rests = 0; rests < 500 && isGivingWay(); rests++) await rest()
    return !isGivingWay()
  }
  await rest()
  expect(await quickAgain()).toBe(true)
  const [backend] = await server.sql(
    url,
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'kvx' AND datname = current_database()",
  )
  const pid = Number(backend?.['pid'])
  // Its process has no processor for a while.
  process.kill(pid, 'SIGSTOP')
  const resting = rest()
  setTimeout(() => process.kill(pid, 'SIGCONT'), 300)
  await resting
  expect(isGivingWay()).toBe(true)
  expect(await quickAgain()).toBe(true)
})
