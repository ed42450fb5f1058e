import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { untested } from '../../support/rotations.ts'
import { opens, type SealedRow, sealRow, ServerApplication } from '../../support/server-application.ts'
import { useMariadb } from './fixture.ts'

const mariadb = useMariadb()
const rows = 60

async function openedBy(url: string, kek: Buffer): Promise<number> {
  const found = await mariadb.server.sql(url, 'SELECT * FROM secrets', [])
  return found.filter((row) => opens(kek, row as SealedRow)).length
}

it('rotates, is killed, goes on and retires, while a second home waits outside', async () => {
  const { server } = mariadb
  const kek = randomBytes(32)
  const url = await server.createDatabase()
  await server.sql(
    url,
    'CREATE TABLE secrets (id char(36) PRIMARY KEY, enc_blob blob NOT NULL, dek_encrypted blob NOT NULL)',
  )
  for (let count = 0; count < rows; count++) {
    const { id, enc_blob, dek_encrypted } = sealRow(kek)
    await server.sql(url, 'INSERT INTO secrets VALUES (?, ?, ?)', [id, enc_blob, dek_encrypted])
  }
  const [app, second] = [1, 2].map(() => {
    const made = new ServerApplication(kek, '{ mysql: "${DATABASE_URL}", statement-timeout: 60s }', {
      DATABASE_URL: url,
    })
    onTestFinished(() => made.close())
    return made.begin()
  })
  if (app === undefined || second === undefined) throw new Error('two were made')
  app.ok('verify', '--rate', 'auto')
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
  slow.kill('SIGKILL')
  await ended
  expect((await openedBy(url, kek)) + (await openedBy(url, app.kek()))).toBe(rows)
  app.ok('run', 'resume')
  expect([await openedBy(url, kek), await openedBy(url, app.kek())]).toEqual([0, rows])
  app.ok('retire', 'master@1', '--confirm', 'master@1')
})
