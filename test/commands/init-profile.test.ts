import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { root, kvx, kvxJson, type CliResult } from '../support/cli.ts'
import { Terminal } from '../support/terminal.ts'
import { treeHash } from '../support/workspace.ts'

const folder = join(root, 'templates/profiles')
const profiles = readdirSync(folder).map((file) => file.replace('.yaml', ''))
const seeds = ['rcrt', 'origan', 'progressdb', 'bundoc', 'kvcrypt']

const made: string[] = []
afterAll(() => made.forEach((path) => rmSync(path, { recursive: true, force: true })))

function emptyFolder(): string {
  const path = mkdtempSync('/var/tmp/kvx-init-')
  made.push(path)
  return path
}

/** Of a server that is not there: the configuration is all that can be right or wrong. */
const servers: Readonly<Record<string, string>> = { laravel: 'mysql://nobody@127.0.0.1:1/none' }

function environment(path: string, profile = ''): Record<string, string> {
  return { HOME: path, DATABASE_URL: servers[profile] ?? 'postgres://nobody@/none?host=/nonexistent' }
}

function run(path: string, ...args: string[]): CliResult {
  return kvx(args, { cwd: path, env: environment(path) })
}

describe('kvx init --profile', () => {
  test('there is one for each seed, and for applications in use', () => {
    expect(seeds.filter((name) => !profiles.includes(name))).toEqual([])
    expect(profiles.length).toBeGreaterThanOrEqual(20)
  })

  test.each(profiles)(
    '%s: what it writes is a configuration that compiles, and only the store is missing',
    (name) => {
      const path = emptyFolder()
      const env = environment(path, name)
      const written = kvx(['init', '--profile', name, '--no-input'], { cwd: path, env })
      expect([written.exit, written.stderr]).toEqual([0, ''])
      expect(statSync(join(path, 'kvx.yaml')).mode & 0o777).toBe(0o600)
      expect(statSync(join(path, '.kvx')).mode & 0o777).toBe(0o700)
      const text = readFileSync(join(path, 'kvx.yaml'), 'utf8')
      expect(text).toMatch(/^# yaml-language-server: \$schema=\/.*\/docs\/schemas\/kvx\.yaml\.json\n# /)
      expect(text).toContain('kvx: 1\n# home: /var/lib/kvx')
      expect(written.stdout).toMatch(/^Next: look at the \d+ places marked "<- adjust" in kvx\.yaml, then$/m)
      const keys = Object.keys((parse(text) as { readonly keys: object }).keys)
      const steps = written.stdout.match(/^ {2}kvx .*$/gm) ?? []
      expect(steps.map((step) => step.trim().split(/ {2,}/)[0])).toEqual([
        ...keys.map((key) => expect.stringMatching(`^kvx (key import|keygen) ${key}$`)),
        'kvx verify',
        ...keys.map((key) => `kvx backup create ${key}`),
      ])

      const doctor = kvxJson(['doctor'], { cwd: path, env })
      const verify = kvxJson(['verify'], { cwd: path, env })
      for (const document of [doctor, verify]) {
        expect(['CONFIG_INVALID', 'LAYOUT_INVALID', 'BUG']).not.toContain(document.error?.code)
      }
      const reasons = ['STORE_UNAVAILABLE', 'STORE_SHAPE', 'FILE_NOT_FOUND', 'KEY_UNKNOWN', 'STORE_UNKNOWN']
      expect(reasons).toContain(verify.error?.code)
    },
  )

  test.each(profiles)(
    '%s: it says what was looked at, what kvx does, the trap, and what proves it',
    (name) => {
      const text = readFileSync(join(folder, `${name}.yaml`), 'utf8')
      const [first = ''] = text.split('\n')
      expect(first).toMatch(/^# .{20,120}$/)
      for (const part of ['# Looked at: ', '# kvx does: ', '# Trap: ', '<- adjust'])
        expect(text).toContain(part)
      const proven = [...text.matchAll(/^# proven: (.*)$/gm)].flatMap(([, what = '']) => what.split(', '))
      expect(proven.length > 0 || text.includes('# from the seed document\n')).toBe(true)
      const vectors = readdirSync(join(root, 'test/vectors/layouts'))
      for (const vector of proven.filter((what) => what.startsWith('vectors/'))) {
        expect(vectors.some((file) => file.startsWith(`${vector.slice('vectors/'.length)}-`))).toBe(true)
      }
    },
  )

  test('finds its profiles from any folder, and takes other places for file and home', () => {
    const path = emptyFolder()
    const named = ['--config', join(path, 'etc.yaml'), '--home', join(path, 'deep/home')]
    expect(kvx(['init', '--profile', 'rcrt', ...named], { cwd: '/', env: environment(path) }).exit).toBe(0)
    expect(readFileSync(join(path, 'etc.yaml'), 'utf8')).toContain(
      `kvx: 1\nhome: "${join(path, 'deep/home')}"\n`,
    )
    expect(existsSync(join(path, 'deep/home/keyring.json'))).toBe(true)
  })

  test('an unknown name is exit 2 with the nearest one and all of them, and nothing is written', () => {
    const path = emptyFolder()
    const { exit, stderr } = run(path, 'init', '--profile', 'origin', '--no-input')
    expect(exit).toBe(2)
    expect(stderr).toContain('there is no profile "origin"; did you mean "origan"?')
    for (const name of profiles) expect(stderr).toContain(name)
    expect(run(path, 'init', '--profile', '../quickstart/x').exit).toBe(2)
    expect(readdirSync(path)).toEqual([])
    const document = kvxJson(['init', '--profile', 'zzz'], { cwd: path, env: environment(path) })
    expect(document.error?.code).toBe('USAGE')
    expect(document.data['profiles']).toEqual(profiles.toSorted())
  })

  test('does not replace a configuration that is there', () => {
    const path = emptyFolder()
    writeFileSync(join(path, 'kvx.yaml'), 'kvx: 1\n', { mode: 0o600 })
    const before = treeHash(path)
    const { exit, stderr } = run(path, 'init', '--profile', 'rcrt')
    expect([exit, treeHash(path)]).toEqual([2, before])
    expect(stderr).toContain('a profile does not replace it')
  })

  test('refuses an existing home, and writes nothing in a dry run', () => {
    const path = emptyFolder()
    expect(run(path, 'init', '--profile', 'rcrt', '--dry-run').exit).toBe(0)
    expect(readdirSync(path)).toEqual([])
    run(path, 'init')
    rmSync(join(path, 'kvx.yaml'))
    const { exit, stderr } = run(path, 'init', '--profile', 'rcrt')
    expect(exit).toBe(2)
    expect(stderr).toContain('there is a home at')
    expect(existsSync(join(path, 'kvx.yaml'))).toBe(false)
  })
})

describe('kvx init --list-profiles', () => {
  test('has a line for each, and writes nothing', () => {
    const path = emptyFolder()
    const { exit, stdout } = run(path, 'init', '--list-profiles')
    expect(exit).toBe(0)
    const listed = stdout.split('\n').filter((line) => line.startsWith('    '))
    expect(listed.map((line) => line.trim().split(/ {2,}/)[0])).toEqual(profiles.toSorted())
    expect(listed.every((line) => line.trim().split(/ {2,}/).length === 2)).toBe(true)
    const { data } = kvxJson<{ configWritten: boolean; profiles: { name: string }[] }>(
      ['init', '--list-profiles'],
      {
        cwd: path,
        env: environment(path),
      },
    )
    expect([data.configWritten, data.profiles.map(({ name }) => name)]).toEqual([false, profiles.toSorted()])
    expect(readdirSync(path)).toEqual([])
  })

  test('belongs to no profile', () => {
    expect(run(emptyFolder(), 'init', '--list-profiles', '--profile', 'rcrt').exit).toBe(2)
  })
})

describe('kvx init on a terminal', () => {
  test('offers profiles first, shows the file, and writes the one that is named', async () => {
    const path = emptyFolder()
    const terminal = new Terminal(['init'], { cwd: path, env: environment(path) })
    try {
      await terminal.see('langfuse')
      await terminal.answer('Which application is it?', 'langfuze')
      await terminal.see('did you mean langfuse?')
      terminal.press('\x15langfuse\r')
      await terminal.answer('Write this to')
      expect(await terminal.ended()).toBe(0)
      expect(terminal.screen).toContain('posthog_integrations')
      expect(terminal.screen).not.toContain('What is the key called?')
      expect(readFileSync(join(path, 'kvx.yaml'), 'utf8')).toContain('langfuse.llm-keys:')
    } finally {
      terminal.close()
    }
  })
})
