import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { needsTool } from '../support/needs.ts'
import { type Armed, type Call, runShimmed, shimMissing } from './harness/shim.ts'
import type { Site } from './harness/site.ts'
import { allScenarios, Kit } from './harness/scenarios.ts'

/** The library that counts calls: what it counts is what happens, and nothing mutating passes it by. */

beforeEach((context) => {
  const missing = shimMissing()
  if (missing !== undefined) context.skip(missing)
})

const kit = new Kit()

async function siteOf(title: string, store: string): Promise<{ site: Site; args: readonly string[] }> {
  const scenario = allScenarios(kit).find((one) => one.title === title && one.store === store)
  if (scenario === undefined) throw new Error(`there is no ${title} on ${store}`)
  const site = await scenario.make()
  onTestFinished(async () => {
    await site.close()
    await kit.close()
  })
  return { site, args: scenario.args(site) }
}

/** System calls by the name that the shim gives them. */
const kinds: Readonly<Record<string, string>> = {
  ...{ write: 'write', writev: 'write', pwrite64: 'write', pwritev: 'write', ftruncate: 'size' },
  ...{ fsync: 'fsync', fdatasync: 'fsync', mkdir: 'mkdir', mkdirat: 'mkdir', rmdir: 'rmdir' },
  ...{ unlink: 'unlink', unlinkat: 'unlink', link: 'link', linkat: 'link' },
  ...{ rename: 'rename', renameat: 'rename', renameat2: 'exchange', fchmod: 'chmod', chmod: 'chmod' },
  ...{
    fchown: 'chown',
    chown: 'chown',
    fsetxattr: 'xattr',
    setxattr: 'xattr',
    openat: 'open',
    creat: 'open',
  },
  ...{ copy_file_range: 'copy', sendfile: 'copy', fallocate: 'fallocate' },
}

/** What strace saw below the folder, by kind. */
function seen(log: string, root: string): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const [, name = '', text = ''] of log.matchAll(/^\d+\s+(\w+)\((.*)$/gm)) {
    const rest = text.replaceAll(/AT_FDCWD<[^>]*>/g, 'AT_FDCWD')
    if (!rest.includes(root) && !rest.includes('"/proc/self/fd/')) continue
    if (name === 'openat' && !/O_CREAT|O_TRUNC/.test(rest)) continue
    const kind = kinds[name] ?? name
    counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
}

function counted(calls: readonly Call[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const { kind } of calls) {
    const name = ['creat', 'trunc', 'open'].includes(kind) ? 'open' : kind
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

test.for([
  ['rotate', 'home'],
  ['rewrap', 'SQLite'],
  ['reencrypt', 'directory'],
] as const)('sees every mutating call of %s on %s and its children that strace sees', async (of, context) => {
  needsTool(context, 'strace')
  const [title, store] = of
  const { site, args } = await siteOf(title, store)
  const folder = mkdtempSync(join(tmpdir(), 'kvx-seen-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const log = join(folder, 'log')
  const wrapper = ['strace', '-f', '-y', '-qq', '-e', `trace=${Object.keys(kinds).join(',')}`, '-o', log]
  const { exit, calls, stderr } = await runShimmed(site, args, { record: 'calls', wrapper })
  expect(exit, stderr).toBe(0)
  expect(counted(calls)).toEqual(seen(readFileSync(log, 'utf8'), site.path))
})

/** What is done to what, without names that are made up anew each time. Progress is saved by time: the number varies. */
function shapeOf(calls: readonly Call[], site: Site): readonly string[] {
  const made = /\d{8}T\d{6}Z-\w{6}|[A-Z0-9]{6,}/g
  return [
    ...new Set(
      calls.map(({ kind, path }) => `${kind} ${path.slice(site.path.length).replaceAll(made, '#')}`),
    ),
  ].sort()
}

test.for([
  ['rotate', 'home'],
  ['rewrap', 'SQLite'],
  ['reencrypt', 'directory'],
  ['backup split', 'home'],
] as const)('%s on %s after others in one process is as it is alone', async ([title, store]) => {
  const { site, args } = await siteOf(title, store)
  await site.keep()
  const alone = await runShimmed(site, args, { record: 'calls' })
  const again = async (armed?: Armed) => {
    await site.reset()
    return await site.give([...args, '--json'], { record: 'calls', ...(armed && { armed }) })
  }
  for (let turn = 0; turn < 2; turn++) {
    const { exit, calls } = await again()
    expect(exit).toBe(0)
    expect(shapeOf(calls, site)).toEqual(shapeOf(alone.calls, site))
  }
  const codeOf = (text: string) => (JSON.parse(text) as { error?: { code: string } }).error?.code
  for (const [turn, act] of (['5', '28', 'full', 'rofs', 'short-full'] as const).entries()) {
    const armed = { at: 1 + turn * 6, act }
    const among = await again(armed)
    await site.reset()
    const single = await runShimmed(site, [...args, '--json'], { armed, record: 'calls' })
    expect([among.exit, codeOf(among.stdout)]).toEqual([single.exit, codeOf(single.stdout)])
    expect(shapeOf(among.calls, site)).toEqual(shapeOf(single.calls, site))
  }
})

describe('does the harm that it is asked for', () => {
  test('kills kvx and what it started right before the call, at the same call each time', async () => {
    const { site, args } = await siteOf('rotate', 'home')
    await site.keep()
    const { calls } = await runShimmed(site, args, { record: 'calls' })
    // A child of kvx copies the access of what is published.
    expect(calls.filter(({ kind }) => kind === 'xattr').length).toBeGreaterThan(0)
    for (const at of [1, 12, 23, 34]) {
      await site.reset()
      const killed = await runShimmed(site, args, { record: 'calls', armed: { at, act: 'kill' } })
      expect(killed).toMatchObject({ fired: true, count: at })
      expect(killed.calls.map(({ kind }) => kind)).toEqual(calls.slice(0, at - 1).map(({ kind }) => kind))
    }
  })

  test('gives errors once or from then on, and short writes', async () => {
    const { site, args } = await siteOf('keygen --dir', 'home')
    await site.keep()
    for (const [act, code] of [
      ['5', 'IO_ERROR'],
      ['28', 'DISK_FULL'],
      ['122', 'DISK_FULL'],
      ['full', 'DISK_FULL'],
      ['rofs', 'IO_ERROR'],
    ] as const) {
      await site.reset()
      const { calls } = await runShimmed(site, args, { record: 'calls' })
      const at = calls.find(({ kind }) => kind === 'write')?.n ?? 0
      await site.reset()
      const { exit, stdout } = await runShimmed(site, [...args, '--json'], { armed: { at, act } })
      expect([exit, (JSON.parse(stdout) as { error: { code: string } }).error.code]).toEqual([9, code])
    }
    await site.reset()
    const { calls } = await runShimmed(site, args, { record: 'calls' })
    const at = calls.find(({ kind }) => kind === 'write')?.n ?? 0
    await site.reset()
    const short = await runShimmed(site, args, { record: 'calls', armed: { at, act: 'short' } })
    expect(short.exit).toBe(0)
    expect(short.calls.filter(({ kind }) => kind === 'write').map(({ result }) => result)).toEqual([16, 16])
  })

  test('takes the reader of the outputs away, and what is told later reaches nobody', async () => {
    const { site, args } = await siteOf('keygen --dir', 'home')
    await site.keep()
    expect((await runShimmed(site, args)).stdout).not.toBe('')
    await site.reset()
    const { exit, fired, stdout, stderr } = await runShimmed(site, args, { armed: { at: 3, act: 'epipe' } })
    expect({ exit, fired, stdout, stderr }).toEqual({ exit: 0, fired: true, stdout: '', stderr: '' })
  })
})
