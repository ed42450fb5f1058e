import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { kvx, kvxJson, kvxOk } from '../support/cli.ts'
import { needsRoot } from '../support/needs.ts'

const folders: string[] = []

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** A folder with a home and a configuration of one key, published as told. */
function makeFolder(publish: string, files: Readonly<Record<string, string | Buffer>>): string {
  const folder = mkdtempSync('/var/tmp/kvx-publish-')
  folders.push(folder)
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes, { mode: 0o600 })
  const config = `kvx: 1\nkeys:\n  master:\n    purpose: kek\n    publish: [${publish}]\n`
  writeFileSync(join(folder, 'kvx.yaml'), config, { mode: 0o600 })
  kvxOk(['init'], { cwd: folder })
  return folder
}

const without = ['--without-backup', '--reason', 'test']
const twoSlots = '{ env-file: app.env, current: KEK, previous: KEK_OLD }'
const otherLines = 'DATABASE_URL=postgres://db\nSESSION_SECRET=abc\n'

describe('a published env file', () => {
  it('keeps every other byte when the first key is published beside other variables', () => {
    const cwd = makeFolder(twoSlots, { 'app.env': otherLines })
    kvxOk(['keygen', 'master'], { cwd })
    const text = readFileSync(join(cwd, 'app.env'), 'utf8')
    expect(text.startsWith(otherLines)).toBe(true)
    expect(text.slice(otherLines.length)).toMatch(/^KEK=[A-Za-z0-9+/]{43}=\n$/)
  })

  it('keeps every other byte through staging, activation and repair', () => {
    const cwd = makeFolder(twoSlots, { 'app.env': `# comment\r\nexport A='x y'\n${otherLines}` })
    kvxOk(['keygen', 'master'], { cwd })
    kvxOk(['rotate', 'master', '--stage', '--yes', ...without], { cwd })
    kvxOk(['rotate', 'master', '--activate', '--rolled-out', '--yes'], { cwd })
    const path = join(cwd, 'app.env')
    writeFileSync(path, readFileSync(path, 'utf8').replace(/^KEK_OLD=.*\n/m, ''))
    kvxOk(['key', 'publish', 'master', '--yes'], { cwd })
    const text = readFileSync(path, 'utf8')
    expect(text.replace(/^KEK(_OLD)?=.*\n/gm, '')).toBe(`# comment\r\nexport A='x y'\n${otherLines}`)
    expect(text).toMatch(/^KEK_OLD=/m)
  })
})

describe('a key that the keyring does not know', () => {
  it('is never overwritten in a published place, and the way to take it over is named', () => {
    const cwd = makeFolder(twoSlots, { 'app.env': otherLines })
    kvxOk(['keygen', 'master'], { cwd })
    const foreign = randomBytes(32).toString('base64')
    const path = join(cwd, 'app.env')
    writeFileSync(path, readFileSync(path, 'utf8').replace(/^KEK=.*$/m, `KEK=${foreign}`))
    for (const command of [
      ['rotate', 'master', '--stage', '--yes', ...without],
      ['key', 'publish', 'master', '--yes'],
    ]) {
      const refused = kvxJson(command, { cwd })
      expect(refused).toMatchObject({ exit: 6, error: { code: 'PUBLICATION_DIFFERS' } })
      expect(refused.error?.hint).toContain('kvx key import master')
      expect(readFileSync(path, 'utf8')).toContain(`KEK=${foreign}\n`)
    }
  })

  it('is not replaced by keygen after an import that was cut short', () => {
    const key = randomBytes(32)
    const cwd = makeFolder('{ file: app.key }', { 'app.key': key })
    const ring = join(cwd, '.kvx/keyring.json')
    kvxOk(['key', 'import', 'master'], { cwd })
    const text = JSON.parse(readFileSync(ring, 'utf8')) as { keys: Record<string, Record<string, unknown>> }
    const versions = text.keys['master']?.['versions'] as Record<string, Record<string, unknown>>
    // What a kill right after the reservation leaves.
    Object.assign(versions['1'] ?? {}, {
      fingerprint: null,
      bytes: null,
      canary: null,
      rollout: null,
      state: 'pre-activation',
      history: [],
    })
    Object.assign(text.keys['master'] ?? {}, { seals: null })
    writeFileSync(ring, JSON.stringify(text))
    rmSync(join(cwd, '.kvx/keys/master.v1.key'))
    expect(kvxJson(['keygen', 'master'], { cwd })).toMatchObject({ exit: 2, error: { code: 'KEY_EXISTS' } })
    expect(readFileSync(join(cwd, 'app.key'))).toEqual(key)
    kvxOk(['key', 'import', 'master'], { cwd })
  })

  it('takes no slot from readers when an older one is imported from elsewhere', () => {
    const cwd = makeFolder(twoSlots, { 'app.env': `KEK=${randomBytes(32).toString('base64')}\n` })
    kvxOk(['key', 'import', 'master'], { cwd })
    kvxOk(['rotate', 'master', '--offline', '--yes', ...without], { cwd })
    writeFileSync(join(cwd, 'older.key'), randomBytes(32), { mode: 0o600 })
    kvxOk(['key', 'import', 'master', '--from', 'file:older.key', '--encoding', 'raw', '--version', '7'], {
      cwd,
    })
    const { data } = kvxJson<{ previous: number; drift: readonly string[] }>(['key', 'show', 'master'], {
      cwd,
    })
    expect(data).toMatchObject({ previous: 1, drift: [] })
  })
})

describe('a key file with one slot', () => {
  it('comes back with the owner and mode that it had before it was withdrawn', (context) => {
    needsRoot(context)
    const cwd = makeFolder('{ file: app.key }', { 'app.key': randomBytes(32) })
    const path = join(cwd, 'app.key')
    chmodSync(path, 0o600)
    chownSync(path, 1234, 1234)
    kvxOk(['key', 'import', 'master'], { cwd })
    const before = readFileSync(path)
    kvxOk(['rotate', 'master', '--offline', '--then', 'data', '--yes', ...without], { cwd })
    const { uid, gid, mode } = statSync(path)
    expect([uid, gid, mode & 0o7777]).toEqual([1234, 1234, 0o600])
    expect(readFileSync(path).equals(before)).toBe(false)
    expect(existsSync(join(cwd, '.app.key.kvx-withdrawn'))).toBe(false)
  })
})

describe('two publishers at once', () => {
  it('leave a whole file that agrees with the keyring', () => {
    const cwd = makeFolder(twoSlots, { 'app.env': otherLines })
    kvxOk(['keygen', 'master'], { cwd })
    const path = join(cwd, 'app.env')
    writeFileSync(path, otherLines)
    const script = `for i in 1 2 3 4 5 6; do "$0" key publish master --yes --quiet & done; wait`
    spawnSync('sh', ['-c', script, join(import.meta.dirname, '../../bin/kvx')], { cwd })
    expect(readFileSync(path, 'utf8')).toMatch(new RegExp(`^${otherLines}KEK=[A-Za-z0-9+/]{43}=\n$`))
    expect(kvx(['key', 'show', 'master'], { cwd }).stderr).toBe('')
  })
})
