/**
 * SIGKILL right before a counted call, so that exactly everything up to the call before has happened: some points
 * spread over each command, and what a person may want to do after it was finished. `npm run faults` tries them all.
 */
import { hkdfSync } from 'node:crypto'
import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { numberedValues, plainTwoLevels, versionColumn, xchachaWrap } from '../support/application.ts'
import { material, type Run, runs, untested } from '../support/rotations.ts'
import { makeWorkspace, type Workspace, type WorkspaceOptions } from '../support/workspace.ts'
import { runShimmed, shimMissing } from './harness/shim.ts'

const rows = 24
const open: Workspace[] = []
afterAll(() => open.forEach((workspace) => workspace.close()))

/** A workspace from which each point begins. */
function template(options: Partial<WorkspaceOptions>, ...steps: readonly (readonly string[])[]): Workspace {
  const workspace = makeWorkspace({ shape: plainTwoLevels, rows, ...options })
  open.push(workspace)
  workspace.begin()
  for (const step of steps) workspace.ok(...step)
  return workspace
}

type Operation = {
  readonly title: string
  readonly begin: () => Workspace
  /** Commands that each point runs first: a run remembers where its store lies, so it cannot be copied. */
  readonly before?: readonly (readonly string[])[]
  readonly args: (workspace: Workspace) => readonly string[]
  /** It goes on with a run: after a kill the same command is given again, as long as the run is open. */
  readonly again?: true
  /** What holds at every instant. */
  readonly always: (workspace: Workspace) => void
  /** What holds when the command was finished after the kill. */
  readonly done: (workspace: Workspace) => void
  /** What must still be possible then; each point takes the next one. */
  readonly further: readonly ((workspace: Workspace) => Promise<void>)[]
}

/** Brings a killed command to its end: by a resume where a run is open, else by the same command again. */
async function finish(workspace: Workspace, args: readonly string[], again = false): Promise<void> {
  const command = openRuns(workspace).length > 0 && !again ? ['run', 'resume'] : args
  const { exit, stdout, stderr } = await workspace.start(command)
  // All but the last entry of the log was done: a finished command says so and does nothing a second time.
  if (/the keyring has master@1 already|cannot be rolled back: it is rolled-back/.test(stderr)) return
  expect(exit, `kvx ${command.join(' ')}\n${stdout}${stderr}`).toBe(0)
}

function openRuns(workspace: Workspace): readonly Run[] {
  return runs(workspace).filter(({ status }) => status === 'open' || status === 'waiting')
}

/** design.md section 1, computed without kvx's code. */
function fingerprint(key: Buffer): string {
  return Buffer.from(hkdfSync('sha256', key, '', 'kvx/key-fingerprint/v1', 32)).toString('hex')
}

/** The keyring is whole, what it records lies in the home, and the database is sound. */
function expectConsistent(workspace: Workspace): void {
  for (const [number, record] of Object.entries(workspace.keyring().keys['master']?.versions ?? {})) {
    if (record.fingerprint === null) continue
    expect(fingerprint(material(workspace, Number(number)))).toBe(record.fingerprint)
  }
  const { seals, versions } = workspace.keyring().keys['master'] ?? { seals: null, versions: {} }
  if (seals !== null) expect(versions[String(seals)]?.state).toBe('active')
  const check = workspace.sql((database) => database.prepare('PRAGMA integrity_check').get())
  expect(check).toEqual({ integrity_check: 'ok' })
}

/** Readers with two slots open everything at every instant. */
function expectReadable(workspace: Workspace): void {
  expectConsistent(workspace)
  expect(workspace.lost()).toEqual([])
}

/** Readers with one slot open everything, or have no key at all. */
function expectAllOrNothing(workspace: Workspace): void {
  expectConsistent(workspace)
  const key = workspace.publishedKey('current')
  if (key !== undefined) expect(workspace.read(key).failed).toBe(0)
}

function expectUnder(workspace: Workspace, version: number): void {
  expectConsistent(workspace)
  expect(openRuns(workspace)).toEqual([])
  expect(workspace.keyring().keys['master']?.seals).toBe(version)
  expect(workspace.publishedKey('current')).toEqual(material(workspace, version))
  expect(workspace.read(material(workspace, version))).toMatchObject({ opened: rows, failed: 0 })
  expect(leftovers(workspace)).toEqual([])
}

function expectPublished(workspace: Workspace, version: number): void {
  expectReadable(workspace)
  expect(openRuns(workspace)).toEqual([])
  expect(workspace.keyring().keys['master']?.seals).toBe(version)
  expect(workspace.publishedKey('current')).toEqual(material(workspace, version))
  expect(leftovers(workspace)).toEqual([])
}

/**
 * Unfinished files that may hold a key. Those of plans, certificates and known places hold none, and a second name
 * of the very file that is published goes with its next replacement.
 */
function leftovers(workspace: Workspace): readonly string[] {
  const inode = (name: string): number | undefined =>
    statSync(workspace.file(name), { throwIfNoEntry: false })?.ino
  return readdirSync(workspace.path, { recursive: true, encoding: 'utf8' }).filter(
    (name) =>
      name.endsWith('.kvx-new') &&
      !/\.kvx\/(?:(?:runs|certificates)\/|\.places\.json)/.test(name) &&
      inode(name) !== inode('keys/app.key'),
  )
}

const command =
  (...args: readonly string[]) =>
  async (workspace: Workspace): Promise<void> => {
    const { exit, stdout, stderr } = await workspace.start(args)
    expect(exit, `kvx ${args.join(' ')}\n${stdout}${stderr}`).toBe(0)
  }

const auditHolds = command('audit', 'verify')

/** Undoes the first run of a kind; then the first key opens everything again. */
const rollBack =
  (kind: string) =>
  async (workspace: Workspace): Promise<void> => {
    const run = runs(workspace).find((one) => one.kind === kind)
    await command('run', 'rollback', run?.id ?? 'none', '--yes')(workspace)
    expectUnder(workspace, 1)
  }

const retire = async (workspace: Workspace): Promise<void> => {
  await command('retire', 'master@1', '--confirm', 'master@1')(workspace)
  expect(workspace.publishedKey('previous')).toBeUndefined()
  expect(workspace.read(workspace.firstKey.bytes).opened).toBe(0)
}

const rotateOffline = ['rotate', 'master', '--offline', '--yes', ...untested] as const
const rotateData = [...rotateOffline, '--then', 'data', '--batch', '8'] as const

const operations: readonly Operation[] = [
  {
    title: 'keygen',
    begin: () => {
      const workspace = makeWorkspace({ shape: plainTwoLevels, rows: 0 })
      open.push(workspace)
      workspace.ok('init')
      workspace.writeConfig()
      writeFileSync(workspace.published, 'PORT=8080\n', { mode: 0o600 })
      return workspace
    },
    args: () => ['keygen', 'master'],
    always: expectConsistent,
    done: (workspace) => {
      expectConsistent(workspace)
      expect(workspace.publishedKey('current')).toEqual(material(workspace, 1))
      expect(leftovers(workspace)).toEqual([])
    },
    further: [auditHolds, command('rotate', 'master', '--offline', '--yes', ...untested)],
  },
  {
    title: 'key import',
    begin: () => {
      const workspace = makeWorkspace({ shape: plainTwoLevels, rows })
      open.push(workspace)
      workspace.ok('init')
      workspace.writeConfig()
      return workspace
    },
    args: () => ['key', 'import', 'master'],
    always: expectReadable,
    done: (workspace) => expectUnder(workspace, 1),
    further: [auditHolds, command('verify')],
  },
  {
    title: 'rotate --offline',
    begin: () => template({}),
    args: () => rotateOffline,
    always: expectReadable,
    done: (workspace) => expectPublished(workspace, 2),
    further: [
      auditHolds,
      rollBack('rotate'),
      async (workspace) => {
        await command('rewrap', '--yes')(workspace)
        expectUnder(workspace, 2)
      },
    ],
  },
  {
    title: 'rotate --stage',
    begin: () => template({ place: 'file' }),
    args: () => ['rotate', 'master', '--stage', '--yes', ...untested],
    always: expectReadable,
    done: (workspace) => {
      expectReadable(workspace)
      expect(workspace.keyring().keys['master']).toMatchObject({ seals: 1, staged: 2 })
      expect(workspace.publishedKey('previous')).toEqual(material(workspace, 2))
    },
    further: [
      async (workspace) => {
        await command('rotate', 'master', '--activate', '--rolled-out', '--yes')(workspace)
        expectPublished(workspace, 2)
      },
      async (workspace) => {
        await command('rotate', 'master', '--unstage', '--yes')(workspace)
        expectPublished(workspace, 1)
        expect(workspace.publishedKey('previous')).toBeUndefined()
      },
    ],
  },
  {
    title: 'rotate --activate',
    begin: () => template({ place: 'file' }),
    before: [['rotate', 'master', '--stage', '--yes', ...untested]],
    args: () => ['rotate', 'master', '--activate', '--rolled-out', '--yes'],
    again: true,
    always: expectReadable,
    done: (workspace) => expectPublished(workspace, 2),
    further: [auditHolds, rollBack('rotate')],
  },
  {
    title: 'rotate --offline --then data',
    begin: () => template({ place: 'env-one-slot', shape: versionColumn }),
    args: () => rotateData,
    always: expectAllOrNothing,
    done: (workspace) => expectUnder(workspace, 2),
    further: [auditHolds, rollBack('rotate'), retire],
  },
  {
    title: 'rewrap',
    begin: () => template({ shape: xchachaWrap }, rotateOffline),
    args: () => ['rewrap', '--yes', '--batch', '8'],
    always: expectReadable,
    done: (workspace) => expectUnder(workspace, 2),
    further: [auditHolds, rollBack('rewrap'), retire],
  },
  {
    title: 'reencrypt',
    begin: () => template({ shape: numberedValues, place: 'file' }, rotateOffline),
    args: () => ['reencrypt', '--yes', '--batch', '8'],
    always: expectReadable,
    done: (workspace) => expectUnder(workspace, 2),
    further: [auditHolds, rollBack('reencrypt'), retire],
  },
  {
    title: 'retire',
    begin: () => template({}, rotateData),
    args: () => ['retire', 'master@1', '--confirm', 'master@1'],
    always: expectReadable,
    done: (workspace) => {
      expectUnder(workspace, 2)
      expect(workspace.publishedKey('previous')).toBeUndefined()
      expect(workspace.keyring().keys['master']?.versions['1']?.retired).not.toBeNull()
    },
    further: [auditHolds, command('verify')],
  },
  {
    title: 'run rollback',
    begin: () => template({ place: 'file-one-slot', shape: numberedValues }),
    before: [rotateData],
    args: (workspace) => ['run', 'rollback', runs(workspace)[0]?.id ?? 'none', '--yes', '--batch', '8'],
    always: expectAllOrNothing,
    done: (workspace) => expectUnder(workspace, 1),
    further: [auditHolds, command('retire', 'master@2', '--confirm', 'master@2')],
  },
  {
    title: 'key publish',
    begin: () => {
      const workspace = template({ place: 'file' }, rotateData)
      rmSync(workspace.published)
      return workspace
    },
    args: () => ['key', 'publish', 'master', '--yes'],
    always: expectConsistent,
    done: (workspace) => expectUnder(workspace, 2),
    further: [auditHolds],
  },
]

/** So many points of each command, and so many of them side by side. */
const points = 6
const lanes = 2
const timeout = 240_000

beforeEach((context) => {
  const missing = shimMissing()
  if (missing !== undefined) context.skip(missing)
})

describe('killed at any instant', () => {
  test.for(operations)(
    '$title is finished by a resume or by the same command, and loses nothing',
    { timeout },
    async (operation) => {
      const begin = operation.begin()
      const count = await countCalls(operation, begin)
      const turns = Array.from({ length: points }, (_, turn) => turn)
      const failures: string[] = []
      const lane = async (): Promise<void> => {
        for (let turn = turns.shift(); turn !== undefined; turn = turns.shift()) {
          const at = Math.ceil((count * (turn + 0.5)) / points)
          const end = await onePoint(operation, begin, { at, turn })
          if (end !== 'good') failures.push(`call ${at} of ${count}: ${end}`)
        }
      }
      await Promise.all(Array.from({ length: lanes }, lane))
      expect(failures).toEqual([])
    },
  )
})

async function ready(operation: Operation, begin: Workspace): Promise<Workspace> {
  const workspace = begin.copy()
  open.push(workspace)
  for (const step of operation.before ?? []) await command(...step)(workspace)
  return workspace
}

async function countCalls(operation: Operation, begin: Workspace): Promise<number> {
  const workspace = await ready(operation, begin)
  const { exit, count, stderr } = await runShimmed(workspace, operation.args(workspace))
  expect(exit, stderr).toBe(0)
  operation.done(workspace)
  workspace.close()
  return count
}

type Point = { readonly at: number; readonly turn: number }

/** Kills one run at one point and looks at what is left; gives what went wrong. */
async function onePoint(operation: Operation, begin: Workspace, { at, turn }: Point): Promise<string> {
  const workspace = await ready(operation, begin)
  try {
    const args = operation.args(workspace)
    const { fired, exit, signal, stderr } = await runShimmed(workspace, args, { armed: { at, act: 'kill' } })
    operation.always(workspace)
    // Progress is saved by time: this run made fewer calls than the one that was counted, and is done.
    if (!fired && exit === 0) {
      operation.done(workspace)
      return 'good'
    }
    if (!fired || signal !== 'SIGKILL') return `ended with ${exit ?? signal}: ${stderr}`
    if (!(operation.again === true && openRuns(workspace).length === 0))
      await finish(workspace, args, operation.again)
    operation.done(workspace)
    await operation.further[turn % operation.further.length]?.(workspace)
    operation.always(workspace)
    return 'good'
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  } finally {
    workspace.close()
  }
}
