import { rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { plainTwoLevels } from '../support/application.ts'
import { kvxBin } from '../support/cli.ts'
import { GpgHome } from '../support/gpg.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'
import { page } from './pages.ts'

/** The days of the guide with the lines of their blocks, as a person would type them. */
const days = page('docs/guide.md')
  .text.split('\n## ')
  .slice(1)
  .map((part) => ({
    title: part.split('\n', 1)[0] ?? '',
    lines: [...part.matchAll(/```sh\n([\s\S]*?)```/g)]
      .flatMap(([, block = '']) => block.split('\n'))
      .filter((line) => line !== '' && !line.startsWith('#')),
  }))

const rows = 25
const gpg = new GpgHome()
let workspace: Workspace
/** What the operator wrote on paper. */
let auditFingerprint = ''

beforeAll(() => {
  const fingerprint = gpg.makeKey('operator <operator@example.org>')
  workspace = makeWorkspace({ shape: plainTwoLevels, rows, recipients: [fingerprint], gpg })
  auditFingerprint = workspace.ok<{ auditFingerprint: string }>('init').data.auditFingerprint
  workspace.writeConfig()
})

afterAll(() => {
  gpg.remove()
  rmSync(workspace.path, { recursive: true, force: true })
})

function type(line: string): void {
  const PATH = `${dirname(kvxBin)}:${process.env['PATH'] ?? ''}`
  const done = spawnSync('sh', ['-c', line], {
    cwd: workspace.path,
    env: { PATH, ...workspace.env, AUDIT_FINGERPRINT: auditFingerprint },
    input: '',
    encoding: 'utf8',
  })
  expect(done.status, `${line}\n${done.stdout}${done.stderr}`).toBe(0)
}

describe('each day of the guide runs from its first line to its last', () => {
  test('there are six of them, each with commands', () => {
    expect(days.map(({ lines }) => lines.length > 0)).toEqual(Array.from({ length: 6 }, () => true))
  })

  test.each(days)('$title', ({ lines }) => {
    for (const line of lines) type(line)
    expect(workspace.read(workspace.publishedKey())).toEqual({ opened: rows, failed: 0, others: 0 })
    expect(workspace.json<{ due: readonly unknown[] }>('status').data.due).toEqual([])
  })
})
