import { expect } from 'vitest'
import { oneLevel, plainTwoLevels } from './application.ts'
import { makeWorkspace, type Workspace, type WorkspaceOptions } from './workspace.ts'

/** Applications in the states that a rotation leads through; each test gets one of its own. */
export const rows = 30
export const untested = ['--without-backup', '--reason', 'a test system'] as const

const open: { close(): void }[] = []

/** Closed by `closeStates`. */
export function closing<T extends { close(): void }>(one: T): T {
  open.push(one)
  return one
}

export function closeStates(): void {
  for (const one of open.splice(0)) one.close()
}

export function begun(options: Partial<WorkspaceOptions> = {}): Workspace {
  return closing(makeWorkspace({ shape: plainTwoLevels, rows, ...options })).begin()
}

/** With its data under version 2. */
export function rotated(options: Partial<WorkspaceOptions> = {}): Workspace {
  const workspace = begun(options)
  workspace.ok('rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested)
  return workspace
}

export function staged(): Workspace {
  const workspace = begun()
  workspace.ok('rotate', 'master', '--stage', '--yes', ...untested)
  return workspace
}

/** A run that waits because one record does not open. */
export function stuck(): Workspace {
  const workspace = begun({ shape: oneLevel })
  workspace.put(5, workspace.strangeKey())
  const args = ['--offline', '--then', 'data', '--on-error', 'quarantine', '--yes', ...untested]
  expect(workspace.json('rotate', 'master', ...args).exit).toBe(4)
  return workspace
}

export type Runs = { readonly runs: readonly { id: string; status: string; direction: string }[] }

export function runOf(workspace: Workspace, index = 0): Runs['runs'][number] {
  const run = workspace.ok<Runs>('run', 'list').data.runs[index]
  if (run === undefined) throw new Error('there is no run')
  return run
}
