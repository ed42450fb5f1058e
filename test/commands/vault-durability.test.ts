import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { beforeEach, expect, it } from 'vitest'
import { kvxBin } from '../support/cli.ts'
import { needsTool } from '../support/needs.ts'
import { wholeCalls } from '../support/strace.ts'
import { untested, VaultWorkspace } from './vault-workspace.ts'

beforeEach((context) => needsTool(context, 'strace'))

const calls = 'openat,write,pwrite64,writev,fsync,fdatasync,rename,link,linkat,unlink,read,pread64'

/**
 * What a command did to the vault, in order: `write new`, `fsync new`, `read new`, `link old backup`, `fsync backup`,
 * `write entries`, `fsync entries`, `rename new old`, `fsync vaults`; the same several times over is one step.
 */
function steps(workspace: VaultWorkspace, ...args: string[]): string[] {
  const log = workspace.file('strace.log')
  const strace = ['-f', '-y', '-qq', '-e', `trace=${calls}`, '-o', log]
  execFileSync('strace', [...strace, kvxBin, ...args], {
    cwd: workspace.path,
    env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
    stdio: 'ignore',
  })
  const found: string[] = []
  for (const line of wholeCalls(readFileSync(log, 'utf8'))) {
    const call = /^(\w+)\((.*)\)\s+= \d/.exec(line)
    if (call === null || call[1] === 'openat') continue
    const paths = [...(call[2] ?? '').matchAll(/<(\/[^>]*)>|"(\/[^"]*)"/g)].map(
      (match) => match[1] ?? match[2] ?? '',
    )
    const names = paths.flatMap((path) => nameOf(workspace, path) ?? [])
    if (names.length === 0) continue
    const step = [call[1]?.replace(/^p(read|write).*|^writev/, '$1'), ...names]
      .join(' ')
      .replace(/^ /, 'write ')
    if (found.at(-1) !== step) found.push(step)
  }
  return found
}

function nameOf(workspace: VaultWorkspace, path: string): string | undefined {
  if (path === workspace.file('vaults')) return 'vaults'
  if (path === workspace.vault) return 'old'
  if (path === workspace.file('vaults/.tk.enc.kvx-new')) return 'new'
  if (path.includes('.tk.generation')) return 'memory'
  if (/\/runs\/[^/]+\/backup$/.test(path)) return 'backup'
  if (/\/backup\/tk\.enc\.g/.test(path)) return 'kept'
  if (path.endsWith('/backup/ciphertext.jsonl')) return 'entries'
  return undefined
}

/** The steps that make something durable or visible, and those that they follow. */
function essential(all: readonly string[]): string[] {
  const last = all.lastIndexOf('write new')
  const kept = all.filter((step, at) => step !== 'read old' && (step !== 'write new' || at === last))
  return kept.filter((step, at) => step !== kept[at - 1])
}

it('a put: everything written, fsynced, read back, and only then the name, and then the directory', () => {
  const workspace = VaultWorkspace.make()
  const done = essential(steps(workspace, 'vault', 'put', 'tk', '{"a":1}'))
  const begin = done.indexOf('write new')
  expect(done.slice(begin, begin + 5)).toEqual([
    'write new',
    'fsync new',
    'read new',
    'rename new old',
    'fsync vaults',
  ])
})

it('a re-encryption: the old file and its entry are on the medium in the backup before the name changes', () => {
  const workspace = VaultWorkspace.make()
  workspace.ok('rotate', 'tk', '--offline', '--yes', ...untested)
  const done = essential(steps(workspace, 'reencrypt', 'tk', '--yes'))
  const begin = done.indexOf('write new')
  expect(done.slice(begin, begin + 10)).toEqual([
    'write new',
    'fsync new',
    'read new',
    'fsync old',
    'link old kept',
    'fsync backup',
    'write entries',
    'fsync entries',
    'rename new old',
    'fsync vaults',
  ])
})
