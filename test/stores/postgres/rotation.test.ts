import { randomBytes } from 'node:crypto'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { untested } from '../../support/rotations.ts'
import { asRole } from '../../support/postgres.ts'
import { opens, type SealedRow, sealRow, ServerApplication } from '../../support/server-application.ts'
import { usePostgres } from './fixture.ts'

const postgres = usePostgres()
const rows = 60

async function makeSecrets(kek: Buffer): Promise<string> {
  const { server } = postgres
  const url = await server.createDatabase()
  await server.sql(
    url,
    'CREATE TABLE secrets (id uuid PRIMARY KEY, enc_blob bytea NOT NULL, dek_encrypted bytea NOT NULL, note text)',
  )
  for (let count = 0; count < rows; count++) {
    const { id, enc_blob, dek_encrypted } = sealRow(kek)
    await server.sql(url, 'INSERT INTO secrets VALUES ($1, $2, $3, $4)', [
      id,
      enc_blob,
      dek_encrypted,
      'note',
    ])
  }
  return url
}

async function makeApplication(): Promise<{ app: ServerApplication; url: string; kek: Buffer }> {
  const kek = randomBytes(32)
  const url = await makeSecrets(kek)
  return { app: another(kek, url).begin(), url, kek }
}

function another(kek: Buffer, url: string): ServerApplication {
  const app = new ServerApplication(kek, '{ postgres: "${DATABASE_URL}" }', { DATABASE_URL: url })
  onTestFinished(() => app.close())
  return app
}

async function openedBy(url: string, kek: Buffer): Promise<number> {
  const found = await postgres.server.sql(url, 'SELECT * FROM secrets')
  return found.filter((row) => opens(kek, row as SealedRow)).length
}

it('rotates the KEK of an application with its records in PostgreSQL, and retires the old one', async () => {
  const { app, url, kek } = await makeApplication()
  app.ok('verify')
  app.ok('rotate', 'master', '--offline', '--yes', ...untested)
  expect(await openedBy(url, kek)).toBe(rows)
  app.ok('rewrap', '--yes')
  expect([await openedBy(url, kek), await openedBy(url, app.kek())]).toEqual([0, rows])
  app.ok('verify')
  app.ok('retire', 'master@1', '--confirm', 'master@1')
  expect(app.kek('LOCAL_KEK_BASE64_OLD')).toHaveLength(0)
  // Nothing of the address is kept.
  const place = url.replace(/^.*@/, '')
  const kept = readdirSync(join(app.path, '.kvx'), { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  )
  const texts = kept.map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
  expect(texts.filter((text) => text.includes(`postgres@${place}`))).toEqual([])
})

it('goes on after kill -9, and a second run on the same database waits outside', async () => {
  const { app, url, kek } = await makeApplication()
  const second = another(kek, url).begin()
  const slow = app.start(
    'rotate',
    'master',
    '--offline',
    '--then',
    'data',
    '--yes',
    '--batch',
    '1',
    '--rate',
    '30',
    ...untested,
  )
  const ended = new Promise((done) => slow.on('close', done))
  for (let tries = 0; tries < 2000 && (await openedBy(url, kek)) > rows - 5; tries++) await sleep(10)
  const refused = second.json('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
  expect([refused.exit, refused.error?.code]).toEqual([8, 'LOCKED'])
  expect(refused.error?.message).toContain(`process ${slow.pid ?? 0}`)
  slow.kill('SIGKILL')
  await ended
  const left = await openedBy(url, kek)
  expect(left).toBeGreaterThan(0)
  expect(left + (await openedBy(url, app.kek()))).toBe(rows)
  app.ok('run', 'resume')
  expect([await openedBy(url, kek), await openedBy(url, app.kek())]).toEqual([0, rows])
  app.ok('retire', 'master@1', '--confirm', 'master@1')
})

it('brings the old bytes back, also of records that were deleted', async () => {
  const { app, url, kek } = await makeApplication()
  const { run } = app.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
  await postgres.server.sql(url, 'DELETE FROM secrets WHERE id IN (SELECT id FROM secrets LIMIT 7)')
  app.ok('run', 'restore', String(run), '--yes')
  expect(await openedBy(url, kek)).toBe(rows)
})

it('takes the address from a file, a command and a variable, and never shows it', async () => {
  const kek = randomBytes(32)
  const { server } = postgres
  const url = await makeSecrets(kek)
  await server.sql(
    url,
    `CREATE ROLE r${process.pid} LOGIN PASSWORD 'geheim'; GRANT SELECT, UPDATE ON secrets TO r${process.pid}`,
  )
  const secret = asRole(url, `r${process.pid}:geheim`)
  const folder = another(kek, url)
  writeFileSync(join(folder.path, 'url'), `${secret}\n`, { mode: 0o600 })
  const part = `{ postgres: "postgres://r${process.pid}:\${PW}@/${url.replace(/^.*@\//, '')}" }`
  for (const store of [
    '{ postgres: { file: url } }',
    `{ postgres: { command: [/bin/sh, -c, "printenv URL"], env: [URL] } }`,
    part,
  ]) {
    const app = new ServerApplication(kek, store, { URL: secret, PW: 'geheim' })
    onTestFinished(() => app.close())
    writeFileSync(join(app.path, 'url'), `${secret}\n`, { mode: 0o600 })
    app.begin()
    const shown = [app.run('verify'), app.run('status'), app.run('plan'), app.run('verify', '--json')]
    expect(shown[0]?.exit, shown[0]?.stderr).toBe(0)
    expect(JSON.stringify(shown)).not.toContain('geheim')
  }
  const missing = new ServerApplication(kek, '{ postgres: "${NOT_SET}" }', {})
  onTestFinished(() => missing.close())
  missing.begin()
  expect([missing.json('verify').exit, missing.json('verify').error?.message]).toEqual([
    2,
    'stores.app.postgres: the variable NOT_SET is not set',
  ])
})

it.each([
  'postgres://kvx:geheim@db.example/app',
  'postgres://kvx@db.example/app?password=geheim',
  'host=db password=geheim',
])('refuses a literal password with the way to write it, and does not repeat it', (address) => {
  const app = new ServerApplication(randomBytes(32), `{ postgres: "${address}" }`, {})
  onTestFinished(() => app.close())
  const { exit, stderr } = app.run('verify')
  expect([exit, stderr.includes('geheim')]).toEqual([2, false])
  expect(stderr).toContain('${}')
})
