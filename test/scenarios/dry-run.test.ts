import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { oneLevel, plainTwoLevels } from '../support/application.ts'
import { commandFacts } from '../support/commands.ts'
import {
  begun,
  closeStates,
  closing,
  rotated,
  rows,
  runOf,
  type Runs,
  staged,
  stuck,
  untested,
} from '../support/states.ts'
import { makeWorkspace, treeFiles, type Workspace } from '../support/workspace.ts'

afterAll(closeStates)

type Case = { readonly make: () => Workspace; readonly args: (workspace: Workspace) => readonly string[] }

function always(...args: readonly string[]): Case['args'] {
  return () => args
}

function withVault(): Workspace {
  const workspace = begun()
  const text = workspace
    .configuration()
    .replace(
      'stores:',
      '  tk: { purpose: vault, publish: [{ file: tk.key }] }\nvaults:\n  box: { directory: vaults, key: tk }\nstores:',
    )
  workspace.writeConfig(text)
  mkdirSync(workspace.file('vaults'), { mode: 0o700 })
  workspace.ok('keygen', 'tk')
  return workspace
}

function retired(): Workspace {
  const workspace = rotated()
  workspace.ok('retire', 'master@1', '--confirm', 'master@1')
  return workspace
}

function due(): Workspace {
  const workspace = retired()
  workspace.ok('run', 'forget', runOf(workspace).id, '--confirm', runOf(workspace).id)
  workspace.ok('destroy', 'master@1', '--after', '0s', '--confirm', 'master@1')
  return workspace
}

/** With a plan of its rewrap; no policy asks for approvals. */
function planned(): Workspace {
  const workspace = begun()
  workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
  workspace.ok('plan', 'rewrap', '--out', 'plan.json')
  return workspace
}

/** The rotation of a key without declared shares deals them to these. */
const custodians = ['A. Boole', 'C. Dirac', 'E. Fermi'].flatMap((name) => ['--custodian', name])

function scripted(): Workspace {
  const workspace = begun()
  workspace.ok('ceremony', 'plan', 'rotation', 'master', '--out', 'held', ...custodians)
  return workspace
}

const withRun =
  (...words: readonly string[]): Case['args'] =>
  (workspace) => ['run', words[0] ?? '', runOf(workspace).id, ...words.slice(1)]

/** Every command that changes something, in a state in which it would. */
const mutating: Readonly<Record<string, Case | readonly Case[]>> = {
  apply: { make: planned, args: always('apply', 'plan.json') },
  'audit:adopt': { make: begun, args: (workspace) => ['audit', 'adopt', workspace.file('side.jsonl')] },
  'audit:export': { make: begun, args: always('audit', 'export', '--out', 'evidence.jsonl') },
  'backup:confirm': { make: begun, args: always('backup', 'confirm', 'AAAAAA') },
  'backup:create': { make: begun, args: always('backup', 'create', 'master') },
  'backup:drill': { make: begun, args: always('backup', 'drill', 'master') },
  'backup:home': { make: begun, args: always('backup', 'home', '--out', 'copy.json') },
  'backup:recreate-share': {
    make: begun,
    args: always('backup', 'recreate-share', 'AAAAAA', '--index', '1'),
  },
  'backup:reshare': { make: begun, args: always('backup', 'reshare', 'master') },
  'backup:split': { make: begun, args: always('backup', 'split', 'master') },
  check: {
    make: begun,
    args: always('check', 'app.env', '--only', 'files', '--write-baseline', 'known.json'),
  },
  'ceremony:plan': { make: begun, args: always('ceremony', 'plan', 'rotation', 'master', ...custodians) },
  'ceremony:run': { make: scripted, args: always('ceremony', 'run', 'held') },
  'ceremony:sign': { make: scripted, args: always('ceremony', 'sign', 'held', '--audit-key') },
  destroy: [
    { make: retired, args: always('destroy', 'master@1') },
    { make: due, args: always('destroy', '--due') },
    { make: due, args: always('destroy', 'master@1', '--cancel') },
  ],
  doctor: { make: rotated, args: always('doctor', '--rebuild-keyring') },
  init: { make: () => makeWorkspace({ shape: plainTwoLevels, rows }), args: always('init') },
  'key:compromise': { make: begun, args: always('key', 'compromise', 'master@1', '--reason', 'x') },
  'key:import': {
    make: () => makeWorkspace({ shape: plainTwoLevels, rows }),
    args: always('key', 'import', 'master'),
  },
  'key:publish': {
    make: () => {
      const workspace = begun()
      writeFileSync(workspace.published, 'PORT=8080\n', { mode: 0o600 })
      return workspace
    },
    args: always('key', 'publish', 'master'),
  },
  'key:resume': {
    make: () => {
      const workspace = begun()
      workspace.ok('key', 'suspend', 'master@1', '--reason', 'x', '--yes')
      return workspace
    },
    args: always('key', 'resume', 'master@1', '--reason', 'x'),
  },
  'key:suspend': { make: begun, args: always('key', 'suspend', 'master@1', '--reason', 'x') },
  'key:unretire': { make: retired, args: always('key', 'unretire', 'master@1') },
  keygen: [
    { make: begun, args: always('keygen', 'bare', '--out', 'bare.key') },
    {
      make: () => {
        const workspace = begun()
        workspace.writeConfig(
          workspace
            .configuration()
            .replace('stores:', '  more: { purpose: kek, publish: [{ file: more.key }] }\nstores:'),
        )
        return workspace
      },
      args: always('keygen', 'more'),
    },
  ],
  metrics: { make: begun, args: always('metrics', '--textfile', 'kvx.prom') },
  'plan:approve': { make: planned, args: always('plan', 'approve', 'plan.json', '--ssh-key', 'none') },
  'plan:destroy': { make: retired, args: always('plan', 'destroy', 'master@1', '--out', 'p.json') },
  'plan:reencrypt': {
    make: () => begun({ shape: oneLevel }),
    args: always('plan', 'reencrypt', '--out', 'p.json', ...untested),
  },
  'plan:retire': { make: rotated, args: always('plan', 'retire', 'master@1', '--out', 'p.json') },
  'plan:rewrap': { make: rotated, args: always('plan', 'rewrap', '--out', 'p.json') },
  'plan:rotate': {
    make: begun,
    args: always('plan', 'rotate', 'master', '--stage', '--out', 'p.json', ...untested),
  },
  'plan:seal': {
    make: () => begun({ shape: oneLevel }),
    args: always('plan', 'seal', '--out', 'p.json', ...untested),
  },
  reencrypt: {
    make: () => {
      const workspace = begun({ shape: oneLevel })
      workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
      return workspace
    },
    args: always('reencrypt'),
  },
  rewrap: {
    make: () => {
      const workspace = begun()
      workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
      return workspace
    },
    args: always('rewrap'),
  },
  restore: { make: begun, args: always('restore', '--from', 'gpg', 'nothing.asc') },
  retire: { make: rotated, args: always('retire', 'master@1') },
  rotate: [
    { make: begun, args: always('rotate', 'master', '--offline', '--then', 'data', ...untested) },
    { make: staged, args: always('rotate', 'master', '--activate', '--rolled-out') },
    { make: staged, args: always('rotate', 'master', '--unstage') },
  ],
  'run:abandon': { make: stuck, args: withRun('abandon', '--reason', 'x') },
  'run:forget': { make: rotated, args: withRun('forget') },
  'run:restore': { make: rotated, args: withRun('restore') },
  'run:resume': { make: stuck, args: withRun('resume') },
  'run:rollback': { make: rotated, args: withRun('rollback') },
  seal: {
    // The other records of this application are plaintext.
    make: () => begun({ shape: oneLevel }),
    args: always('seal', ...untested),
  },
  'template:render': { make: begun, args: always('template', 'render', 'recovery') },
  'vault:delete': {
    make: () => {
      const workspace = withVault()
      workspace.ok('vault', 'put', 'box', '{"a":1}')
      return workspace
    },
    args: always('vault', 'delete', 'box', 'a'),
  },
  'vault:export': {
    make: () => {
      const workspace = withVault()
      workspace.ok('vault', 'put', 'box', '{"a":1}')
      return workspace
    },
    args: always('vault', 'export', 'box', '--out', 'plain.json'),
  },
  'vault:import': {
    make: () => {
      const workspace = withVault()
      writeFileSync(workspace.file('plain.json'), '{"a":1}', { mode: 0o600 })
      return workspace
    },
    args: always('vault', 'import', 'box', '--from', 'plain.json'),
  },
  'vault:put': { make: withVault, args: always('vault', 'put', 'box', '{"a":1}') },
}

/** Commands that only look. */
const looks = [
  'audit:show',
  'audit:verify',
  'backup:list',
  'backup:verify',
  'completion',
  'ceremony:preflight',
  'ceremony:verify',
  'discover',
  'inspect',
  'key:list',
  'key:show',
  'plan:show',
  'run:list',
  'run:show',
  'share:print',
  'share:verify',
  'status',
  'template:list',
  'vault:get',
  'vault:list',
  'verify',
]

/** Whether the tests get as far as the work: these need what lies outside the workspace, and are refused before. */
const refusedBefore = [
  'audit:adopt',
  'backup:confirm',
  'backup:create',
  'backup:recreate-share',
  'backup:reshare',
  'backup:split',
  'ceremony:sign',
  'restore',
]

describe('--dry-run', () => {
  const cases = Object.entries(mutating).flatMap(([id, list]) =>
    (Array.isArray(list) ? (list as readonly Case[]) : [list as Case]).map((one, index) => ({
      id,
      index,
      ...one,
    })),
  )

  test('is looked at for every command', async () => {
    const ids = [...(await commandFacts()).keys()].sort()
    expect([...Object.keys(mutating), ...looks].sort()).toEqual(ids)
  })

  test.each(cases)('writes nothing: $id $index', ({ id, make, args }) => {
    const workspace = make()
    closing(workspace)
    const words = args(workspace)
    // A home without a journal is not given one by a look.
    const hasRuns = existsSync(workspace.home) && workspace.ok<Runs>('run', 'list').data.runs.length > 0
    if (!hasRuns) rmSync(join(workspace.home, 'kvx.db'), { force: true })
    if (id === 'key:import') workspace.ok('init')
    const before = treeFiles(workspace.path)
    const hash = workspace.treeHash()
    const { exit, stderr } = workspace.run(...words, '--dry-run', '--yes', '--no-input')
    expect(treeFiles(workspace.path), stderr).toEqual(before)
    expect(workspace.treeHash()).toBe(hash)
    if (!refusedBefore.includes(id)) expect(exit, stderr).toBe(0)
  })

  test.each([['status'], ['run', 'list'], ['key', 'list']])('a look makes no journal: %s %s', (...words) => {
    const workspace = begun()
    rmSync(join(workspace.home, 'kvx.db'))
    const before = workspace.treeHash()
    workspace.run(...words)
    expect(workspace.treeHash()).toBe(before)
  })
})
