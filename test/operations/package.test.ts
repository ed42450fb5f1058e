import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, type TestContext } from 'vitest'
import { plainTwoLevels } from '../support/application.ts'
import { root } from '../support/cli.ts'
import { makeWorkspace } from '../support/workspace.ts'
import { installGlobally, npm, pack } from '../support/package.ts'

const folder = mkdtempSync('/var/tmp/kvx-package-')
const evil = join(folder, 'evil.cjs')
afterAll(() => rmSync(folder, { recursive: true, force: true }))
writeFileSync(evil, 'console.log("EVIL")')

/** Folders of the system, and Node as the only other program. */
const bin = join(folder, 'bin')
mkdirSync(bin)
symlinkSync(process.execPath, join(bin, 'node'))
const env = { PATH: `${bin}:/usr/bin:/bin`, HOME: folder, npm_config_update_notifier: 'false' }

function run(program: string, args: readonly string[], more: Readonly<Record<string, string>> = {}) {
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd: folder,
    encoding: 'utf8',
    env: { ...env, ...more },
  })
  return { status, stdout, stderr }
}

describe('the npm package', () => {
  let tarball: string
  let installed: string

  beforeAll(() => {
    tarball = pack(join(folder, 'one'))
    installed = installGlobally(tarball, join(folder, 'prefix'))
  })

  test('is the same to the byte when it is made again', () => {
    const digest = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex')
    expect(digest(pack(join(folder, 'two')))).toBe(digest(tarball))
  })

  test('holds what runs and what is read, and neither sources nor caches', () => {
    const names = execFileSync('tar', ['tzf', tarball], { encoding: 'utf8' }).split('\n')
    for (const name of [
      'bin/kvx',
      'bin/kvcrypt',
      'dist/man/kvx.1',
      'templates/systemd/template.yaml',
      'docs/operations.md',
    ]) {
      expect(names).toContain(`package/${name}`)
    }
    expect(names.filter((name) => /\.v8|\/src\/|\/test\/|node_modules|inputs/.test(name))).toEqual([])
  })

  test('has no script that runs when it is installed, and no dependency', () => {
    const text = readFileSync(join(installed, '../../lib/node_modules/kvx/package.json'), 'utf8')
    const { scripts, dependencies } = JSON.parse(text) as Record<string, Record<string, string> | undefined>
    const lifecycle = ['preinstall', 'install', 'postinstall', 'prepublish', 'prepare']
    expect(lifecycle.filter((name) => scripts?.[name] !== undefined)).toEqual([])
    expect(dependencies).toBeUndefined()
  })

  test('runs when it is installed globally', () => {
    expect(run(installed, ['--version']).stdout).toMatch(/^kvx\/0\.1\.0 linux-x64 node-v/)
    expect(run(installed, ['init', '--no-input'])).toMatchObject({ status: 0 })
    const made = run(installed, ['keygen', 'a', '--dir', '.'])
    expect(made, made.stderr).toMatchObject({ status: 0 })
    expect(run(installed, ['check', 'a.key']).stdout).toContain('1 checked: nothing found')
    expect(run(installed, ['template', 'render', 'ci'])).toMatchObject({ status: 0 })
  })

  test.each([
    ['v20.20.2', 'needs Node 22.22.2, 24.15 or newer; this is Node 20.20.2'],
    ['v18.19.0', 'needs Node 22.22.2, 24.15 or newer; this is Node 18.19.0'],
    ['v22.11.0', 'needs Node 22.22.2, 24.15 or newer; this is Node 22.11.0'],
    [undefined, 'there is no `node` on the PATH'],
  ])('says in one line which Node it needs: %s', (version, line) => {
    const old = mkdtempSync(join(folder, 'old-'))
    for (const tool of ['sh', 'readlink']) symlinkSync(`/usr/bin/${tool}`, join(old, tool))
    if (version !== undefined) {
      // An old Node takes none of the newer options, and calls itself what it is.
      const shim = join(old, 'shim.cjs')
      writeFileSync(shim, `Object.defineProperty(process.versions, 'node', { value: '${version.slice(1)}' })`)
      const lines = [
        '#!/bin/sh',
        `[ "$1" = --version ] && echo ${version} && exit 0`,
        'case $1 in --*) echo "node: bad option: $1" >&2; exit 9 ;; esac',
        `exec ${process.execPath} --require ${shim} "$@"`,
      ]
      writeFileSync(join(old, 'node'), `${lines.join('\n')}\n`, { mode: 0o755 })
    }
    const { status, stdout, stderr } = run(installed, ['--version'], { PATH: old })
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(stderr).toContain(line)
  })

  test('is told apart by a list of its components', () => {
    const text = npm(root, 'sbom', '--sbom-format', 'cyclonedx', '--package-lock-only')
    const { bomFormat, components } = JSON.parse(text) as {
      bomFormat: string
      components: { name: string }[]
    }
    expect(bomFormat).toBe('CycloneDX')
    expect(components.map(({ name }) => name)).toContain('openpgp')
  })
})

describe('the release', () => {
  const release = join(root, 'package.out')

  beforeAll(() => {
    if (process.env['KVX_SLOW'] === '1')
      execFileSync('npm', ['run', 'package'], { cwd: root, stdio: 'ignore' })
  }, 900_000)

  function needsRelease(context: TestContext): void {
    if (process.env['KVX_SLOW'] !== '1')
      context.skip('needs KVX_SLOW=1: it packs 130 MB, which takes minutes')
  }

  test('has digests that hold', (context) => {
    needsRelease(context)
    expect(spawnSync('sha256sum', ['--check', 'SHA256SUMS'], { cwd: release }).status).toBe(0)
  })

  test('has an executable in a Debian package that needs no Node, with manual and completion', (context) => {
    needsRelease(context)
    const at = join(folder, 'debian')
    execFileSync('dpkg-deb', ['-x', join(release, 'kvx_0.1.0_amd64.deb'), at])
    const kvx = join(at, 'usr/bin/kvx')
    const more = { PATH: '/usr/bin:/bin', NODE_OPTIONS: `--require ${evil}` }
    const { status, stdout } = run(kvx, ['template', 'list'], more)
    expect([status, stdout.includes('EVIL'), stdout.includes('systemd')]).toEqual([0, false, true])
    expect(run(kvx, ['keygen', 'b', '--dir', '.'], more)).toMatchObject({ status: 0, stderr: '' })
    for (const file of ['man/man1/kvx.1.gz', 'bash-completion/completions/kvx'])
      expect(existsSync(join(at, 'usr/share', file))).toBe(true)
  })

  test('has an executable that opens and seals in threads too', (context) => {
    needsRelease(context)
    const workspace = makeWorkspace({ shape: plainTwoLevels, rows: 1600 }).begin()
    try {
      workspace.ok('rotate', 'master', '--offline', '--yes', '--without-backup', '--reason', 'a test system')
      const threads = (words: readonly string[]): number => {
        const trace = join(folder, 'clone.txt')
        const traced = ['-f', '-qq', '-e', 'trace=clone,clone3', '-o', trace, join(release, 'kvx'), ...words]
        const more = { cwd: workspace.path, env: { ...env, ...workspace.env } }
        expect(spawnSync('strace', traced, more).status).toBe(0)
        return readFileSync(trace, 'utf8').split('CLONE_THREAD').length - 1
      }
      const without = threads(['verify', '--workers', '0'])
      expect(threads(['rewrap', '--yes', '--workers', '2'])).toBeGreaterThan(without)
      expect(workspace.read(workspace.publishedKey('current')).opened).toBe(1600)
    } finally {
      workspace.close()
    }
  })

  test('is deaf to SIGUSR1: no debugger opens', async (context) => {
    needsRelease(context)
    const child = spawn(join(release, 'kvx'), ['check', '--stdin'], { stdio: ['pipe', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
    await once(child, 'spawn')
    child.kill('SIGUSR1')
    child.stdin.end('no key')
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
    // Before the runtime is up the signal's own default ends the process, which opens no debugger either.
    expect(code === 3 || signal === 'SIGUSR1').toBe(true)
    expect(said).not.toContain('Debugger')
  })
})
