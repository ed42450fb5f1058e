import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { oneLevel, plainTwoLevels, type Shape, versionColumn } from '../support/application.ts'
import { killAt, killPoints } from '../support/kill.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

// The default begins threads from 20,000 records on; here they are asked for, on tables of three pages.
const rows = 1600
const threads = ['--workers', '2'] as const
const untested = ['--without-backup', '--reason', 'a test system'] as const
const open: Workspace[] = []
afterAll(() => open.forEach((one) => one.close()))

function rotated(shape: Shape): Workspace {
  const workspace = makeWorkspace({ shape, rows }).begin()
  open.push(workspace)
  workspace.ok('rotate', 'master', '--offline', '--yes', ...untested)
  return workspace
}

type Verified = { readonly envelopes: readonly Record<string, unknown>[] }
type Rewrapped = { readonly run: string; readonly envelopes: readonly { readonly changed: number }[] }

/** Threads are not to be seen in what a command says: a process that shows how many it had tells. */
async function tasksOf(workspace: Workspace, ...args: string[]): Promise<number> {
  const trace = workspace.file('clone.txt')
  const ended = await workspace.start(args, ['strace', '-f', '-qq', '-e', 'trace=clone,clone3', '-o', trace])
  expect(ended.exit).toBe(0)
  return readFileSync(trace, 'utf8').split('CLONE_THREAD').length - 1
}

describe('work in threads', () => {
  let workspace: Workspace
  beforeAll(() => {
    workspace = rotated(plainTwoLevels)
  })

  test('is asked for with --workers, and is none where it is 0 or the table is small', async () => {
    const without = await tasksOf(workspace, 'verify', '--workers', '0')
    expect(await tasksOf(workspace, 'verify')).toBe(without)
    expect(await tasksOf(workspace, 'verify', ...threads)).toBeGreaterThan(without)
  })

  test('finds in every record what work without them finds, wherever a record is damaged, plain or a stranger', () => {
    const found = workspace.copy()
    open.push(found)
    found.sql((database) => {
      for (const id of [3, 700, 1200, 1500])
        database.exec(`UPDATE secrets SET wrapped_dek = randomblob(60) WHERE id = ${id}`)
      database.exec('UPDATE secrets SET wrapped_dek = NULL, ciphertext = NULL WHERE id = 1300')
      // One nonce twice under the key, a page apart.
      database.exec(
        'UPDATE secrets SET wrapped_dek = (SELECT substr(o.wrapped_dek, 1, 12) FROM secrets o WHERE o.id = 20) || substr(wrapped_dek, 13) WHERE id = 1400',
      )
    })
    found.put(1599, found.strangeKey())
    const alone = found.json<Verified>('verify', '--workers', '0')
    const together = found.json<Verified>('verify', ...threads)
    expect(together.exit).toBe(alone.exit)
    expect(together.data.envelopes).toEqual(alone.data.envelopes)
    expect(alone.data.envelopes[0]).toMatchObject({ records: rows, unreadable: 6 })
    expect(together.error).toEqual(alone.error)
  })

  test('rewraps every record, and the application reads on', () => {
    const { data } = workspace.ok<Rewrapped>('rewrap', '--yes', ...threads)
    expect(data.envelopes[0]?.changed).toBe(rows)
    expect(workspace.read(workspace.publishedKey('current'))).toEqual({ opened: rows, failed: 0, others: 0 })
    expect(workspace.read(workspace.publishedKey('previous')).opened).toBe(0)
  })

  test('goes back with run rollback', () => {
    const { data } = workspace.ok<{ runs: { id: string; kind: string }[] }>('run', 'list')
    const run = data.runs.find(({ kind }) => kind === 'rewrap')?.id ?? ''
    workspace.ok('run', 'rollback', run, '--yes', ...threads)
    expect(workspace.read(workspace.firstKey.bytes).opened).toBe(rows)
  })
})

test('work in threads takes a version column and bound AADs along, and leaves damaged records to the quarantine', () => {
  const workspace = rotated(versionColumn)
  workspace.sql((database) =>
    database.exec('UPDATE secrets SET wrapped_dek = randomblob(60) WHERE id IN (9, 1555)'),
  )
  const ended = workspace.json<{ envelopes: { changed: number; quarantined: number }[] }>(
    ...['rewrap', '--yes', '--on-error', 'quarantine', ...threads],
  )
  expect(ended).toMatchObject({ exit: 4, error: { code: 'RECORDS_QUARANTINED' } })
  expect(ended.data.envelopes[0]).toMatchObject({ changed: rows - 2, quarantined: 2 })
  expect(workspace.read(workspace.publishedKey('current'))).toMatchObject({ opened: rows - 2, failed: 2 })
})

test('work in threads moves values that lie directly under the key', () => {
  const workspace = rotated(oneLevel)
  expect(workspace.ok<Verified>('verify', ...threads).data.envelopes).toEqual(
    workspace.ok<Verified>('verify', '--workers', '0').data.envelopes,
  )
  workspace.ok('reencrypt', '--yes', ...threads)
  expect(workspace.read(workspace.publishedKey('current'))).toMatchObject({ opened: rows, failed: 0 })
})

test('a run in threads that is killed is finished by a resume without them', () => {
  const workspace = rotated(plainTwoLevels)
  const args = ['rewrap', '--yes', '--batch', '100', ...threads]
  const rehearsed = workspace.copy()
  open.push(rehearsed)
  const syncs = killPoints(rehearsed, args).filter(({ call }) => call === 'fsync' || call === 'fdatasync')
  const middle = syncs[Math.floor(syncs.length / 2)]
  expect(middle && killAt(workspace, args, middle)).toBe(true)
  expect(workspace.lost()).toEqual([])
  const half = workspace.read(workspace.publishedKey('current')).opened
  expect(half).toBeGreaterThan(0)
  expect(half).toBeLessThan(rows)
  workspace.ok('run', 'resume', '--yes', '--workers', '0')
  expect(workspace.read(workspace.publishedKey('current')).opened).toBe(rows)
})
