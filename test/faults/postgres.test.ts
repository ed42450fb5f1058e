import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type Cut, CuttingProxy } from '../support/cutting-proxy.ts'
import { type PostgresServer, postgresMissing, startPostgres } from '../support/postgres.ts'
import { untested } from '../support/rotations.ts'
import { PostgresSite } from './harness/sites.ts'

/** A server that dies, and connections that end around COMMIT, when nobody knows whether it was done. */

const missing = postgresMissing()
let server: PostgresServer
beforeAll(async () => {
  if (missing === undefined) server = await startPostgres()
})
afterAll(async () => server?.stop())

const rotate = ['rotate', 'master', '--offline', '--yes', ...untested]
const rewrap = ['rewrap', '--yes', '--batch', '4']

/** How many records each of the two versions opens. */
async function split(site: PostgresSite): Promise<readonly [number, number]> {
  const all = (await site.lost([])).length
  const opened = async (version: number): Promise<number> =>
    all - (await site.lost([site.material(version)])).length
  return [await opened(1), await opened(2)]
}

/** No record is lost, and none is there twice: each opens with exactly one of both versions. */
async function expectEachOnce(site: PostgresSite): Promise<void> {
  const [old, fresh] = await split(site)
  expect(old + fresh).toBe((await site.lost([])).length)
  await site.expectWhole()
}

describe.skipIf(missing !== undefined)('a rewrap in PostgreSQL', () => {
  test.each<Cut>(['before COMMIT', 'when COMMIT is sent', 'after COMMIT was answered'])(
    'whose connection is cut %s loses nothing, doubles nothing, and is resumed',
    async (cut) => {
      const proxy = await new CuttingProxy(server.socket).listen()
      const site = await PostgresSite.make(server, { through: proxy.folder })
      onTestFinished(async () => {
        await site.close()
        await proxy.close()
      })
      site.ok(...rotate)
      await site.keep()
      proxy.arm()
      expect((await site.start(...rewrap)).exit).toBe(0)
      const commits = proxy.commits
      expect(commits).toBeGreaterThanOrEqual(3)
      for (let at = 1; at <= commits; at++) {
        await site.reset()
        proxy.arm(at, cut)
        const { exit, said } = await site.start(...rewrap)
        expect(exit, said).toBe(9)
        await expectEachOnce(site)
        proxy.arm()
        const finish = site.openRun() === undefined ? rewrap : ['run', 'resume']
        const { exit: then, said: told } = await site.start(...finish)
        expect(then, told).toBe(0)
        await site.expectUnder(2)
      }
    },
  )

  test('goes on when the server was killed in its middle and started again', async () => {
    const site = await PostgresSite.make(server)
    onTestFinished(async () => site.close())
    site.ok(...rotate)
    const slow = site.app.start('rewrap', '--yes', '--batch', '1', '--rate', '20')
    const ended = once(slow, 'close')
    while ((await split(site))[1] < 3) await sleep(10)
    await server.kill()
    const [exit] = (await ended) as [number | null]
    await server.start()
    expect(exit).toBe(9)
    const [old, fresh] = await split(site)
    expect(fresh).toBeGreaterThanOrEqual(3)
    expect(old).toBeGreaterThan(0)
    await expectEachOnce(site)
    site.ok('run', 'resume')
    await site.expectUnder(2)
  })
})
