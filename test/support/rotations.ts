import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { plainTwoLevels } from './application.ts'
import { startKvx } from './cli.ts'
import { importedWorkspace, type RingFile, type Workspace, type WorkspaceOptions } from './workspace.ts'

export const rows = 40
/** The flags of a rotation that goes without a backup. */
export const untested = ['--without-backup', '--reason', 'a test system'] as const

const open: { close(): void }[] = []

/** Closed by `closeAll`. */
export function closing<T extends { close(): void }>(one: T): T {
  open.push(one)
  return one
}

export function closeAll(): void {
  for (const one of open.splice(0)) one.close()
}

/** An application of 40 records whose key was imported. */
export function begun(options: Partial<WorkspaceOptions> = {}): Workspace {
  return closing(importedWorkspace({ shape: plainTwoLevels, rows, ...options }))
}

/** What the keyring says of the key. */
export function ring(workspace: Workspace): RingFile['keys'][string] {
  const key = workspace.keyring().keys['master']
  if (key === undefined) throw new Error('the keyring has no key')
  return key
}

export function material(workspace: Workspace, version: number): Buffer {
  return readFileSync(join(workspace.home, `keys/master.v${version}.key`))
}

export type Run = { readonly id: string; readonly status: string; readonly kind: string }

/** The runs of the journal, oldest first, read without kvx's code. */
export function runs(workspace: Workspace): readonly Run[] {
  const database = new DatabaseSync(join(workspace.home, 'kvx.db'), { timeout: 5000 })
  try {
    return database.prepare('SELECT id, status, kind FROM run ORDER BY created, rowid').all() as Run[]
  } finally {
    database.close()
  }
}

/** Starts a slow rotation with its data and kills it when some records, not all, are under the new key. */
export async function killMidway(workspace: Workspace, atLeast: number): Promise<void> {
  const child = startKvx(
    ['rotate', 'master', '--offline', '--then', 'data', '--yes', '--batch', '1', '--rate', '40', ...untested],
    { cwd: workspace.path, env: workspace.env },
  )
  const ended = new Promise((done) => child.on('close', done))
  for (let tries = 0; tries < 1000; tries++) {
    await sleep(10)
    if (workspace.read(workspace.firstKey.bytes).failed >= atLeast) break
  }
  child.kill('SIGKILL')
  await ended
  const { opened, failed } = workspace.read(workspace.firstKey.bytes)
  expect(failed).toBeGreaterThanOrEqual(atLeast)
  expect(opened).toBeGreaterThan(0)
}
