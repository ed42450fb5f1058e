import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { Script } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { root } from '../support/cli.ts'
import { needsOtherUsers } from '../support/needs.ts'
import { trustedDirectory } from '../support/trusted-directory.ts'

/** A copy of the program that nothing has started yet. */
class Installation {
  readonly path = trustedDirectory(0o755)
  readonly cache = join(this.path, 'dist/.v8')
  readonly main = join(this.path, 'dist/cli/main.cjs')

  constructor() {
    for (const name of ['bin', 'dist/cli', 'package.json'])
      cpSync(join(root, name), join(this.path, name), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(this.path, 'node_modules'))
    mkdirSync(this.cache)
    chmodSync(this.cache, 0o755)
  }

  run(words: readonly string[], uid?: number): string {
    const who = uid === undefined ? {} : { uid, gid: uid }
    const { status, stdout, stderr } = spawnSync(join(this.path, 'bin/kvx'), words, {
      ...who,
      cwd: '/',
      encoding: 'utf8',
    })
    if (status !== 0) throw new Error(`${words.join(' ')} ended with ${status}: ${stdout}${stderr}`)
    return stdout
  }

  /** Each file of the cache, and what tells that it was written anew. */
  kept(): Record<string, string> {
    return Object.fromEntries(
      readdirSync(this.cache).map((name) => {
        const { ino, size } = statSync(join(this.cache, name))
        return [name.replace(/-[\w-]{8}\.cjs/, ''), `${ino} ${size}`]
      }),
    )
  }
}

const listing = ['template', 'list'] as const

describe('what V8 compiled', () => {
  test('is kept once for each command, and taken whole by the next start', () => {
    const installed = new Installation()
    const first = installed.run(listing)
    const kept = installed.kept()
    expect(Object.keys(kept).toSorted()).toEqual(['chunk-list.code', 'main.cjs.code'])
    expect(installed.run(listing)).toBe(first)
    expect(installed.kept()).toEqual(kept) // V8 refused none of it, or it would have been written again
    installed.run(['keygen', 'tk', '--dir', installed.path])
    expect(Object.keys(installed.kept()).toSorted()).toEqual([
      'chunk-keygen.code',
      'chunk-list.code',
      'main.cjs.code',
    ])
  })

  test('holds the functions that ran, which V8 compiles when they are called', () => {
    const installed = new Installation()
    installed.run(['keygen', 'tk', '--dir', installed.path])
    const [name = ''] = readdirSync(installed.cache).filter((file) => file.startsWith('chunk-keygen'))
    const bytes = readFileSync(join(installed.cache, name))
    const chunks = new Set(bytes.toString('latin1').match(/chunk-[\w-]+\.cjs(?=")/g))
    expect(chunks.size).toBeGreaterThan(2)
    const unused = [...chunks].map((chunk) => {
      const source = readFileSync(join(installed.path, 'dist/cli', chunk), 'utf8')
      return new Script(`(function (exports, require, module) {${source}\n})`).createCachedData().length
    })
    expect(bytes.length).toBeGreaterThan(1.2 * unused.reduce((sum, length) => sum + length, 0))
  })

  test.each([
    ['cut in half', (file: string) => truncateSync(file, statSync(file).size >> 1)],
    ['empty', (file: string) => truncateSync(file, 0)],
    ['without its last byte', (file: string) => truncateSync(file, statSync(file).size - 1)],
    ['something else', (file: string) => writeFileSync(file, 'x'.repeat(5000))],
    ['longer than it says', (file: string) => writeFileSync(file, '\0'.repeat(64), { flag: 'a' })],
  ])('is passed over and written anew when the file is %s', (_, damage) => {
    const installed = new Installation()
    const first = installed.run(listing)
    const whole = installed.kept()
    for (const name of readdirSync(installed.cache)) damage(join(installed.cache, name))
    const damaged = installed.kept()
    expect(installed.run(listing)).toBe(first)
    const mended = installed.kept()
    for (const name of Object.keys(whole)) expect(mended[name]).not.toBe(damaged[name])
    installed.run(listing)
    expect(installed.kept()).toEqual(mended)
  })

  test('never stands for a source that was changed, however long that is', () => {
    const installed = new Installation()
    const before = installed.run(['--version'])
    const code = readFileSync(installed.main, 'utf8')
    writeFileSync(installed.main, code.replace('`kvx/$', '`KVX/$'))
    expect(installed.run(['--version'])).toBe(before.replace('kvx', 'KVX'))
  })

  test('is neither read nor written where others can write', () => {
    const installed = new Installation()
    installed.run(listing)
    for (const name of readdirSync(installed.cache)) rmSync(join(installed.cache, name))
    chmodSync(installed.cache, 0o775)
    installed.run(listing)
    expect(installed.kept()).toEqual({})
  })

  test('of root is read by others, who write nothing', (context) => {
    needsOtherUsers(context)
    const installed = new Installation()
    const first = installed.run(listing)
    const kept = installed.kept()
    expect(installed.run(listing, 65_534)).toBe(first)
    installed.run(['completion', 'bash'], 65_534)
    expect(installed.kept()).toEqual(kept)
    for (const name of readdirSync(installed.cache))
      expect(statSync(join(installed.cache, name)).mode & 0o777).toBe(0o644)
  })
})
