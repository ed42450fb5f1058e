import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { treeFiles } from '../../support/workspace.ts'
import type { Call } from './shim.ts'
import type { Site } from './site.ts'

/** What a site was before the command, to be compared with. */
export type Before = { readonly files: Readonly<Record<string, string>>; readonly entries: number }

/** The log, the journal, locks and unfinished files say nothing about whether the work has begun. */
const beside = /(?:^|\/)(?:\.kvx\/audit\/|\.kvx\/kvx\.db|\.kvx\/runs\/[^/]+\/plan\.json)|\.kvx-new$/

export function remember(site: Site): Before {
  const files = Object.entries(treeFiles(site.path)).filter(([name]) => !beside.test(name))
  return { files: Object.fromEntries(files), entries: logLength(site) }
}

function logLength(site: Site): number {
  const path = join(site.home, 'audit/log.jsonl')
  return existsSync(path) ? statSync(path).size : -1
}

/** The log knows of the command. */
export function hasBegun(site: Site, before: Before): boolean {
  return logLength(site) > before.entries
}

/** Law 10: nothing is changed before the log says what is about to be. */
export function expectLogFirst(site: Site, before: Before): void {
  if (before.entries < 0 || hasBegun(site, before)) return
  const [now, then] = [remember(site).files, before.files].map((files) => withoutRecovered(files, before))
  assert.deepEqual(now, then, 'files were changed before the log said so')
}

/** A database that a dead run left with its journal is put back by SQLite for whoever opens it, a reader too. */
function withoutRecovered(files: Before['files'], { files: before }: Before): Before['files'] {
  const isRecovered = (name: string): boolean =>
    name.endsWith('-journal') || Object.hasOwn(before, `${name}-journal`)
  return Object.fromEntries(Object.entries(files).filter(([name]) => !isRecovered(name)))
}

/** A new file is nobody else's until it has the access that it shall have. */
export function expectNarrow(calls: readonly Call[]): void {
  const wide = calls.filter(
    ({ kind, path, mode, result }) =>
      kind === 'creat' && result >= 0 && path.endsWith('.kvx-new') && (mode & 0o077) !== 0,
  )
  assert.deepEqual(
    wide.map(({ path, mode }) => `${path} ${mode.toString(8)}`),
    [],
    'files that were open to others while they were written',
  )
}

export function expectNoSecret(site: Site, text: string): void {
  for (const key of site.keys())
    for (const encoding of ['hex', 'base64', 'base64url', 'latin1'] as const)
      assert.ok(!text.includes(key.toString(encoding)), `a key in ${encoding} is in the output`)
  assert.ok(!/secret of|secret-\d/.test(text), 'a plaintext is in the output')
}

export function logOf(site: Site): string {
  const path = join(site.home, 'audit/log.jsonl')
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}
