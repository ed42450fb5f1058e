import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { kvxJson, startKvx } from '../support/cli.ts'
import { type PostgresServer, postgresMissing, startPostgres } from '../support/postgres.ts'
import { untested } from '../support/rotations.ts'
import { PostgresSite } from './harness/sites.ts'

/** Two hosts, each with a configuration and a home of its own, that know the same keys and one database server. */

const missing = postgresMissing()
let server: PostgresServer
beforeAll(async () => {
  if (missing === undefined) server = await startPostgres()
})
afterAll(async () => server?.stop())

const rotate = ['rotate', 'master', '--offline', '--yes', ...untested]

type Host = { readonly path: string; readonly env: Readonly<Record<string, string>> }

/** A site whose key was rotated, and another host that took over its home. */
async function twoHosts(): Promise<{ readonly site: PostgresSite; readonly other: Host }> {
  const site = await PostgresSite.make(server)
  onTestFinished(async () => site.close())
  site.ok(...rotate)
  const path = mkdtempSync('/var/tmp/kvx-host-')
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  execFileSync('cp', ['-a', `${site.path}/.`, path])
  return { site, other: { path, env: { ...site.env, HOME: path, GNUPGHOME: join(path, 'no-gnupg') } } }
}

function start(host: Host, ...args: readonly string[]) {
  const child = startKvx(args, { cwd: host.path, env: host.env })
  onTestFinished(() => void child.kill('SIGKILL'))
  const ended = once(child, 'close') as Promise<[number | null]>
  return { child, ended }
}

async function moved(site: PostgresSite): Promise<number> {
  return (await site.lost([site.material(1)])).length
}

describe.skipIf(missing !== undefined)('two hosts with one database', () => {
  test('work in it one at a time: the other learns who, and goes on at once when that one died', async () => {
    const { site, other } = await twoHosts()
    const first = start(site, 'rewrap', '--yes', '--batch', '1', '--rate', '2')
    while ((await moved(site)) === 0) await sleep(20)
    for (const args of [
      ['rewrap', '--yes'],
      ['retire', 'master@1', '--confirm', 'master@1'],
    ]) {
      const { exit, error } = kvxJson(args, { cwd: other.path, env: other.env })
      expect([args, exit, error?.code]).toEqual([args, 8, 'LOCKED'])
      expect(error?.message).toMatch(`process ${first.child.pid} (server process`)
      expect(error?.hint).toContain('wait until it has ended')
    }
    first.child.kill('SIGKILL')
    await first.ended
    expect(await site.lost(site.keys())).toEqual([])
    const rest = kvxJson(['rewrap', '--yes'], { cwd: other.path, env: other.env })
    expect(rest.exit, JSON.stringify(rest.error)).toBe(0)
    await expect(site.lost([site.material(2)])).resolves.toEqual([])
    site.ok('run', 'resume')
    await site.expectUnder(2)
  })

  test('who begin at the same instant make one run, and lose nothing', async () => {
    const { site, other } = await twoHosts()
    const ends = await Promise.all(
      [site, other, site, other].map(
        async (host) => start(host, 'rewrap', '--yes', '--batch', '1', '--rate', '8').ended,
      ),
    )
    expect(ends.map(([exit]) => exit ?? -1).sort((a, b) => a - b)).toEqual([0, 8, 8, 8])
    expect(await site.lost([site.material(2)])).toEqual([])
  })

  test('do not mix their keys: a host that knows no newer version than the old one changes nothing', async () => {
    const { site, other } = await twoHosts()
    site.ok('rewrap', '--yes')
    site.ok('retire', 'master@1', '--confirm', 'master@1')
    site.ok(...rotate, '--then', 'data')
    const { exit, error } = kvxJson(['rewrap', '--yes'], { cwd: other.path, env: other.env })
    expect([exit, error?.code]).toEqual([5, 'UNREADABLE_RECORDS'])
    expect(await site.lost([site.material(3)])).toEqual([])
  })
})
