import { execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { plainTwoLevels, secretOf } from '../support/application.ts'
import { kvxBin, startKvx } from '../support/cli.ts'
import { runs } from '../support/rotations.ts'
import {
  closeImported,
  importedWorkspace,
  type Workspace,
  type WorkspaceOptions,
} from '../support/workspace.ts'

const rows = 60
const untested = ['--without-backup', '--reason', 'a test system'] as const
const rotateOffline = ['rotate', 'master', '--offline', '--yes', ...untested] as const
/** About a second of work. */
const slowly = ['--batch', '2', '--rate', '60'] as const
const open: Workspace[] = []
afterAll(() => {
  open.forEach((workspace) => workspace.close())
  closeImported()
})

function begun(options: Partial<WorkspaceOptions> = {}): Workspace {
  const workspace = importedWorkspace({ shape: plainTwoLevels, rows, ...options })
  open.push(workspace)
  return workspace
}

function rotated(options: Partial<WorkspaceOptions> = {}): Workspace {
  const workspace = begun(options)
  workspace.ok(...rotateOffline)
  return workspace
}

/** Starts a command and waits until it has moved some records. */
async function atWork(workspace: Workspace, ...args: readonly string[]) {
  const child = startKvx(args, { cwd: workspace.path, env: workspace.env })
  let said = ''
  child.stdout.on('data', (bytes: Buffer) => (said += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()))
  onTestFinished(() => void child.kill('SIGKILL'))
  const ended = new Promise<{ exit: number | null; said: string }>((done) => {
    child.on('close', (exit) => done({ exit, said }))
  })
  while (workspace.read(workspace.firstKey.bytes).failed === 0 && child.exitCode === null) await sleep(10)
  return { child, ended }
}

function expectAllMoved(workspace: Workspace): void {
  expect(workspace.read(workspace.publishedKey('current'))).toMatchObject({ opened: rows, failed: 0 })
}

describe('two operators', () => {
  test('who rewrap one store at once: one works, the other learns who', async () => {
    const workspace = rotated()
    const first = await atWork(workspace, 'rewrap', '--yes', '--batch', '2', '--rate', '1')
    for (const args of [
      ['rewrap', '--yes'],
      ['run', 'resume'],
      ['run', 'rollback', '--yes'],
      ['rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested],
      ['retire', 'master@1', '--confirm', 'master@1'],
    ]) {
      const refused = workspace.json(...args)
      expect([args, refused.exit, refused.error?.code]).toEqual([args, 8, 'LOCKED'])
      expect(refused.error?.message).toContain(`process ${first.child.pid}`)
      expect(refused.error?.message).toContain('(kvx rewrap --yes --batch 2')
    }
    first.child.kill('SIGTERM')
    expect((await first.ended).exit).toBe(10)
    workspace.ok('run', 'resume')
    expect(runs(workspace).map(({ kind, status }) => `${kind} ${status}`)).toEqual([
      'rotate done',
      'rewrap done',
    ])
    expectAllMoved(workspace)
  })

  test('who start to rewrap at the same instant make one run', async () => {
    const workspace = rotated()
    const both = await Promise.all(
      [1, 2, 3].map(async () => workspace.start(['rewrap', '--yes', '--json', ...slowly])),
    )
    const exits = both.map(({ exit }) => exit ?? -1).sort((a, b) => a - b)
    expect(exits).toEqual([0, 8, 8])
    expect(runs(workspace).filter(({ kind }) => kind === 'rewrap')).toHaveLength(1)
    expectAllMoved(workspace)
  })

  test('with homes of their own cannot meet in one store', async () => {
    const workspace = rotated()
    execFileSync('cp', ['-a', workspace.home, workspace.file('.kvx2')])
    const first = await atWork(workspace, 'rewrap', '--yes', '--batch', '2', '--rate', '1')
    const refused = workspace.json('rewrap', '--yes', '--home', workspace.file('.kvx2'))
    expect(refused).toMatchObject({ exit: 8, error: { code: 'LOCKED' } })
    expect(refused.error?.message).toContain(`process ${first.child.pid}`)
    first.child.kill('SIGTERM')
    expect((await first.ended).exit).toBe(10)
    workspace.ok('rewrap', '--yes', '--home', workspace.file('.kvx2'))
    workspace.ok('run', 'resume')
    expectAllMoved(workspace)
  })

  test('who rotate at the same instant make one run and one new version', async () => {
    const workspace = begun()
    const both = await Promise.all([1, 2, 3].map(async () => workspace.start(rotateOffline)))
    const exits = both.map(({ exit }) => exit)
    expect(exits.filter((exit) => exit === 0)).toHaveLength(1)
    expect(exits.filter((exit) => exit !== 0 && ![6, 7, 8].includes(exit ?? -1))).toEqual([])
    expect(runs(workspace).map(({ status }) => status)).toEqual(['done'])
    expect(workspace.keyring().keys['master']).toMatchObject({ seals: 2, previous: 1, next: 3 })
    expect(workspace.lost()).toEqual([])
  })

  test('one who looks while the other works is not held up', async () => {
    const workspace = rotated()
    const first = await atWork(workspace, 'rewrap', '--yes', ...slowly)
    expect(workspace.json('verify').exit).toBe(0)
    expect(workspace.json('run', 'list').exit).toBe(0)
    expect(workspace.json('key', 'show', 'master').exit).toBe(0)
    expect((await first.ended).exit).toBe(0)
  })
})

describe('an application that goes on writing under the old key', () => {
  /** A process of its own that updates and inserts until it is told to stop, or has written so often. */
  async function writer(workspace: Workspace, count: number) {
    const script = join(import.meta.dirname, 'writer.ts')
    const key = join(workspace.home, 'keys/master.v1.key')
    const child = spawn(process.execPath, [script, workspace.database, key, String(count)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    let said = ''
    child.stdout.on('data', (bytes: Buffer) => (said += bytes.toString()))
    const ended = new Promise((done) => child.on('close', done))
    while (!said.includes('ready')) await sleep(5)
    const wrote = async (): Promise<Record<string, number>> => {
      await ended
      return JSON.parse(said.slice(said.indexOf('{'))) as Record<string, number>
    }
    return { stop: () => void child.kill('SIGTERM'), wrote }
  }

  /** Every record holds what was written into it last, and opens with the key. */
  function expectWrites(workspace: Workspace, key: Buffer | undefined, wrote: Record<string, number>): void {
    if (key === undefined) throw new Error('no key is published')
    const held = new Map(
      workspace.rows().map((row) => [String(row['id']), plainTwoLevels.open(key, Number(row['id']), row)[0]]),
    )
    for (const [id, write] of Object.entries(wrote))
      expect(held.get(id)).toBe(secretOf(Number(id), ` write ${write}`))
    expect(held.size).toBe(new Set([...Object.keys(wrote), ...held.keys()]).size)
  }

  test('and stops during the run: no write is lost, and everything ends under the new key', async () => {
    const workspace = rotated()
    const other = await writer(workspace, 60)
    const { exit, stderr } = await workspace.start(['rewrap', '--yes', '--batch', '5', '--rate', '40'])
    expect(exit, stderr).toBe(0)
    const wrote = await other.wrote()
    expect(Object.keys(wrote).length).toBeGreaterThan(30)
    expectWrites(workspace, workspace.publishedKey('current'), wrote)
    expect(workspace.lost()).toEqual([])
  })

  test('all through the run is named with exit 4; a resume finishes when it has stopped', async () => {
    // Enough records that some are written again between any sweep and the look that follows it.
    const workspace = rotated({ rows: 1500 })
    const other = await writer(workspace, 1_000_000)
    const partly = workspace.json('rewrap', '--yes', '--batch', '25')
    expect(partly).toMatchObject({ exit: 4, error: { code: 'WRITER_ACTIVE' } })
    expect(partly.error?.message).toContain('app.secrets')
    expect(partly.error?.hint).toContain(`kvx run resume ${partly.run ?? '?'}`)
    expect(workspace.json('retire', 'master@1', '--confirm', 'master@1').exit).toBe(6)
    other.stop()
    const wrote = await other.wrote()
    workspace.ok('run', 'resume')
    expectWrites(workspace, workspace.publishedKey('current'), wrote)
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
    expectWrites(workspace, workspace.publishedKey('current'), wrote)
  })

  test('all through a rollback loses no write either', async () => {
    const workspace = rotated()
    const rewrap = workspace.ok('rewrap', '--yes')
    const other = await writer(workspace, 60)
    const args = ['run', 'rollback', rewrap.run ?? '', '--yes', '--batch', '5', '--rate', '40']
    const { exit, stderr } = await workspace.start(args)
    expect(exit, stderr).toBe(0)
    expectWrites(workspace, workspace.firstKey.bytes, await other.wrote())
    expect(workspace.publishedKey('current')).toEqual(workspace.firstKey.bytes)
  })
})

describe('a signal in the middle of a run', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    '%s ends it in exit 10 between two batches, with the command that resumes',
    async (signal) => {
      const workspace = rotated()
      const { child, ended } = await atWork(workspace, 'rewrap', '--yes', ...slowly)
      child.kill(signal)
      const { exit, said } = await ended
      const [, run] = runs(workspace)
      expect(exit, said).toBe(10)
      expect(said).toContain(`kvx run resume ${run?.id ?? '?'}`)
      expect(said).toContain(signal)
      expect(run?.status).toBe('open')
      expect(workspace.lost()).toEqual([])
      workspace.ok('run', 'resume')
      expectAllMoved(workspace)
    },
  )

  test('a rotation with its data is resumed after it too', async () => {
    const workspace = begun({ place: 'env-one-slot' })
    const args = [...rotateOffline, '--then', 'data', ...slowly]
    const { child, ended } = await atWork(workspace, ...args)
    child.kill('SIGTERM')
    expect((await ended).exit).toBe(10)
    expect(workspace.publishedKey('current')).toBeUndefined()
    workspace.ok('run', 'resume')
    expectAllMoved(workspace)
  })

  test('a second one ends it at once, and a resume finishes the run all the same', async () => {
    const workspace = rotated()
    const { child, ended } = await atWork(workspace, 'rewrap', '--yes', '--batch', '30', '--rate', '1')
    child.kill('SIGINT')
    await sleep(20)
    child.kill('SIGINT')
    expect((await ended).exit).toBe(130)
    expect(workspace.lost()).toEqual([])
    workspace.ok('run', 'resume')
    expectAllMoved(workspace)
  })

  test('while everything is only looked at leaves nothing behind', async () => {
    const workspace = rotated()
    workspace.sql((database) => {
      const insert = database.prepare('INSERT INTO secrets VALUES (?, ?, ?)')
      const row = plainTwoLevels.seal(workspace.firstKey, 1)
      database.exec('BEGIN')
      for (let id = rows + 1; id <= 40_000; id++)
        insert.run(id, row['wrapped_dek'] as Buffer, row['ciphertext'] as string)
      database.exec('COMMIT')
    })
    const child = startKvx(['rewrap', '--yes'], { cwd: workspace.path, env: workspace.env })
    const ended = new Promise<number | null>((done) => child.on('close', done))
    await sleep(600)
    child.kill('SIGTERM')
    expect(await ended).toBe(10)
    expect(runs(workspace)).toHaveLength(1)
  })
})

describe('a reader of the output that goes away', () => {
  test.each([
    ['standard output', '| head -n 1'],
    ['both outputs', '2>&1 | head -n 1'],
    ['an output that was closed from the start', '2>&1 | true'],
  ])('does not stop a run: %s', async (_, pipe) => {
    const workspace = rotated()
    const line = `"$0" rewrap --yes --batch 2 --rate 60 ${pipe}`
    const child = spawn('bash', ['-c', line, kvxBin], {
      cwd: workspace.path,
      env: { PATH: process.env['PATH'] ?? '', ...workspace.env },
      stdio: 'ignore',
    })
    await new Promise((done) => child.on('close', done))
    expect(runs(workspace)[1]).toMatchObject({ kind: 'rewrap', status: 'done' })
    expectAllMoved(workspace)
    const report = join(workspace.home, 'runs', runs(workspace)[1]?.id ?? '', 'report.json')
    expect(JSON.parse(readFileSync(report, 'utf8'))).toMatchObject({ schema: 'kvx.report/1' })
  })
})
