import { readdirSync } from 'node:fs'
import { expect } from 'vitest'
import { killAt, type KillPoint, killPoints } from './kill.ts'
import type { Workspace } from './workspace.ts'

/** So many points of each command at most, spread over all that it has. */
const most = 10

const open: { close(): void }[] = []
let killed = 0

/** Closed by `closeKilled`. */
export function closing<T extends { close(): void }>(one: T): T {
  open.push(one)
  return one
}

export function closeKilled(): void {
  for (const one of open.splice(0)) one.close()
}

/** How many points of this file's commands fired. */
export function killedSoFar(): number {
  return killed
}

function spread(points: readonly KillPoint[], count: number): readonly KillPoint[] {
  const every = Math.max(1, points.length / count)
  return Array.from(
    { length: Math.min(count, points.length) },
    (_, index) => points[Math.floor(index * every)],
  ).filter((point) => point !== undefined)
}

export type EachKill = {
  readonly from: Workspace
  readonly command: readonly string[]
  /** What the command reads from its standard input. */
  readonly input?: string
  /** What a person would do then, and what must hold. */
  readonly mend: (workspace: Workspace, at: string) => void
  /** What must hold right after the kill. */
  readonly always?: (workspace: Workspace, at: string) => void
  readonly points?: number
  /** False where the command seals what the application's reader does not know. */
  readonly read?: boolean
}

/** Kills the command at each point in a copy of its own, then lets `mend` do what a person would. */
export function atEachKill({
  from,
  command,
  input = '',
  mend,
  always,
  points = most,
  read = true,
}: EachKill): void {
  const found = spread(killPoints(closing(from.copy()), command, input), points)
  expect(found.length).toBeGreaterThan(4)
  for (const point of found) {
    const workspace = closing(from.copy())
    if (killAt(workspace, command, point, input)) killed++
    const at = `${command.slice(0, 3).join(' ')} killed at ${point.call} ${point.when}`
    always?.(workspace, at)
    mend(workspace, at)
    expectWhole(workspace, at, read)
    workspace.close()
  }
}

/** The same command succeeds, or says with this code that it is done already. */
export function again(workspace: Workspace, command: readonly string[], at: string, done?: string): void {
  const { exit, error } = workspace.json(...command)
  if (exit !== 0 && error?.code !== done) throw new Error(`${at}: ${exit} ${JSON.stringify(error)}`)
}

function expectWhole(workspace: Workspace, at: string, read: boolean): void {
  expect(workspace.json('audit', 'verify').error, at).toBeUndefined()
  if (read) expect(workspace.read(workspace.publishedKey('current')).failed, at).toBe(0)
  // Of an encrypted backup with an id of its own an unfinished file may stay; `kvx doctor` names it. The plan of a
  // run that never began holds no key.
  const left = readdirSync(workspace.path, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.kvx-new'))
    .filter((file) => !/backups\/[^/]*$|\.plan\.json\.kvx-new$/.test(file))
  expect(left, at).toEqual([])
}
