import { execFileSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { afterEach, describe, expect, test } from 'vitest'
import { plainTwoLevels } from '../support/application.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

// An application's key may be one that nobody should use; the data lies under it all the same.

let workspace: Workspace
afterEach(() => workspace.close())

function application(): Workspace {
  workspace = makeWorkspace({ shape: plainTwoLevels, rows: 3 })
  workspace.ok('init')
  return workspace
}

const accepted = ['--accept-risk', '--reason', 'it is what the application has'] as const

describe('a weak key', () => {
  const weak = { version: 1, bytes: Buffer.alloc(32, 7) }

  function withWeakKey(): Workspace {
    application()
    for (let id = 1; id <= 3; id++) workspace.put(id, weak)
    writeFileSync(workspace.published, `APP_KEK=${weak.bytes.toString('base64')}\n`, { mode: 0o600 })
    return workspace
  }

  test('is taken over where values of the application open under it, and can be rotated away', () => {
    const site = withWeakKey()
    const { warnings } = site.ok('key', 'import', 'master')
    expect(warnings).toEqual([
      { code: 'KEY_WEAK', message: expect.stringContaining('kvx rotate master') as string },
    ])
    expect(site.run('audit', 'show', '--json').stdout).toContain('values of the application open under it')
    expect(site.ok('verify').exit).toBe(0)
    const without = ['--without-backup', '--reason', 'a test']
    site.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...without)
    expect(site.read(site.publishedKey())).toEqual({ opened: 3, failed: 0, others: 0 })
    expect(site.read(weak.bytes)).toEqual({ opened: 0, failed: 3, others: 0 })
  })

  test('is refused where nothing opens under it, or taken with a reason, which is recorded', () => {
    const site = withWeakKey()
    for (let id = 1; id <= 3; id++) site.put(id, site.strangeKey())
    expect(site.json('key', 'import', 'master').error).toMatchObject({
      code: 'KEY_WEAK',
      hint: expect.stringContaining('--accept-risk --reason TEXT') as string,
    })
    const { warnings } = site.ok('key', 'import', 'master', ...accepted)
    expect(warnings).toEqual([
      { code: 'KEY_WEAK', message: expect.stringContaining('kvx rotate master') as string },
    ])
    expect(site.run('audit', 'show', '--json').stdout).toContain(accepted[2])
  })

  test('is not taken without a reason', () => {
    const { error } = withWeakKey().json('key', 'import', 'master', '--accept-risk')
    expect(error?.code).toBe('USAGE')
  })
})

describe('a published file that others can write', () => {
  test('is refused, and taken when the right is gone', () => {
    const site = application()
    site.sql((database) => database.exec('DELETE FROM secrets'))
    chmodSync(site.published, 0o660)
    const refused = site.json('key', 'import', 'master').error
    expect(refused).toMatchObject({
      code: 'UNSAFE_MODE',
      hint: expect.stringContaining('chmod go-w') as string,
    })
    expect(site.ok('key', 'import', 'master', ...accepted).warnings).toHaveLength(1)
    chmodSync(site.published, 0o600)
    // The same bytes again are nothing to do.
    expect(site.ok('key', 'import', 'master').warnings).toEqual([])
  })

  test('is told by its ACL, not by the mask that stands in its mode', () => {
    const site = application()
    execFileSync('setfacl', ['-m', 'g::---,g:daemon:r--,m::rw-', site.published])
    expect(site.ok('key', 'import', 'master').warnings).toEqual([])
  })
})

test('a home without declarations says that nothing was opened, and how they are found', () => {
  const site = application()
  site.writeConfig('kvx: 1\n')
  const { warnings } = site.ok('verify')
  expect(warnings.map(({ code }) => code)).toEqual(['NOTHING_DECLARED'])
  expect(site.ok('discover').warnings.map(({ code }) => code)).toEqual(['NOTHING_DECLARED'])
  for (const args of [['rewrap'], ['reencrypt'], ['seal'], ['plan', 'rewrap', '--out', 'plan.json']]) {
    const { code, hint } = site.json(...args).error ?? {}
    expect([args, code]).toEqual([args, 'ENVELOPE_UNKNOWN'])
    expect(hint).toContain('kvx discover')
    expect(hint).toContain('kvx init --profile')
  }
})
