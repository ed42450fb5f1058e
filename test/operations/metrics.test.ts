import { spawnSync } from 'node:child_process'
import { lstatSync, readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test, type TestContext } from 'vitest'
import { oneLevel, plainTwoLevels } from '../support/application.ts'
import { GpgHome } from '../support/gpg.ts'
import { needsTool } from '../support/needs.ts'
import { closeStates, closing, rotated, rows, stuck } from '../support/states.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

type Metric = { name: string; samples: { labels: Record<string, string>; value: number }[] }

const gpg = new GpgHome()
let workspace: Workspace

beforeAll(() => {
  const recipients = [gpg.makeKey('operator@example.org')]
  workspace = closing(makeWorkspace({ shape: plainTwoLevels, rows, gpg, recipients })).begin()
})
afterAll(() => {
  closeStates()
  gpg.remove()
})

function metricsOf(at: Workspace): readonly Metric[] {
  return at.ok<{ metrics: Metric[] }>('metrics').data.metrics
}

/** The value of the one sample whose labels hold these; undefined where none does. */
function value(at: Workspace, name: string, labels: Record<string, string> = {}): number | undefined {
  const samples = metricsOf(at).find((metric) => metric.name === name)?.samples ?? []
  const found = samples.filter((one) => Object.entries(labels).every(([key, own]) => one.labels[key] === own))
  if (found.length > 1) throw new Error(`${found.length} samples of ${name}`)
  return found[0]?.value
}

function lint(text: string): { status: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: text,
    encoding: 'utf8',
  })
  return { status, said: stdout + stderr }
}

function needsPromtool(context: TestContext): void {
  needsTool(context, 'promtool')
}

describe('kvx metrics', () => {
  test('prints what promtool takes without a complaint', (context) => {
    needsPromtool(context)
    for (const one of [workspace, rotated(), stuck()]) {
      const { exit, stdout } = one.run('metrics')
      expect(exit).toBe(0)
      expect(lint(stdout)).toEqual({ status: 0, said: '' })
    }
  })

  test('tells age, state and end of the cryptoperiod of the version that seals', () => {
    const copy = closing(workspace.copy())
    const config = copy
      .configuration()
      .replace('purpose: kek', 'purpose: kek\n    cryptoperiod: { seal: 90d, open: 1y }')
    copy.writeConfig(config)
    const labels = { key: 'master', version: '1' }
    const activated = value(copy, 'kvx_key_activated_timestamp_seconds', labels) ?? 0
    expect(Math.abs(Date.now() / 1000 - activated)).toBeLessThan(3600)
    expect(value(copy, 'kvx_key_seal_until_timestamp_seconds', labels)).toBe(activated + 90 * 86_400)
    expect(value(copy, 'kvx_key_open_until_timestamp_seconds', labels)).toBe(activated + 365 * 86_400)
    expect(value(copy, 'kvx_key_age_seconds', labels)).toBeGreaterThanOrEqual(0)
    expect(value(copy, 'kvx_key_version_state', { ...labels, state: 'active' })).toBe(1)
    expect(value(copy, 'kvx_key_seals', { key: 'master', purpose: 'kek' })).toBe(1)
  })

  test('tells when there is a backup that was tested, and when it was', () => {
    const copy = closing(workspace.copy())
    expect(value(copy, 'kvx_key_backup_proven', { key: 'master' })).toBe(0)
    expect(value(copy, 'kvx_due', { code: 'NO_TESTED_BACKUP', subject: 'master@1' })).toBe(1)
    copy.ok('backup', 'create', 'master')
    expect(value(copy, 'kvx_key_backup_proven', { key: 'master' })).toBe(1)
    expect(value(copy, 'kvx_due', { code: 'NO_TESTED_BACKUP' })).toBeUndefined()
    expect(value(copy, 'kvx_backup_created_timestamp_seconds', { state: 'tested' })).toBeGreaterThan(1e9)
    expect(value(copy, 'kvx_backup_proven_timestamp_seconds')).toBeGreaterThan(1e9)
  })

  test('tells what the last full verify found, by version, and which of those is retired', () => {
    const at = rotated()
    expect(value(at, 'kvx_verify_timestamp_seconds')).toBeUndefined()
    at.ok('verify', '--sample', '3')
    expect(value(at, 'kvx_verify_timestamp_seconds')).toBeUndefined()
    at.ok('verify')
    expect(value(at, 'kvx_verify_timestamp_seconds', { envelope: 'app.secrets' })).toBeGreaterThan(1e9)
    expect(value(at, 'kvx_verify_records', { envelope: 'app.secrets' })).toBe(rows)
    expect(value(at, 'kvx_verify_records_by_version', { version: '2', retired: 'false' })).toBe(rows)
    expect(value(at, 'kvx_verify_records_by_version', { version: '1' })).toBeUndefined()
    expect(value(at, 'kvx_verify_unreadable', { envelope: 'app.secrets' })).toBe(0)
  })

  test('tells an unfinished run with its beginning, and records that do not open', () => {
    const at = stuck()
    at.json('verify')
    expect(value(at, 'kvx_runs', { status: 'open' })).toBe(1)
    expect(value(at, 'kvx_run_unfinished_created_timestamp_seconds', { key: 'master' })).toBeGreaterThan(1e9)
    expect(value(at, 'kvx_verify_unreadable')).toBe(1)
  })

  test('has the names that the site asks for: configured falls to 0 when a place holds something else', () => {
    const copy = closing(makeWorkspace({ shape: oneLevel, rows: 6 })).begin()
    copy.writeConfig(
      `${copy.configuration()}\nmetrics:\n  rcrt_kek_configured: { configured: master }\n  rcrt_secret_decrypt_failures: { failures: app.secrets }\n`,
    )
    expect(value(copy, 'rcrt_kek_configured')).toBe(1)
    expect(value(copy, 'rcrt_secret_decrypt_failures')).toBeUndefined()
    copy.put(5, copy.strangeKey())
    copy.json('verify')
    expect(value(copy, 'rcrt_secret_decrypt_failures')).toBe(1)
    writeFileSync(copy.published, readFileSync(copy.published, 'utf8').replace(/^APP_KEK=.*$/m, 'APP_KEK='))
    expect(value(copy, 'rcrt_kek_configured')).toBe(0)
    expect(value(copy, 'kvx_key_published', { key: 'master' })).toBe(0)
  })

  test.each([
    ['a key', 'metrics: { a: { configured: mastr } }', 'did you mean "master"?'],
    ['an envelope', 'metrics: { a: { failures: app.secret } }', 'did you mean "app.secrets"?'],
    ['a member', 'metrics: { a: { failure: app.secrets } }', 'did you mean "failures"?'],
  ])('refuses a name of its own for %s that is not declared', (_, line, guess) => {
    const copy = closing(workspace.copy())
    copy.writeConfig(`${copy.configuration()}\n${line}\n`)
    const { exit, error } = copy.json('metrics')
    expect([exit, error?.code]).toEqual([2, 'CONFIG_INVALID'])
    expect(error?.message).toContain(guess)
  })
})

describe('kvx metrics --textfile', () => {
  test('writes what it would print, for every reader, and replaces it at once', (context) => {
    needsPromtool(context)
    const file = workspace.file('kvx.prom')
    const before = process.umask(0o077)
    try {
      workspace.ok('metrics', '--textfile', file)
    } finally {
      process.umask(before)
    }
    expect(lstatSync(file).mode & 0o777).toBe(0o644)
    const { ino } = lstatSync(file)
    workspace.ok('metrics', '--textfile', file)
    expect(lstatSync(file).ino).not.toBe(ino)
    expect(lstatSync(file).mode & 0o777).toBe(0o644)
    expect(lint(readFileSync(file, 'utf8'))).toEqual({ status: 0, said: '' })
  })

  test('leaves the old file where the home cannot be read', () => {
    const copy = closing(workspace.copy())
    const file = copy.file('kvx.prom')
    copy.ok('metrics', '--textfile', file)
    const text = readFileSync(file, 'utf8')
    writeFileSync(`${copy.home}/keyring.json`, '{')
    expect(copy.json('metrics', '--textfile', file).error?.code).toBe('KEYRING_DAMAGED')
    expect(readFileSync(file, 'utf8')).toBe(text)
  })
})
